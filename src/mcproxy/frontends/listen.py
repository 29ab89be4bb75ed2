"""``subscriptions/listen`` over HTTP: a POST whose answer is a stream of what changes.

When the server ends it, the request gets its result (MCP 2026-07-28, basic/patterns/subscriptions).
"""

import msgspec
from starlette.responses import Response

from mcproxy import mcp
from mcproxy.errors import RpcError
from mcproxy.frontends.request_auth import Site
from mcproxy.frontends.responses import EventStream, unavailable
from mcproxy.frontends.sessions import FULL_SECS, Full
from mcproxy.gateway.listen import listen
from mcproxy.gateway.protocol_era import server_info
from mcproxy.gateway.request import RequestSource
from mcproxy.policy.access import AccessDenied
from mcproxy.types import JsonObject
from mcproxy.wire import message as wire

_encode = msgspec.json.Encoder().encode


async def response(
    site: Site, message: wire.Request, source: RequestSource, share: str
) -> Response:
    """The stream that answers the request, of somebody's share. Raises RpcError."""
    stream = site.sessions.stream(share)

    def send(note: wire.Notification) -> None:
        stream.put(wire.encode(note))

    try:
        listening = await listen(site.gateway, source, message, send)
    except AccessDenied as denied:
        raise RpcError(RpcError.INVALID_PARAMS, str(denied)) from denied

    def end() -> None:
        meta: JsonObject = {**listening.meta, mcp.META_SERVER_INFO: server_info()}
        result = _encode({"resultType": "complete", "_meta": meta})
        stream.end(wire.encode(wire.Response(message.id, result)))

    try:
        uncount = site.sessions.listen(end, share)
    except Full:
        listening.close()
        return unavailable("too many clients listen", FULL_SECS)

    def closed() -> None:
        listening.close()
        uncount()

    quiet_secs = site.sessions.bounds.heartbeat_secs
    return EventStream(stream.attach(), closed, heartbeat_secs=quiet_secs)
