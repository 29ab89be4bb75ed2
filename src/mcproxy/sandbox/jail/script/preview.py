"""What is shown of a script's result where it is large, and its content blocks taken out. Pure.

Made here and not in the gateway, since a walk over millions of items would hold up everybody else;
the gateway looks at the size and depth of what comes and believes nothing more.
"""

import json
from collections.abc import Mapping
from itertools import islice

from mcproxy.sandbox.jail.script.value import Json

MAX_PREVIEW_BYTES = 3072  # at worst two bytes a token; the gateway takes no larger one
_STEPS = ((20, 600), (10, 300), (6, 150), (4, 80), (2, 40), (1, 20))  # heads: items, characters
_MAX_LEVELS = 8


def encoded(value: Json) -> bytes:
    """A value as JSON text, in the fewest bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def preview(value: Json, limit: int = MAX_PREVIEW_BYTES) -> Json:
    """Heads of strings, lists and objects, each cut marked with the real length; its JSON is at
    most ``limit`` bytes, which is at least 100."""
    for items, characters in _STEPS:
        cut = _Heads(items, characters, limit).of(value, _MAX_LEVELS)
        if len(encoded(cut)) <= limit:
            return cut
    return _kind(value)


class _Heads:
    """So many items and characters of each value, and not much more than ``limit`` in all: a value
    that branches at every level is given up early."""

    def __init__(self, items: int, characters: int, limit: int) -> None:
        self._items, self._characters, self._left = items, characters, limit

    def of(self, value: Json, levels: int) -> Json:
        self._left -= 2
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list | dict) and value and (levels == 0 or self._left < 0):
            return _kind(value)
        if isinstance(value, list):
            heads = [self.of(item, levels - 1) for item in value[: self._items]]
            return heads if len(value) <= self._items else [*heads, f"… ({len(value)} items)"]
        if isinstance(value, dict):
            return self._object(value, levels)
        return value

    def _object(self, value: Mapping[str, Json], levels: int) -> Json:
        shown = {}
        for key in islice(value, 2 * self._items):  # keys say what there is: more of them
            shown[self._text(key)] = self.of(value[key], levels - 1)
        return shown if len(shown) == len(value) else {**shown, "…": f"{len(value)} members"}

    def _text(self, text: str) -> str:
        self._left -= min(len(text), self._characters)
        if len(text) <= self._characters:
            return text
        return f"{text[: self._characters]}… ({len(text)} characters)"


def _kind(value: Json) -> str:
    if isinstance(value, list):
        return f"… (a list of {len(value)})"
    if isinstance(value, dict):
        return f"… (an object of {len(value)} members)"
    return (
        f"… ({len(value)} characters)" if isinstance(value, str) else f"… ({type(value).__name__})"
    )


def take_blocks(value: Json, body: bytes) -> tuple[Json, list[Json]]:
    """Take image, audio and resource blocks out of a value; ``body`` is its JSON.

    In their place stays what they are and which content block has them, so that a model sees where
    in its result they belong. Blocks are MCP's ``ContentBlock`` (server/tools, "Tool Result").
    """
    blocks: list[Json] = []
    if b'"mimeType"' in body or b'"resource"' in body:  # nearly no result has any
        value = _take(value, blocks)
    return value, blocks


def _take(value: Json, blocks: list[Json]) -> Json:
    if isinstance(value, list):
        return [_take(item, blocks) for item in value]
    if not isinstance(value, dict):
        return value
    if is_block(value):
        blocks.append(value)
        shown: dict[str, Json] = {key: value[key] for key in ("type", "mimeType") if key in value}
        return {**shown, "content_block": len(blocks)}
    return {key: _take(item, blocks) for key, item in value.items()}


def is_block(value: Mapping[str, Json]) -> bool:
    """Whether an object is a block that a client is to have as one."""
    match value.get("type"):
        case "image" | "audio":
            return isinstance(value.get("data"), str) and isinstance(value.get("mimeType"), str)
        case "resource":
            resource = value.get("resource")
            return isinstance(resource, dict) and isinstance(resource.get("uri"), str)
        case _:
            return False
