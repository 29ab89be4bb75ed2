"""The lists of a server, every page. Knows methods and their members, not what they mean.

A list is read as it is: what an item lacks or has too much is for whoever uses it.
"""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from mcproxy import mcp
from mcproxy.types import Json, JsonObject

LISTS: Mapping[str, str] = {
    mcp.LIST_TOOLS: "tools",
    mcp.LIST_PROMPTS: "prompts",
    mcp.LIST_RESOURCES: "resources",
    mcp.LIST_TEMPLATES: "resourceTemplates",
}
"""By method: the member of the result that has the items."""

MAX_PAGES = 1000  # a server that invents cursors must not hold us for ever
MAX_LIST_BYTES = 32 << 20  # of all pages; a thousand tools have some 2 MiB

_object = msgspec.json.Decoder(dict[str, Json])


async def read_list(
    request: Callable[[str, JsonObject], Awaitable[bytes]], method: str
) -> tuple[JsonObject, ...]:
    """All items of a list. Raises msgspec.DecodeError for an answer that is no list of objects, and
    where its pages have over MAX_LIST_BYTES together."""
    items: list[JsonObject] = []
    size = 0
    cursor: Json = None
    for _ in range(MAX_PAGES):
        raw = await request(method, {"cursor": cursor} if cursor else {})
        size += len(raw)
        if size > MAX_LIST_BYTES:
            raise msgspec.ValidationError(f"its pages have over {MAX_LIST_BYTES} bytes together")
        page = _object.decode(raw)
        listed = page.get(LISTS[method], [])
        if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
            raise msgspec.ValidationError(f"`{LISTS[method]}` is no list of objects")
        items += [item for item in listed if isinstance(item, dict)]
        following = page.get("nextCursor")
        if not following or following == cursor:
            break
        cursor = following
    return tuple(items)
