"""HTTP+SSE, the transport of protocol 2024-11-05: one stream down, POSTs up.

MCP 2024-11-05, basic/transports, "HTTP with SSE": the first event says where to POST; replies and
notifications come on the stream. The session lives as long as the stream.
"""

import asyncio
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from mcproxy.call_errors import StateUnavailable
from mcproxy.errors import RpcError
from mcproxy.frontends.conversation import ReplyTo
from mcproxy.frontends.request_auth import (
    MESSAGE,
    SESSION,
    Site,
    admitted,
    denied,
    destination,
    read_message,
    share_of,
    source_of,
)
from mcproxy.frontends.responses import (
    EventStream,
    accepted,
    event,
    refusal,
    store_away,
    unavailable,
)
from mcproxy.frontends.sessions import FULL_SECS, Full, Session
from mcproxy.gateway.request import RequestSource
from mcproxy.policy.access import AccessDenied
from mcproxy.wire import message as wire


async def get(site: Site, request: Request) -> Response:
    """GET ``/sse``: open a session and its stream."""
    source = admitted(site, request, source_of(request))
    if isinstance(source, Response):
        return source
    try:
        session = site.sessions.open("sse", source, share_of(site, request))
    except AccessDenied as fault:
        return denied(site, request, fault)
    except Full:
        return unavailable("all sessions are in use", FULL_SECS)
    if site.shared:
        try:
            await site.shared.sessions.keep(session)
        except StateUnavailable:
            site.sessions.drop(session.id)
            return store_away()
    return EventStream(
        session.home.attach(),
        partial(site.sessions.drop, session.id),
        opening=event(f"{MESSAGE}?{SESSION}={session.id}".encode(), name="endpoint"),
        heartbeat_secs=site.sessions.bounds.heartbeat_secs,
    )


async def post(site: Site, request: Request) -> Response:
    """POST ``/message?session_id=…``: messages whose replies come on the session's stream."""
    # The session's endpoint decides: its URI names none, and the default may list other origins.
    source = admitted(site, request, destination(site, request))
    if isinstance(source, Response):
        return source
    id_ = request.query_params[SESSION]
    session = site.sessions.find(id_, "sse", source)
    if session is None and site.shared is None:
        return _no_session()
    said = await read_message(site, request, bad=400)
    if isinstance(said, Response):
        return said
    if session is None and site.shared:
        found = await site.shared.session(id_, "sse", site.shared.arrived(site, request, source))
        return found if isinstance(found, Response) else _no_session()
    if session is None:
        return _no_session()
    for message in said if isinstance(said, list) else [said]:
        _take(session, message, session.source_of(source))
        await asyncio.sleep(0)  # a batch is begun message by message, others have their turn
    return accepted()


def _no_session() -> Response:
    return refusal(404, "there is no such session (any more); GET /sse opens one")


def _take(session: Session, message: wire.Message | RpcError, source: RequestSource) -> None:
    match message:
        case RpcError():
            session.home.put(wire.encode(wire.Failure(None, message)))
        case wire.Request():
            session.conversation.start(
                message, source, ReplyTo(session.home, partial(_reply, session))
            )
        case _:
            session.conversation.receive(message)


def _reply(session: Session, reply: wire.Response | wire.Failure | None) -> None:
    if reply:
        session.home.put(wire.encode(reply))
