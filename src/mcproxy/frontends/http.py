"""The HTTP routes. What is behind each stands in a file of its own; here is only what exists."""

from collections.abc import Callable, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mcproxy.frontends import plain, sse, streamable
from mcproxy.frontends.cors import open_to_pages
from mcproxy.frontends.oauth_metadata import WELL_KNOWN, document
from mcproxy.frontends.request_auth import (
    MESSAGE,
    SESSION,
    Handler,
    Site,
    caller,
    denied,
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

_NO_BASE = (
    "the gateway does not know under which URL you reach it: set auth.jwt.resource, or list the "
    "host in allowed_hosts"
)


def application(site: Site) -> ASGIApp:
    """The ASGI application. A final slash makes no difference, so that nobody is redirected."""
    mcp: dict[str, Handler] = {
        "POST": streamable.post,
        "GET": streamable.get,
        "DELETE": streamable.delete,
    }
    events: dict[str, Handler] = {"POST": plain.answer, "GET": sse.get}
    resource: dict[str, Handler] = {"GET": _resource, "HEAD": _resource}
    handlers: dict[str, Mapping[str, Handler]] = {
        MESSAGE: open_to_pages({"POST": _message}),
        "/sse": open_to_pages(events),
        "/sse/{namespace}": open_to_pages(events),
        "/mcp": open_to_pages(mcp),
        "/mcp/{namespace}": open_to_pages(mcp),
        "/health": {"GET": _health, "HEAD": _health},
        "/metrics": {"GET": _metrics},
    }
    routes = [_route(site, path + end, by) for end in ("", "/") for path, by in handlers.items()]
    documents = [_route(site, WELL_KNOWN + end, resource) for end in ("", "/{path:path}")]
    app = Starlette(routes=[*routes, *documents], exception_handlers={HTTPException: _http_error})
    app.router.redirect_slashes = False
    return judged(site, app)


def _route(site: Site, path: str, handlers: Mapping[str, Handler]) -> Route:
    async def endpoint(request: Request) -> Response:
        handler = handlers.get(request.method)
        if handler is None:
            raise HTTPException(405, headers={"Allow": ", ".join(handlers)})
        await recognise(site, request)
        return await handler(site, request)

    return Route(path, endpoint, methods=_ALL_METHODS)


_ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


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
        raise HTTPException(404)
    if site.gate.closed:
        return stopping()
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
