"""The lists of a server, every page. Knows methods and their members, not what they mean.

A list of tools is read as it is: ``manifest`` mends it. Prompts and resources go to clients as they
are, but for what acts or hides in their texts, which are bounded; one that could not be asked for
then is left out.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from mcproxy import mcp
from mcproxy.foreign_text import bounded, clean, is_seen
from mcproxy.types import Json, JsonObject, Tool, ToolRef

LISTS: Mapping[str, str] = {
    mcp.LIST_TOOLS: "tools",
    mcp.LIST_PROMPTS: "prompts",
    mcp.LIST_RESOURCES: "resources",
    mcp.LIST_TEMPLATES: "resourceTemplates",
}
"""By method: the member of the result that has the items; that of an extension's list is named as
the extension is (``skills/list`` has ``skills``)."""

# By what an item is asked for; a tool's name is judged by the manifest.
_KEYS: Mapping[str, str] = {
    "prompts/list": "name",
    "resources/list": "uri",
    "resources/templates/list": "uriTemplate",
}
_TEXTS = frozenset({"description", "name", "title"})
_MAX_TEXT_CHARS = 20_000  # as of tools; a server is not to fill a client's list

# Each of ten thousand tools, which have some 20 MiB, may be a page. A longer list is refused: a
# part of it would look like the whole.
MAX_PAGES = 10_000
MAX_LIST_BYTES = 64 << 20  # of all pages

log = logging.getLogger(__name__)

_object = msgspec.json.Decoder(dict[str, Json])


async def read_list(
    request: Callable[[str, JsonObject], Awaitable[bytes]], method: str
) -> tuple[JsonObject, ...]:
    """All items of a list. Raises msgspec.DecodeError for an answer that is no list of objects, and
    where it has over MAX_PAGES, or over MAX_LIST_BYTES together."""
    member = LISTS.get(method, method.partition("/")[0])
    items: list[JsonObject] = []
    size = 0
    cursor: Json = None
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        raw = await request(method, {"cursor": cursor} if cursor else {})
        size += len(raw)
        if size > MAX_LIST_BYTES:
            raise msgspec.ValidationError(f"its pages have over {MAX_LIST_BYTES} bytes together")
        page = _object.decode(raw)
        if page.get("resultType") not in (None, mcp.COMPLETE_RESULT):
            raise msgspec.ValidationError("its `resultType` is not known")
        listed = page.get(member, [])
        if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
            raise msgspec.ValidationError(f"`{member}` is no list of objects")
        items += [item for item in listed if isinstance(item, dict)]
        following = page.get("nextCursor")
        if not following or str(following) in seen:
            return tuple(items)
        seen.add(str(following))
        cursor = following
    raise msgspec.ValidationError(f"it has over {MAX_PAGES} pages")


def listed_tool(server: str, definition: JsonObject) -> Tool:
    """A tool as it is listed; one without a name has the name "", for whoever reports it."""
    return Tool(ToolRef(server, str(definition.get("name") or "")), definition)


def fit(items: Sequence[JsonObject], method: str, server: str) -> tuple[JsonObject, ...]:
    """The items without what acts or hides in their texts. One whose name or URI hides something is
    left out, which the log tells."""
    key = _KEYS.get(method)
    if key is None:
        return tuple(items)
    kept = tuple(_clean(item) for item in items if _can_be_asked_for(item, key))
    if len(kept) < len(items):
        told = "%s: %s: %d left out: a name or URI hides something, or is too long"
        log.warning(told, server, method, len(items) - len(kept), extra={"server": server})
    return kept


def _can_be_asked_for(item: JsonObject, key: str) -> bool:
    names = [item.get(key), *(each.get("name") for each in _arguments(item))]
    texts = [name for name in names if isinstance(name, str)]
    return all(is_seen(name) and len(name) <= _MAX_TEXT_CHARS for name in texts)


def _clean(item: JsonObject) -> JsonObject:
    texts: JsonObject = {
        key: bounded(clean(text), _MAX_TEXT_CHARS if key in _TEXTS else None)
        for key, text in item.items()
        if isinstance(text, str)
    }
    arguments: list[Json] = [_clean(each) for each in _arguments(item)]
    return {**item, **texts, **({"arguments": arguments} if arguments else {})}


def _arguments(item: JsonObject) -> list[JsonObject]:
    """The arguments of a prompt."""
    listed = item.get("arguments")
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
