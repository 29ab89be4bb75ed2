"""Protocol 2026-07-28 at ``/mcp``: each POST stands for itself, and its connection for the request.

MCP 2026-07-28, basic/transports/streamable-http. There are no sessions and nothing to resume; a
client that closes the connection has cancelled its request. ``subscriptions/listen`` is a request
whose answer is a stream of what changes, for as long as the client listens.
"""

from collections.abc import Awaitable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mcproxy import mcp
from mcproxy.cancellation import Stoppable
from mcproxy.errors import RpcError
from mcproxy.frontends.conversation import Notices, Withdrawn
from mcproxy.frontends.request_auth import (
    EVENTS,
    JSON,
    Received,
    Site,
    mcp_head,
    share_of,
)
from mcproxy.frontends.responses import (
    Answer,
    EventStream,
    Reply,
    Terms,
    accepted,
    raw,
    refusal,
    rpc_error,
    unavailable,
)
from mcproxy.frontends.routing_headers import check, check_parameters
from mcproxy.frontends.sessions import FULL_SECS, Full
from mcproxy.gateway.listen import listen
from mcproxy.gateway.request import RequestSource, server_info
from mcproxy.policy.access import AccessDenied
from mcproxy.types import Json, JsonObject
from mcproxy.wire import message as wire

STATUSES = {
    RpcError.PARSE_ERROR: 400,
    RpcError.INVALID_REQUEST: 400,
    RpcError.INVALID_PARAMS: 400,
    RpcError.METHOD_NOT_FOUND: 404,
    mcp.HEADER_MISMATCH: 400,
    mcp.MISSING_CLIENT_CAPABILITY: 400,  # a server's own error, passed on
    mcp.UNSUPPORTED_VERSION: 400,
}

_encode = msgspec.json.Encoder().encode


async def answer(
    site: Site,
    request: Request,
    received: Received,
    source: RequestSource,
) -> Response:
    """Answer one POST."""
    if isinstance(received, wire.Notification):
        return accepted()  # the protocol has none for a server over HTTP; some clients send them
    if not isinstance(received, wire.Request):
        text = "the body must be one request; a client sends no batches and no replies"
        return rpc_error(400, None, RpcError.INVALID_REQUEST, text)
    try:
        seen = check(received, request.headers)
        if received.method == mcp.CALL_TOOL:
            check_parameters(received, request.headers, _schema(site, source, seen.name))
        if received.method == mcp.LISTEN:
            return await _listen(site, request, received, source)
    except RpcError as error:
        status = STATUSES.get(error.code, 200)
        return raw(wire.encode(wire.Failure(received.id, error)), status)
    if site.shared and (gateway := _holder(site, received, source)):
        came = site.shared.arrived(site, request, source, received)
        if answer := await site.shared.held(gateway, came):
            return answer
    return _answer(site, request, received, source)


def _holder(site: Site, received: wire.Request, source: RequestSource) -> str | None:
    try:
        return site.gateway.holder(received, source)
    except AccessDenied:
        return None  # the gateway will refuse it


def _schema(site: Site, source: RequestSource, tool: Json) -> JsonObject:
    """The schema of a tool's arguments; empty where the gateway will refuse the call anyway."""
    try:
        return site.gateway.input_schema(source, tool)
    except AccessDenied:
        return {}


def _answer(site: Site, request: Request, message: wire.Request, source: RequestSource) -> Response:
    head, share = mcp_head(request), share_of(site, request)
    quiet_secs = site.sessions.bounds.heartbeat_secs
    conversation = site.sessions.conversation(share)

    def work(notices: Notices, block: Stoppable) -> Awaitable[Reply | None]:
        said = notices if head.streams else lambda: conversation.home  # which nobody reads
        return conversation.answer(message, source, said, block)

    def streamed(block: Stoppable) -> EventStream:
        reader = site.sessions.stream(share).attach()
        return EventStream(reader, lambda: block.stop(Withdrawn()), heartbeat_secs=quiet_secs)

    at_once = head.streams and not head.takes_json
    terms = Terms(head.streams, at_once, quiet_secs, STATUSES)
    return Answer(terms, work, streamed, site.sessions.run)


async def _listen(
    site: Site, request: Request, message: wire.Request, source: RequestSource
) -> Response:
    """The stream of what changes. When the server ends it, the request gets its result (MCP
    2026-07-28, basic/patterns/subscriptions). Raises RpcError."""
    if not mcp_head(request).takes_events:
        return refusal(406, f"{mcp.LISTEN} is a stream: send 'Accept: {JSON}, {EVENTS}'")
    share = share_of(site, request)
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
