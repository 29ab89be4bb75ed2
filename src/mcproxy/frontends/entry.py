"""What every HTTP request passes before it is understood: who it comes from, whether it may come
in, and its body. A wrong token, a foreign page or a body without end are turned away here."""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, get_args

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mcproxy.config.model import Mode
from mcproxy.errors import RpcError
from mcproxy.frontends.budget import owner_of
from mcproxy.frontends.conversation import RETRY_SECS
from mcproxy.frontends.gate import DRAIN_SECS, Gate
from mcproxy.frontends.guard import foreign_host, foreign_origin, is_loopback
from mcproxy.frontends.replies import CLOSE, raw, refusal, unavailable
from mcproxy.frontends.resource import challenge
from mcproxy.frontends.sessions import Sessions
from mcproxy.gateway.core import Gateway, Where
from mcproxy.policy.access import AccessDenied
from mcproxy.types import Caller, Json
from mcproxy.wire import message as wire

MAX_BODY_BYTES = 4 << 20
BODY_SECS = 30.0  # for a body to arrive: 140 KB a second for the largest
MODES: tuple[Mode, ...] = get_args(Mode)

JSON = "application/json"
EVENTS = "text/event-stream"
MESSAGE = "/message"
SESSION = "session_id"  # the parameter of MESSAGE that names a session of ``/sse``

Received: TypeAlias = wire.Message | list[wire.Message | RpcError]
"""A message, or a batch with the faults of its parts."""

# curl says "form" unless told otherwise; a web page's form is stopped by its Origin.
_JSON_TYPES = re.compile(
    r"application/([\w.-]+\+)?json|application/x-www-form-urlencoded|text/plain"
)


@dataclass(frozen=True, slots=True)
class Site:
    """What the routes need: the gateway, the gate, the sessions, what ``/health`` and ``/metrics``
    tell a caller, whether only this machine can connect, and what verifies an issuer's tokens."""

    gateway: Gateway
    gate: Gate
    health: Callable[[Caller], Json]
    metrics: Callable[[Caller], bytes]
    loopback: bool
    sessions: Sessions
    verified: Callable[[Caller], Awaitable[Caller]]


Handler = Callable[[Site, Request], Awaitable[Response]]


def where(request: Request) -> Where:
    """Who asks, for which namespace, and in which mode."""
    path = request.path_params.get("namespace")
    asked = request.query_params.get("mode")
    mode = next((mode for mode in MODES if mode == asked), None)
    return Where(caller(request), path, request.headers.get("x-namespace"), mode)


def destination(site: Site, request: Request) -> Where:
    """The same, but a message to the caller's session of ``/sse`` goes where that session is."""
    place = where(request)
    if request.url.path != MESSAGE or SESSION not in request.query_params:
        return place
    try:
        session = site.sessions.find(request.query_params[SESSION], "sse", place)
    except AccessDenied:
        return place
    return session.place(place) if session else place


async def recognise(site: Site, request: Request) -> None:
    """Find out who asks, once for each request; may wait for an issuer, for a bounded time."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    local = request.client is None or is_loopback(request.client.host)
    bearer = token.strip() if scheme.lower() == "bearer" else None
    origin = request.headers.get("origin")
    foreign = site.loopback and foreign_origin(origin) is not None
    shown = Caller(bearer, origin, local, foreign)
    request.state.caller = await site.verified(shown)


def caller(request: Request) -> Caller:
    """Who asks, as ``recognise`` found out."""
    found: Caller = request.state.caller
    return found


def denied(site: Site, request: Request, fault: AccessDenied) -> Response:
    """The refusal of a caller that may not use the endpoint."""
    text = challenge(fault.challenge, site.gateway.issuer(), request)
    headers = {"WWW-Authenticate": text} if text else None
    return refusal(fault.status, str(fault), headers)


def refused(site: Site, request: Request, place: Where) -> Response | None:
    """The refusal of a request for ``place`` before its body is read.

    A wrong token and a foreign page are refused everywhere; a namespace only where it stands in the
    path, since elsewhere the refusal is JSON-RPC's.
    """
    if site.gate.closed:
        return stopping()
    why = elsewhere(site, request)
    if why:
        return refusal(403, why)
    if place.mode is None and "mode" in request.query_params:
        return refusal(400, f"the parameter mode is one of: {', '.join(MODES)}")
    try:
        site.gateway.admit(place)
    except AccessDenied as fault:
        if place.path or fault.wrong_token:
            return denied(site, request, fault)
        why = foreign(site, request)
    return refusal(403, why) if why else None


def stopping() -> Response:
    """The refusal of whatever comes while the program stops."""
    return unavailable("the gateway is stopping", math.ceil(DRAIN_SECS))


def foreign(site: Site, request: Request) -> str | None:
    """Why a request to a loopback bind is refused where no namespace judges its origin."""
    if not site.loopback:
        return None
    return elsewhere(site, request) or foreign_origin(request.headers.get("origin"))


def elsewhere(site: Site, request: Request) -> str | None:
    """Why a request to a loopback bind is refused for its ``Host``."""
    return foreign_host(request.headers.get("host")) if site.loopback else None


def share_of(site: Site, request: Request) -> str:
    """Whose share of what the gateway can carry the request takes."""
    who = caller(request)
    name = site.gateway.identify(who) if who.token else None
    return owner_of(name, request.client.host if request.client else "")


async def read_message(site: Site, request: Request, bad: int) -> Received | Response:
    """The message in the body, or the batch; else the refusal, with the status ``bad`` where it is
    no JSON-RPC."""
    data = await _body(site, request)
    if isinstance(data, Response):
        return data
    try:
        return wire.decode_body(data)
    except RpcError as error:
        return raw(wire.encode(wire.Failure(None, error)), bad)


async def _body(site: Site, request: Request) -> bytes | Response:
    """The body of a request, or its refusal; one that is too large, too slow, or more than the
    client's share is not read to its end."""
    owner, held = share_of(site, request), site.sessions.body_bytes
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECS):
            async for part in request.stream():
                if size + len(part) > MAX_BODY_BYTES:
                    return refusal(413, f"the body is over {MAX_BODY_BYTES} bytes")
                if not held.take(owner, len(part)):
                    return unavailable("too much is being received", RETRY_SECS, close=True)
                size += len(part)
                parts.append(part)
    except TimeoutError:
        return refusal(408, f"the body did not arrive within {BODY_SECS:g} s", CLOSE)
    except ClientDisconnect:
        return gone()
    finally:
        held.give(owner, size)
    return b"".join(parts)


def gone() -> Response:
    """The response that nobody will read: the client has left."""
    return Response(status_code=400)


def is_json(content_type: str) -> bool:
    """Whether a body may be JSON, by its ``Content-Type``; many clients send none, or another."""
    kind = content_type.partition(";")[0].strip().lower()
    return not kind or _JSON_TYPES.fullmatch(kind) is not None


def takes(accept: str, kind: str) -> bool:
    """Whether an ``Accept`` header names a media type; a wildcard names every one."""
    family = kind.partition("/")[0] + "/*"
    return not accept.strip() or bool(_media_types(accept) & {kind, family, "*/*"})


def takes_events(accept: str) -> bool:
    """Whether an ``Accept`` header asks for event streams; a wildcard alone does not: a program
    that takes anything, like curl, is best served with one JSON text."""
    return bool(_media_types(accept) & {EVENTS, "text/*"})


def _media_types(accept: str) -> set[str]:
    return {part.partition(";")[0].strip().lower() for part in accept.split(",")}
