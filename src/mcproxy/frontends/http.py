"""The HTTP routes. What is behind each stands in a file of its own; here is only what exists."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcproxy.frontends import plain, sse, streamable
from mcproxy.frontends.entry import Site, caller, foreign
from mcproxy.frontends.replies import denied, http_error, json, refusal
from mcproxy.observe.metrics import CONTENT_TYPE as METRICS_CONTENT_TYPE
from mcproxy.policy.access import AccessDenied
from mcproxy.types import Caller

Handler = Callable[[Site, Request], Awaitable[Response]]


def application(site: Site) -> Starlette:
    """The ASGI application."""
    mcp: dict[str, Handler] = {
        "POST": streamable.post,
        "GET": streamable.get,
        "DELETE": streamable.delete,
    }
    events: dict[str, Handler] = {"POST": plain.answer, "GET": sse.get}
    return Starlette(
        routes=[
            _route(site, "/message", {"POST": _message}),
            _route(site, "/sse", events),
            _route(site, "/sse/{namespace}", events),
            _route(site, "/mcp", mcp),
            _route(site, "/mcp/{namespace}", mcp),
            _route(site, "/health", {"GET": _health, "HEAD": _health}),
            _route(site, "/metrics", {"GET": _metrics}),
        ],
        exception_handlers={HTTPException: http_error},
    )


def _route(site: Site, path: str, handlers: dict[str, Handler]) -> Route:
    async def endpoint(request: Request) -> Response:
        handler = handlers.get(request.method)
        if handler is None:
            raise HTTPException(405, headers={"Allow": ", ".join(handlers)})
        return await handler(site, request)

    return Route(path, endpoint, methods=_ALL_METHODS)


_ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


async def _message(site: Site, request: Request) -> Response:
    answer = sse.post if sse.PARAMETER in request.query_params else plain.answer
    return await answer(site, request)


async def _health(site: Site, request: Request) -> Response:
    status = 503 if site.gate.closed else 200
    return _told(site, request, lambda who: json(site.health(who), status))


async def _metrics(site: Site, request: Request) -> Response:
    return _told(
        site, request, lambda who: Response(site.metrics(who), media_type=METRICS_CONTENT_TYPE)
    )


def _told(site: Site, request: Request, tell: Callable[[Caller], Response]) -> Response:
    """What is told without JSON-RPC: to no foreign page, and to no wrong token."""
    why = foreign(site, request)
    if why:
        return refusal(403, why)
    try:
        return tell(caller(request))
    except AccessDenied as fault:
        return denied(fault)
