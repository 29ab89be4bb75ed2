"""The HTTP routes, and which of them pages of other origins may use. What is behind each stands in
a file of its own.

Whether a browser may send a page's request, and show it the answer: Fetch standard, "CORS
protocol". Starlette's middleware knows one list for all paths; here each namespace has its own.
Nothing is let in for it: ``request_auth`` judges each request by itself, and what it refuses for
its origin no page reads. Credentials (cookies) are never allowed.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mcproxy.config.model import ANY
from mcproxy.frontends import plain, sse, streamable
from mcproxy.frontends.oauth_metadata import WELL_KNOWN, document
from mcproxy.frontends.request_auth import (
    MESSAGE,
    SESSION,
    Handler,
    IncomingRequest,
    Site,
    caller,
    denied,
    destination,
    facts_of,
    foreign,
    judged,
    parameter,
    recognise,
    stopping,
    verdict,
)
from mcproxy.frontends.responses import http_error, json, refusal
from mcproxy.observe.metrics import CONTENT_TYPE as METRICS_CONTENT_TYPE
from mcproxy.policy.access import AccessDenied
from mcproxy.types import Caller

if TYPE_CHECKING:
    from starlette.routing import Route

_NO_BASE = (
    "the gateway does not know under which URL you reach it: set auth.jwt.resource, or list the "
    "host in allowed_hosts"
)

PREFLIGHT_SECS = 600  # that a browser may go by an answer, so also by a configuration that is gone
_NAMESPACE = "x-namespace"
_HEADERS = (
    "Authorization, Content-Type, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, "
    "Mcp-Name, X-Namespace"
)
_EXPOSED = "Mcp-Session-Id, WWW-Authenticate, Retry-After"
_PARAMETER = re.compile(r"mcp-param-[\w!#$%&'*+.^`|~-]+", re.ASCII)  # a token (RFC 9110, 5.6.2)
_VARY = {"Vary": "Origin"}
_VARIES = (b"vary", b"Origin")  # the same as ASGI has it


def application(site: Site, others: Callable[[], "Sequence[Route]"] = tuple) -> ASGIApp:
    """The ASGI application, with what else there is to see, once somebody looks. A final slash
    makes no difference, so that nobody is redirected. What carries calls is found without a
    framework's layers."""
    mcp: dict[str, Handler] = {
        "POST": streamable.post,
        "GET": streamable.get,
        "DELETE": streamable.delete,
    }
    events: dict[str, Handler] = {"POST": plain.answer, "GET": sse.get}
    resource = _Endpoint({"GET": _resource, "HEAD": _resource})
    named = {"/sse": _for_pages(events), "/mcp": _for_pages(mcp)}
    endpoints = {
        MESSAGE: _for_pages({"POST": _message}),
        **named,
        "/health": _Endpoint({"GET": _health, "HEAD": _health}),
        "/metrics": _Endpoint({"GET": _metrics}),
    }

    @cache
    def rest() -> ASGIApp:
        from starlette.applications import Starlette  # noqa: PLC0415 - with layers and patterns

        found = Starlette(routes=others(), exception_handlers={HTTPException: _http_error})
        found.router.redirect_slashes = False
        return found

    def endpoint_of(path: str) -> tuple[_Endpoint | None, dict[str, str]]:
        path = path.removesuffix("/")
        if path in endpoints:
            return endpoints[path], {}
        place, _, last = path.rpartition("/")
        if last and place in named:
            return named[place], {"namespace": last}
        return (resource if f"{path}/".startswith(f"{WELL_KNOWN}/") else None), {}

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if refused := judged(scope, site).verdict.refusal:
            await refusal(403, refused)(scope, receive, send)
            return
        endpoint, scope["path_params"] = endpoint_of(scope["path"])
        if endpoint is None:
            await rest()(scope, receive, send)
            return
        response = await _answer(site, IncomingRequest(scope, receive), endpoint)
        await response(scope, receive, send)

    return answer


class _Endpoint(msgspec.Struct, frozen=True):
    """What answers at a path, by method; ``for_pages``: also to pages of other origins."""

    handlers: Mapping[str, Handler]
    for_pages: bool = False


async def _answer(site: Site, request: Request, endpoint: _Endpoint) -> Response:
    method = request.scope["method"]
    handler = endpoint.handlers.get(method)
    if handler is None:
        error = HTTPException(405, headers={"Allow": ", ".join(endpoint.handlers)})
        return foreign(request) or http_error(request, error)
    await recognise(site, request)
    if not endpoint.for_pages or method == "OPTIONS":
        return await handler(site, request)
    # Asked before, since a session may end meanwhile; most requests come from no page.
    paged = facts_of(request).shown.origin is not None
    shared = paged and site.gateway.shares(destination(site, request))
    response = await handler(site, request)
    response.raw_headers.append(_VARIES)
    if shared:
        response.headers.update(_allowing(request))
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
    return response


async def _http_error(request: Request, error: Exception) -> Response:
    return foreign(request) or http_error(request, error)


async def _message(site: Site, request: Request) -> Response:
    answer = sse.post if parameter(request, SESSION) is not None else plain.answer
    return await answer(site, request)


async def _health(site: Site, request: Request) -> Response:
    status = 503 if site.gate.closed else 200
    return _told(site, request, lambda who: json(site.health(who), status))


async def _metrics(site: Site, request: Request) -> Response:
    return _told(
        site, request, lambda who: Response(site.metrics(who), media_type=METRICS_CONTENT_TYPE)
    )


async def _resource(site: Site, request: Request) -> Response:
    """For everybody, whatever token comes with it: this is how one gets a right one."""
    rules = site.gateway.issuer()
    if rules is None:
        return foreign(request) or http_error(request, HTTPException(404))
    if site.gate.closed:
        return stopping(site, request)
    path: str = request.scope["path"]
    told = document(rules, verdict(request).base, path)
    return foreign(request) or (json(told) if told else refusal(400, _NO_BASE))


def _told(site: Site, request: Request, tell: Callable[[Caller], Response]) -> Response:
    """What is told without JSON-RPC: to no foreign page, and to no wrong token."""
    turned_away = foreign(request)
    if turned_away:
        return turned_away
    try:
        return tell(caller(request))
    except AccessDenied as fault:
        return denied(site, request, fault)


def _for_pages(handlers: Mapping[str, Handler]) -> _Endpoint:
    """The handlers of one path by method, usable from pages of other origins; OPTIONS is new."""
    methods = ", ".join(handlers)

    async def options(site: Site, request: Request) -> Response:
        if "origin" in request.headers:
            return _to_page(site, request, methods)
        return Response(status_code=204, headers={"Allow": f"{methods}, OPTIONS", **_VARY})

    return _Endpoint({**handlers, "OPTIONS": options}, for_pages=True)


def _to_page(site: Site, request: Request, methods: str) -> Response:
    """What a page of this origin may ask. A preflight carries no token, and not what
    ``X-Namespace`` will say: where either decides, an origin passes that any namespace lists, so
    that guarded and unknown namespaces have one answer."""
    source = destination(site, request)
    asked = [name.strip() for name in _asked(request).split(",")]
    if source.path is None and _NAMESPACE in asked:
        source = replace(source, header=ANY)
    if not site.gateway.shares(source):
        text = "pages of this origin may not ask here; list it in the namespace's allowed_origins"
        return refusal(403, text, _VARY)
    parameters = [name for name in asked if _PARAMETER.fullmatch(name)]
    return Response(
        status_code=204,
        headers={
            "Allow": f"{methods}, OPTIONS",
            **_allowing(request),
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": ", ".join([_HEADERS, *parameters]),
            "Access-Control-Max-Age": str(PREFLIGHT_SECS),
        },
    )


def _allowing(request: Request) -> Mapping[str, str]:
    return {"Access-Control-Allow-Origin": request.headers["origin"], **_VARY}


def _asked(request: Request) -> str:
    return request.headers.get("access-control-request-headers", "").lower()
