"""Lists in pages, from servers that never end them."""

import msgspec
import pytest

from mcproxy.types import JsonObject
from mcproxy.upstream.protocol.listing import MAX_LIST_BYTES, read_list

PAGE_BYTES = 4 << 20


@pytest.mark.requirement("upstream.endless_list")
async def test_a_list_without_end_is_given_up() -> None:
    asked: list[JsonObject] = []

    async def page(method: str, params: JsonObject) -> bytes:
        asked.append(params)
        tool: JsonObject = {"name": "t", "description": "x" * PAGE_BYTES}
        return msgspec.json.encode({"tools": [tool], "nextCursor": str(len(asked))})

    with pytest.raises(msgspec.DecodeError, match="bytes together"):
        await read_list(page, "tools/list")
    assert len(asked) <= MAX_LIST_BYTES // PAGE_BYTES + 1
