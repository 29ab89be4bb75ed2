"""HTTP+SSE, the transport of protocol 2024-11-05: one stream down, POSTs up.

MCP 2024-11-05, basic/transports, "HTTP with SSE": the first event says where to POST; replies and
notifications come on the stream. The session lives as long as the stream.
"""

import asyncio
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

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
from mcproxy.frontends.responses import EventStream, accepted, event, refusal, unavailable
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
    session = site.sessions.find(request.query_params[SESSION], "sse", source)
    if session is None:
        text = "there is no such session (any more); GET /sse opens one"
        return refusal(404, text)
    said = await read_message(site, request, bad=400)
    if isinstance(said, Response):
        return said
    for message in said if isinstance(said, list) else [said]:
        _take(session, message, session.source_of(source))
        await asyncio.sleep(0)  # a batch is begun message by message, others have their turn
    return accepted()


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
