"""Streamable HTTP at ``/mcp``: sessions for protocol 2025-03-26 to 2025-11-25, and the way to
``stateless`` for 2026-07-28. Each request shows by itself which of the two it is.

MCP 2025-11-25, basic/transports, "Streamable HTTP". Where a client breaks a rule without doing harm
(no session, a batch, ``Accept: */*``), it is answered as on ``/message``.
"""

from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mcproxy import mcp
from mcproxy.call_errors import StateUnavailable
from mcproxy.cancellation import Stoppable
from mcproxy.errors import RpcError
from mcproxy.exchange import Exchange
from mcproxy.frontends import plain, stateless
from mcproxy.frontends.conversation import Notices, Params, glance
from mcproxy.frontends.request_auth import (
    EVENTS,
    JSON,
    McpHead,
    Received,
    Site,
    admitted,
    gone,
    mcp_head,
    read_message,
    share_of,
    source_of,
)
from mcproxy.frontends.responses import (
    Answer,
    EventStream,
    Reply,
    Terms,
    accepted,
    event,
    raw,
    refusal,
    rpc_error,
    store_away,
    unavailable,
    while_connected,
)
from mcproxy.frontends.sessions import FULL_SECS, Full, Session
from mcproxy.frontends.stream import Reader, Stream
from mcproxy.gateway.request import RequestSource
from mcproxy.types import JsonObject
from mcproxy.wire import message as wire

if TYPE_CHECKING:
    from mcproxy.frontends.shared_routing import SharedSite

PRIMED = "2025-11-25"  # from this version on, a stream begins with an event that has only an id


async def post(site: Site, request: Request) -> Response:
    """POST: one message of the client."""
    source = admitted(site, request, source_of(request))
    if isinstance(source, Response):
        return source
    head = mcp_head(request)
    if unfit := _unfit(head):
        return unfit
    said = await read_message(site, request, bad=400)
    if isinstance(said, Response):
        return said
    params = glance(said.params) if isinstance(said, wire.Request) else Params()
    if head.version == mcp.STATELESS_VERSION or mcp.META_VERSION in params.meta:
        return await stateless.answer(site, request, said, source)
    if isinstance(said, wire.Request) and said.method == "initialize":
        return await _initialize(site, request, said, source)
    return _unknown_version(head) or await _in_session(site, request, said, source, params)


async def get(site: Site, request: Request) -> Response:
    """GET: the stream of what belongs to no request; or, with ``Last-Event-ID``, the rest of a
    stream whose connection was lost."""
    source = _admitted_without_body(site, request)
    if isinstance(source, Response):
        return source
    if not mcp_head(request).takes_events:
        return refusal(406, f"GET is answered with an event stream: send 'Accept: {EVENTS}'")
    session = await _session(site, request, source)
    if isinstance(session, Response):
        return session
    last = request.headers.get("last-event-id")
    if last is None:
        return _stream(site, session, session.home.attach())
    found = await _event(site, session, last)
    if found is None:
        text = f"nothing is kept after the event {last!r}; GET without Last-Event-ID listens anew"
        return rpc_error(400, None, RpcError.INVALID_REQUEST, text)
    stream, number = found
    session.returned(stream)
    return _stream(site, session, stream.attach(number))


async def delete(site: Site, request: Request) -> Response:
    """DELETE: the client ends its session."""
    source = _admitted_without_body(site, request)
    if isinstance(source, Response):
        return source
    session = await _session(site, request, source)
    if isinstance(session, Response):
        return session
    site.sessions.drop(session.id)
    try:
        if site.shared:
            await site.shared.sessions.forget(session.id)
    except StateUnavailable:
        return store_away()
    return Response(status_code=204)


async def _initialize(
    site: Site, request: Request, message: wire.Request, source: RequestSource
) -> Response:
    try:
        with while_connected(request.scope):
            answered = await site.gateway.respond(message, source, _TO_COME)
    except ClientDisconnect:
        return gone()
    if not isinstance(answered, wire.Response):
        return raw(wire.encode(answered)) if answered else accepted()
    try:
        session = site.sessions.open("streamable", source, share_of(site, request))
    except Full:
        return unavailable("all sessions are in use", FULL_SECS)
    session.conversation.meet(message)
    session.version = str(glance(answered.result).protocolVersion)
    try:
        if site.shared:
            await site.shared.sessions.keep(session, message.params)
    except StateUnavailable:
        site.sessions.drop(session.id)
        return store_away()
    return raw(wire.encode(answered), headers={mcp.SESSION_HEADER: session.id})


async def _in_session(
    site: Site, request: Request, received: Received, source: RequestSource, params: Params
) -> Response:
    head = mcp_head(request)
    if head.session is None:
        return await plain.reply(site, request, received, source)
    session = await _session(site, request, source, received)
    if isinstance(session, Response):
        return session
    if isinstance(received, wire.Request):
        if site.shared and not await _agreed(site.shared, session, received):
            return store_away()
        told = received.method == mcp.CALL_TOOL and params.progress_token is not None
        at_once = head.streams and (told or not head.takes_json)
        terms = Terms(head.streams, at_once, site.sessions.bounds.heartbeat_secs)
        return _answer(site, terms, received, source, session)
    return await _take(site, request, received, source, session)


async def _agreed(shared: "SharedSite", session: Session, message: wire.Request) -> bool:
    try:
        await shared.sessions.agree(session, message)
    except StateUnavailable:
        return False
    return True


async def _take(
    site: Site, request: Request, received: Received, source: RequestSource, session: Session
) -> Response:
    """What is no request, or a batch."""
    for item in received if isinstance(received, list) else [received]:
        if isinstance(item, wire.Notification | wire.Response | wire.Failure):
            session.conversation.receive(item)
    if isinstance(received, list):
        return await plain.reply(site, request, received, source)
    return accepted()


def _answer(
    site: Site, terms: Terms, message: wire.Request, source: RequestSource, session: Session
) -> Response:
    def work(notices: Notices, block: Stoppable) -> Awaitable[Reply | None]:
        said = notices if terms.streams else lambda: session.home
        return session.conversation.answer(message, session.source_of(source), said, block)

    def streamed(block: Stoppable) -> EventStream:
        stream = session.begin_stream(block)
        if site.shared:
            site.shared.sessions.record_events(session, stream, message)
        return _stream(site, session, stream.attach())

    return Answer(terms, work, streamed, site.sessions.run)


def _stream(site: Site, session: Session, reader: Reader) -> EventStream:
    if site.shared and reader.stream is session.home:
        site.shared.sessions.record_events(session, session.home, None)
    return EventStream(
        reader,
        partial(site.sessions.closed, session, reader.stream),
        opening=_priming(session, reader.stream.name, reader.at),
        resumable=True,
        heartbeat_secs=site.sessions.bounds.heartbeat_secs,
    )


def _priming(session: Session, stream: str, number: int) -> bytes:
    """An event without data, whose id lets the client resume from the beginning."""
    return event(b"", id_=f"{stream}-{number}") if session.version >= PRIMED else b""


async def _event(site: Site, session: Session, id_: str) -> tuple[Stream, int] | None:
    """The stream of an event that was sent, here or by a gateway that had the session before."""
    found = session.find(id_)
    if site.shared is None or (found and not found[0].lacks(found[1])):
        return found
    with suppress(StateUnavailable):
        return await site.shared.sessions.resumed(session, id_)
    return found


async def _session(
    site: Site, request: Request, source: RequestSource, received: Received | None = None
) -> Session | Response:
    """The request's session, or why there is none; where another gateway has it, what that one
    says."""
    id_ = mcp_head(request).session
    if id_ is None:
        text = f"the header {mcp.SESSION_HEADER} is missing; POST initialize answers with one"
        return rpc_error(400, None, RpcError.INVALID_REQUEST, text)
    session: Session | Response | None = site.sessions.find(id_, "streamable", source)
    if session is None and site.shared:
        came = site.shared.arrived(site, request, source, received)
        session = await site.shared.session(id_, "streamable", came)
    if session is None:
        text = f"there is no session {id_[:64]!r} here (any more); POST initialize starts a new one"
        return rpc_error(404, None, RpcError.INVALID_REQUEST, text)
    return session


def _unfit(head: McpHead) -> Response | None:
    """The refusal of a body, or of an answer, in a format that is not spoken here."""
    if not head.is_json:
        return refusal(415, f"the body must be JSON: send 'Content-Type: {JSON}'")
    if not (head.takes_json or head.takes_events):
        return refusal(406, f"answers are JSON or event streams: send 'Accept: {JSON}, {EVENTS}'")
    return None


def _admitted_without_body(site: Site, request: Request) -> RequestSource | Response:
    source = admitted(site, request, source_of(request))
    if isinstance(source, Response):
        return source
    head = mcp_head(request)
    if head.version == mcp.STATELESS_VERSION:
        text = f"protocol {mcp.STATELESS_VERSION} has no sessions: {request.method} is not answered"
        return refusal(405, text, {"Allow": "POST"})
    return _unknown_version(head) or source


def _unknown_version(head: McpHead) -> Response | None:
    version = head.version
    if version is None or version in mcp.HANDSHAKE_VERSIONS:
        return None
    data: JsonObject = {
        "supported": [mcp.STATELESS_VERSION, *mcp.HANDSHAKE_VERSIONS],
        "requested": version,
    }
    error = RpcError(
        mcp.UNSUPPORTED_VERSION, f"protocol version {version!r} is not spoken here", data
    )
    return raw(wire.encode(wire.Failure(None, error)), 400)


def _drop(method: str, params: JsonObject) -> None:
    """Nothing is said to the client before its session exists."""


async def _nobody(method: str, params: JsonObject) -> JsonObject:
    raise RpcError(RpcError.INTERNAL_ERROR, f"{method}: the session does not exist yet")


_TO_COME = Exchange(_drop, _nobody)
