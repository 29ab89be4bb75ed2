"""What every HTTP request passes before it is understood: who it comes from, whether it may come
in, and its body. A wrong token, a foreign page or a body without end are turned away here; what a
foreign page is, ``policy.origins`` knows."""

import math
import re
from collections.abc import Awaitable, Callable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, TypeAlias, get_args

import msgspec
from msgspec.structs import replace
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from mcproxy import mcp
from mcproxy.config.model import Mode
from mcproxy.errors import RpcError
from mcproxy.frontends.conversation import RETRY_SECS
from mcproxy.frontends.http_request import RequestHead
from mcproxy.frontends.oauth_metadata import challenge
from mcproxy.frontends.responses import NO_HEADERS, raw, refusal, unavailable
from mcproxy.frontends.sessions import Sessions
from mcproxy.gateway.core import Gateway
from mcproxy.gateway.request import RequestSource
from mcproxy.policy.access import AccessDenied
from mcproxy.policy.origins import Arrival, Bind, OriginVerdict, judge
from mcproxy.queues import DRAIN_SECS, Gate, owner_of
from mcproxy.types import Caller, Json
from mcproxy.wire import message as wire

if TYPE_CHECKING:
    from mcproxy.frontends.peers import Carried
    from mcproxy.frontends.shared_routing import SharedSite

MAX_BODY_BYTES = 4 << 20
MODES: tuple[Mode, ...] = get_args(Mode)

JSON = "application/json"
EVENTS = "text/event-stream"
MESSAGE = "/message"
SESSION = "session_id"  # the parameter of MESSAGE that names a session of ``/sse``

Received: TypeAlias = wire.Message | list[wire.Message | RpcError]
"""A message, or a batch with the faults of its parts."""

_PROXY_MARKS = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"}
    | {b"x-real-ip"}
)
_JUDGED = _PROXY_MARKS | {b"host", b"origin"}

KEPT_TEXTS = 64  # headers that clients send again and again
# curl says "form" unless told otherwise; a web page's form is stopped by its Origin.
_JSON_TYPES = re.compile(
    r"application/([\w.-]+\+)?json|application/x-www-form-urlencoded|text/plain"
)


class Site(msgspec.Struct, frozen=True):
    """What the routes need: the gateway, the gate, the sessions, what ``/health`` and ``/metrics``
    tell a caller, where it listens, what verifies an issuer's tokens, and the other gateways, where
    state is shared."""

    gateway: Gateway
    gate: Gate
    health: Callable[[Caller], Json]
    metrics: Callable[[Caller], bytes]
    bind: Bind
    sessions: Sessions
    verified: Callable[[Caller], Awaitable[Caller]]
    shared: "SharedSite | None" = None


Handler = Callable[[Site, Request], Awaitable[Response]]


class SortedHeaders(Headers):
    """The headers of a request: several are looked for, so they are sorted once."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(raw=scope["headers"])
        head: RequestHead = scope["state"]["head"]
        self._first = head.by_name

    def __getitem__(self, key: str) -> str:
        return self._first[key.lower().encode("latin-1")].decode("latin-1")

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """As ``Mapping`` has it, for texts; without an exception for each that is missing."""
        found = self._first.get(key.lower().encode("latin-1"))
        return default if found is None else found.decode("latin-1")

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower().encode("latin-1") in self._first


class IncomingRequest(Request):
    """A request, with its headers sorted."""

    @cached_property
    def headers(self) -> Headers:
        """Sorted once; most of what is asked for is among the ``HeadFacts``."""
        return SortedHeaders(self.scope)


class McpHead(msgspec.Struct, frozen=True):
    """What the head of a request says to ``/mcp``: whether the body may be JSON, whether the answer
    may be JSON, or an event stream, and whether the client asks for one; the protocol's version,
    and the session."""

    is_json: bool
    takes_json: bool
    takes_events: bool
    streams: bool
    version: str | None
    session: str | None


class HeadFacts(msgspec.Struct):
    """What is known of the sender of a request, kept for the next one on its connection with the
    same head. ``verdict``: how it was judged by where it comes from, with these ``allowed`` hosts;
    ``shown``: the caller, its token not verified; ``named``: the namespace in a header. ``source``
    is the last request's, with the policy's verdict: whether that holds for the next one is for
    ``RequestSource.verdict`` to say."""

    allowed: frozenset[str]
    verdict: OriginVerdict
    shown: Caller
    named: str | None
    source: RequestSource | None = None
    mcp: McpHead | None = None


def judged(scope: Scope, site: Site) -> HeadFacts:
    """What is known of a request's sender, as it was for the last one where that still holds."""
    state = scope.setdefault("state", {})
    head: RequestHead = state.get("head") or RequestHead(scope["headers"])  # else: in this process
    facts, allowed = head.read, site.gateway.allowed_hosts()
    if not isinstance(facts, HeadFacts) or facts.allowed is not allowed:
        found = judge(_arrival(scope), site.bind, allowed)
        scheme, _, token = head.text(b"authorization").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else None
        shown = Caller(bearer, head.find(b"origin"), found.local, bool(found.foreign))
        facts = head.read = HeadFacts(allowed, found, shown, head.find(b"x-namespace"))
    state.update(head=head, facts=facts)
    return facts


def facts_of(request: Request) -> HeadFacts:
    """What is known of the request's sender."""
    found: HeadFacts = request.scope["state"]["facts"]
    return found


def mcp_head(request: Request) -> McpHead:
    """What the request's head says to ``/mcp``."""
    facts = facts_of(request)
    if facts.mcp is None:
        head: RequestHead = request.scope["state"]["head"]
        accept = head.text(b"accept")
        facts.mcp = McpHead(
            is_json(head.text(b"content-type")),
            takes(accept, JSON),
            takes(accept, EVENTS),
            takes_events(accept),
            head.find(mcp.VERSION_HEADER.lower().encode()),
            head.find(mcp.SESSION_HEADER.lower().encode()),
        )
    return facts.mcp


def verdict(request: Request) -> OriginVerdict:
    """How the request was judged by where it comes from."""
    return facts_of(request).verdict


def _arrival(scope: Scope) -> Arrival:
    """The facts to judge. A header that is there twice is joined, so that it means nothing."""
    said: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in _JUDGED:
            text = value.decode("latin-1").strip()
            said[name] = f"{said[name]}, {text}" if name in said else text
    peer, reached = scope.get("client"), scope.get("server")
    return Arrival(
        host=said.get(b"host", ""),
        origin=said.get(b"origin"),
        peer=peer[0] if peer else None,
        reached=reached[0] if reached else None,
        scheme=scope["scheme"],
        forwarded=not _PROXY_MARKS.isdisjoint(said),
        forwarded_scheme=said.get(b"x-forwarded-proto", ""),
        forwarded_for=said.get(b"x-forwarded-for", ""),
    )


def source_of(request: Request) -> RequestSource:
    """Who asks, for which namespace, and in which mode."""
    path = request.scope["path_params"].get("namespace")
    asked = parameter(request, "mode")
    mode = next((mode for mode in MODES if mode == asked), None) if asked else None
    who, facts = caller(request), facts_of(request)
    last = facts.source
    if last and last.caller is who and last.path == path and last.mode == mode:
        return last
    return RequestSource(who, path, facts.named, mode, last.admitted if last else None)


def parameter(request: Request, name: str) -> str | None:
    """A parameter of the query; most requests have none, and are spared the reading."""
    return request.query_params.get(name) if request.scope["query_string"] else None


def destination(site: Site, request: Request) -> RequestSource:
    """The same, but a message to the caller's session of ``/sse`` goes where that session is."""
    source = source_of(request)
    id_ = parameter(request, SESSION) if _is_message(request) else None
    if id_ is None:
        return source
    try:
        session = site.sessions.find(id_, "sse", source)
    except AccessDenied:
        return source
    return session.source_of(source) if session else source


def _is_message(request: Request) -> bool:
    path: str = request.scope["path"]
    return path.rstrip("/") == MESSAGE


async def recognise(site: Site, request: Request) -> None:
    """Find out who asks, once for each request; may wait for an issuer, for a bounded time."""
    shown, seen = facts_of(request).shown, _carried(site, request)
    if seen:
        shown = Caller(shown.token, shown.origin, seen.local, shown.foreign)
    request.scope["state"]["caller"] = await site.verified(shown) if shown.token else shown


def _carried(site: Site, request: Request) -> "Carried | None":
    """What is proved of a request that another gateway has carried here."""
    return site.shared.peers.carried(request) if site.shared else None


def caller(request: Request) -> Caller:
    """Who asks, as ``recognise`` found out."""
    found: Caller = request.scope["state"]["caller"]
    return found


def denied(site: Site, request: Request, fault: AccessDenied) -> Response:
    """The refusal of a caller that may not use the endpoint."""
    path: str = request.scope["path"]
    text = challenge(fault.challenge, site.gateway.issuer(), verdict(request).base, path)
    headers = {"WWW-Authenticate": text} if text else NO_HEADERS
    return refusal(fault.status, str(fault), headers)


def admitted(site: Site, request: Request, source: RequestSource) -> RequestSource | Response:
    """The request with the verdict on it, before its body is read; or its refusal.

    A wrong token and a foreign page are refused everywhere; a namespace only where it stands in the
    path, since elsewhere the refusal is JSON-RPC's.
    """
    if site.gate.closed:
        return stopping(site, request)
    if source.mode is None and parameter(request, "mode") is not None:
        return refusal(400, f"the parameter mode is one of: {', '.join(MODES)}")
    try:
        found = site.gateway.admit(source)
    except AccessDenied as fault:
        if source.path or fault.wrong_token:
            return denied(site, request, fault)
        return foreign(request) or source
    source = source if found is source.admitted else replace(source, admitted=found)
    facts_of(request).source = source
    return source


def stopping(site: Site, request: Request) -> Response:
    """The refusal of whatever comes while the program stops; a gateway that carried it here takes
    it upon itself."""
    if site.shared and _carried(site, request):
        return site.shared.not_here()
    return unavailable("the gateway is stopping", math.ceil(DRAIN_SECS))


def foreign(request: Request) -> Response | None:
    """The refusal of a foreign page where no namespace judges its origin."""
    why = verdict(request).foreign
    return refusal(403, why) if why else None


def share_of(site: Site, request: Request) -> str:
    """Whose share of what the gateway can carry the request takes; found out once for each."""
    state = request.scope["state"]
    share: str | None = state.get("share")
    if share is None:
        name = site.gateway.identify(source_of(request)) if caller(request).token else None
        seen = _carried(site, request)
        share = state["share"] = owner_of(name, seen.sender if seen else verdict(request).sender)
    return share


async def read_message(site: Site, request: Request, bad: int) -> Received | Response:
    """The message in the body, or the batch; else the refusal, with the status ``bad`` where it is
    no JSON-RPC."""
    data = await _body(site, request)
    if isinstance(data, Response):
        return data
    try:
        if site.shared:
            request.scope["state"]["body"] = data  # it may have to be carried on
        return wire.decode_body(data)
    except RpcError as error:
        return raw(wire.encode(wire.Failure(None, error)), bad)


async def _body(site: Site, request: Request) -> bytes | Response:
    """The body of a request, or its refusal; one that is too large, or beyond the client's share,
    is not read to its end. How long it may take is bounded by the connection."""
    message = await request.receive()
    if not message.get("more_body") and message["type"] == "http.request":
        whole: bytes = message["body"]  # nearly always: all of it came at once
        return whole if len(whole) <= MAX_BODY_BYTES else _too_large()
    owner, held = share_of(site, request), site.sessions.body_bytes
    parts: list[bytes] = []
    size = 0
    try:
        while message["type"] == "http.request":
            part: bytes = message["body"]
            if size + len(part) > MAX_BODY_BYTES:
                return _too_large()
            if not held.take(owner, len(part)):
                return unavailable("too much is being received", RETRY_SECS, close=True)
            size += len(part)
            parts.append(part)
            if not message["more_body"]:
                return b"".join(parts)
            message = await request.receive()
    finally:
        held.give(owner, size)
    return gone()


def _too_large() -> Response:
    return refusal(413, f"the body is over {MAX_BODY_BYTES} bytes")


def gone() -> Response:
    """The response that nobody will read: the client has left."""
    return Response(status_code=400)


@lru_cache(maxsize=KEPT_TEXTS)
def is_json(content_type: str) -> bool:
    """Whether a body may be JSON, by its ``Content-Type``; many clients send none, or another."""
    kind = content_type.partition(";")[0].strip().lower()
    return not kind or _JSON_TYPES.fullmatch(kind) is not None


@lru_cache(maxsize=KEPT_TEXTS)
def takes(accept: str, kind: str) -> bool:
    """Whether an ``Accept`` header names a media type; a wildcard names every one."""
    family = kind.partition("/")[0] + "/*"
    return not accept.strip() or bool(_media_types(accept) & {kind, family, "*/*"})


@lru_cache(maxsize=KEPT_TEXTS)
def takes_events(accept: str) -> bool:
    """Whether an ``Accept`` header asks for event streams; a wildcard alone does not: a program
    that takes anything, like curl, is best served with one JSON text."""
    return bool(_media_types(accept) & {EVENTS, "text/*"})


def _media_types(accept: str) -> set[str]:
    return {part.partition(";")[0].strip().lower() for part in accept.split(",")}
