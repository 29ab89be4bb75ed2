"""Fitting a script's result into a tool result: content blocks taken out, too much cut. Pure."""

from collections.abc import Mapping

import msgspec

from mcproxy.types import Json, JsonObject

MAX_RESULT_BYTES = 64 << 10

_encode = msgspec.json.Encoder().encode


def take_blocks(value: Json) -> tuple[Json, list[JsonObject]]:
    """Take image, audio and resource blocks out of a value.

    In their place stays what they are and which content block has them, so that a model sees where
    in its result they belong. Blocks are MCP's ``ContentBlock`` (server/tools, "Tool Result").
    """
    blocks: list[JsonObject] = []
    return _take(value, blocks), blocks


def _take(value: Json, blocks: list[JsonObject]) -> Json:
    if isinstance(value, list):
        return [_take(item, blocks) for item in value]
    if not isinstance(value, dict):
        return value
    if _is_block(value):
        blocks.append(value)
        shown: JsonObject = {key: value[key] for key in ("type", "mimeType") if key in value}
        return {**shown, "content_block": len(blocks)}
    return {key: _take(item, blocks) for key, item in value.items()}


def _is_block(value: Mapping[str, Json]) -> bool:
    match value.get("type"):
        case "image" | "audio":
            return isinstance(value.get("data"), str) and isinstance(value.get("mimeType"), str)
        case "resource":
            resource = value.get("resource")
            return isinstance(resource, dict) and isinstance(resource.get("uri"), str)
        case _:
            return False


def preview(value: Json, limit: int = MAX_RESULT_BYTES) -> tuple[Json, int | None]:
    """The value, or where its JSON is over ``limit`` bytes a preview of it and its real size.

    The preview is valid JSON below the limit: heads of strings, lists and objects, each cut marked
    with the real length.
    """
    size = len(_encode(value))
    if size <= limit:
        return value, None
    keep = 1000
    while True:
        cut = _head(value, keep, depth=12)
        if len(_encode(cut)) <= limit:
            return cut, size
        if keep == 1:
            return f"… ({size} bytes of {type(value).__name__})", size
        keep = max(1, keep // 2)


def _head(value: Json, keep: int, depth: int) -> Json:
    if isinstance(value, str):
        text = value[: keep * 8]
        return value if len(value) <= keep * 8 else f"{text}… ({len(value)} characters)"
    if isinstance(value, list):
        if depth == 0:
            return f"… (a list of {len(value)})"
        heads = [_head(item, keep, depth - 1) for item in value[:keep]]
        return heads if len(value) <= keep else [*heads, f"… ({len(value)} items)"]
    if isinstance(value, dict):
        if depth == 0:
            return f"… (an object of {len(value)} members)"
        items = list(value.items())[:keep]
        shown = {key[: keep * 8]: _head(item, keep, depth - 1) for key, item in items}
        return shown if len(value) <= keep else {**shown, "…": f"{len(value)} members"}
    return value
