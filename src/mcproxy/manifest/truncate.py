"""JSON made small: its size on the wire, a schema cut down to a size, the head of a text.

Knows nothing of search. Sizes are bytes of compact UTF-8 JSON.
"""

import json
import re
from collections.abc import Mapping

import msgspec

from mcproxy.manifest.text import brief
from mcproxy.types import Json, JsonObject


class Cut(msgspec.Struct, frozen=True):
    """How much is left of a schema: levels of schemas, bytes of a text, members of an object."""

    levels: int
    text: int
    members: int


_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# From barely cut to the names of the arguments alone. The arguments' own schemas are level 2.
CUTS = (
    *(Cut(levels, 2_000, 200) for levels in (10, 7, 5, 4, 3)),
    Cut(3, 300, 100),
    Cut(2, 300, 100),
    Cut(2, 100, 50),
    Cut(1, 100, 400),
    Cut(1, 0, 100),
    Cut(1, 0, 30),
)
# Words, not prose: half of one would be another word.
_WHOLE = frozenset({"type", "$ref", "required"})


# What tells where values begin and end; a text that does not end is a sign of its own.
_SIGN = re.compile(r'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)


def size(value: Json) -> int:
    """Bytes of ``value`` as compact JSON."""
    return len(_compact(value).encode(errors="replace"))


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


def _object(schema: JsonObject, cut: Cut, levels: int) -> JsonObject:
    """At the last level a schema keeps its ``type``, so that it still says what goes there."""
    if levels <= 0:
        return {key: value for key, value in schema.items() if key == "type" and _is_words(value)}
    kept: JsonObject = {}
    for key, value in list(schema.items())[: cut.members]:
        if key in _WHOLE and _is_words(value):
            kept[key] = value[: cut.members] if isinstance(value, list) else value
        elif key == "properties" and isinstance(value, dict):
            names = list(value)[: cut.members]
            kept[key] = {name: _value(value[name], cut, levels - 1) for name in names}
        elif cut.text or not isinstance(value, str):
            kept[key] = _value(value, cut, levels - 1)
    return kept


def _value(value: Json, cut: Cut, levels: int) -> Json:
    if isinstance(value, str):
        return brief(value, cut.text)
    if isinstance(value, dict):
        return _object(value, cut, levels)
    if isinstance(value, list):
        return [_value(item, cut, levels - 1) for item in value[: cut.members]] if levels else []
    return value


def _is_words(value: Json) -> bool:
    if isinstance(value, list):
        return all(isinstance(word, str) for word in value)
    return isinstance(value, str)


def head(text: str, most: int) -> str:
    """A JSON text of a list or an object, or as much of its beginning as fits and can be closed.

    It is cut between items of an outermost list, so that what is in these is whole, or between
    members of the whole; objects around that may lack members. Where there is no such place, what
    fits is no JSON.
    """
    if len(text) <= most:
        return text
    end, closing, closers = most, list[str](), list[str]()
    for sign in _SIGN.finditer(text, 0, most):
        match sign[0]:
            case "[" | "{":
                closing.append("]" if sign[0] == "[" else "}")
            case "]" | "}":
                del closing[-1:]
            case "," if "]" not in closing[:-1] and (closing[-1:] == ["]"] or closing == ["}"]):
                end, closers = sign.start(), [*reversed(closing)]
            case '"':
                break
    return text[:end] + "".join(closers)
