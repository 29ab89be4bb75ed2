"""The HTTP routes. What is behind each stands in a file of its own; here is only what exists."""

from collections.abc import Callable, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcproxy.frontends import plain, sse, streamable
from mcproxy.frontends.cors import open_to_pages
from mcproxy.frontends.entry import (
    MESSAGE,
    SESSION,
    Handler,
    Site,
    caller,
    denied,
    foreign,
    recognise,
    stopping,
)
from mcproxy.frontends.replies import http_error, json, refusal
from mcproxy.frontends.resource import WELL_KNOWN, document
from mcproxy.observe.metrics import CONTENT_TYPE as METRICS_CONTENT_TYPE
from mcproxy.policy.access import AccessDenied
from mcproxy.types import Caller


def application(site: Site) -> Starlette:
    """The ASGI application."""
    mcp: dict[str, Handler] = {
        "POST": streamable.post,
        "GET": streamable.get,
        "DELETE": streamable.delete,
    }
    events: dict[str, Handler] = {"POST": plain.answer, "GET": sse.get}
    resource: dict[str, Handler] = {"GET": _resource, "HEAD": _resource}
    return Starlette(
        routes=[
            _route(site, MESSAGE, open_to_pages({"POST": _message})),
            _route(site, "/sse", open_to_pages(events)),
            _route(site, "/sse/{namespace}", open_to_pages(events)),
            _route(site, "/mcp", open_to_pages(mcp)),
            _route(site, "/mcp/{namespace}", open_to_pages(mcp)),
            _route(site, "/health", {"GET": _health, "HEAD": _health}),
            _route(site, "/metrics", {"GET": _metrics}),
            _route(site, WELL_KNOWN, resource),
            _route(site, WELL_KNOWN + "/{path:path}", resource),
        ],
        exception_handlers={HTTPException: http_error},
    )


def _route(site: Site, path: str, handlers: Mapping[str, Handler]) -> Route:
    async def endpoint(request: Request) -> Response:
        handler = handlers.get(request.method)
        if handler is None:
            raise HTTPException(405, headers={"Allow": ", ".join(handlers)})
        await recognise(site, request)
        return await handler(site, request)

    return Route(path, endpoint, methods=_ALL_METHODS)


_ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


async def _message(site: Site, request: Request) -> Response:
    answer = sse.post if SESSION in request.query_params else plain.answer
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
    why = foreign(site, request)
    if why:
        return refusal(403, why)
    told = document(rules, request)
    return json(told) if told else refusal(400, "the Host header names no host")


def _told(site: Site, request: Request, tell: Callable[[Caller], Response]) -> Response:
    """What is told without JSON-RPC: to no foreign page, and to no wrong token."""
    why = foreign(site, request)
    if why:
        return refusal(403, why)
    try:
        return tell(caller(request))
    except AccessDenied as fault:
        return denied(site, request, fault)
