"""``api.read_resource``: a server's resource as the value of a call that a script makes."""

from collections.abc import Mapping

import msgspec

from mcproxy import mcp
from mcproxy.errors import RpcError, UpstreamError
from mcproxy.exchange import Exchange, ServerCall, Upstream
from mcproxy.types import Json, ToolRef, ToolResult
from mcproxy.wire.message import UNREADABLE

_object = msgspec.json.Decoder(dict[str, Json])
_encode = msgspec.json.Encoder().encode


def resource_reader(upstream: Upstream) -> ServerCall:
    """A ``ServerCall`` whose "tool" is the URI. Raises CallError."""

    async def read(exchange: Exchange, ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        raw = await upstream.request(exchange, ref.server, mcp.READ_RESOURCE, {"uri": ref.tool})
        try:
            contents = _object.decode(raw).get("contents")
        except UNREADABLE as error:
            odd = RpcError(RpcError.INTERNAL_ERROR, f"the answer is no object: {error}")
            raise UpstreamError(ref, odd) from error
        return ToolResult(_encode({"content": [], "structuredContent": value_of(contents)}))

    return read


def value_of(contents: Json) -> Json:
    """The text where that is all there is, not decoded even if it is JSON; else the contents."""
    match contents:
        case [{"text": str(text)}]:
            return text
        case _:
            return contents
