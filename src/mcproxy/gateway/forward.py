"""Sending a client's request on to one server, with the server's errors as the client's."""

from mcproxy.errors import CallError, RpcError, UpstreamError
from mcproxy.exchange import Exchange, Upstream
from mcproxy.types import JsonObject


async def forward(
    upstream: Upstream, exchange: Exchange, server: str, method: str, params: JsonObject
) -> bytes:
    """The raw result. Raises RpcError: the server's own, or one that tells how the server is."""
    try:
        return await upstream.request(exchange, server, method, params)
    except UpstreamError as error:
        raise error.rpc from error
    except CallError as error:
        raise RpcError(RpcError.INTERNAL_ERROR, error.message) from error
