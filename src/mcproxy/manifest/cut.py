"""JSON made small: its size on the wire, and a schema cut down to a size.

Knows nothing of search. Sizes are bytes of compact UTF-8 JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mcproxy.manifest.text import brief
from mcproxy.types import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Cut:
    """How much is left of a schema: levels of nesting, bytes of a text, members of a list."""

    levels: int
    text: int
    members: int


# From barely cut to the names of the arguments alone. Levels count nested objects and lists: the
# parameters' own schemas are at level 2, so the deepest levels go first.
CUTS = (
    *(Cut(levels, 2_000, 200) for levels in (12, 8, 6, 5, 4)),
    Cut(4, 300, 100),
    Cut(3, 300, 100),
    Cut(3, 100, 50),
    Cut(2, 100, 200),
    Cut(2, 0, 400),
    Cut(2, 0, 100),
    Cut(2, 0, 30),
)
# What every reader of a schema looks at first survives among many members.
_FIRST = ("type", "properties", "required")


def size(value: Json) -> int:
    """Bytes of ``value`` as compact JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode(errors="replace"))


def cut_schema(schema: Mapping[str, Json], budget: int) -> JsonObject:
    """The schema with its deepest levels cut away until it fits into ``budget`` bytes."""
    whole = dict(schema)
    if size(whole) <= budget:
        return whole
    for cut in CUTS:
        smaller = _object(whole, cut, cut.levels)
        if size(smaller) <= budget:
            return smaller
    return {"type": "object"}


def _pruned(value: Json, cut: Cut, levels: int) -> Json:
    if isinstance(value, str):
        return brief(value, cut.text)
    if isinstance(value, dict):
        return _object(value, cut, levels)
    if isinstance(value, list):
        return [_pruned(item, cut, levels - 1) for item in value[: cut.members]] if levels else []
    return value


def _object(value: JsonObject, cut: Cut, levels: int) -> JsonObject:
    """At the last level a schema keeps its ``type``, so that it still says what goes there."""
    if levels <= 0:
        declared = value.get("type")
        return {"type": declared} if isinstance(declared, str) else {}
    ordered = [key for key in _FIRST if key in value] + [key for key in value if key not in _FIRST]
    return {
        key: value[key] if key in ("type", "$ref") else _pruned(value[key], cut, levels - 1)
        for key in ordered[: cut.members]
    }
