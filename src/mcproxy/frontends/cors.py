"""Pages of other origins: whether the browser may send their request, and show them the answer.

Fetch standard, "CORS protocol". Starlette's middleware knows one list for all paths; here each
namespace has its own. Nothing is let in for it: ``entry.refused`` judges each request by itself,
and what it refuses for its origin no page reads. Credentials (cookies) are never allowed.
"""

import re
from collections.abc import Mapping

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from mcproxy.config.model import ANY
from mcproxy.frontends.request_auth import Handler, Site, destination
from mcproxy.frontends.responses import refusal

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


def open_to_pages(handlers: Mapping[str, Handler]) -> Mapping[str, Handler]:
    """The handlers of one path by method, usable from pages of other origins; OPTIONS is new."""
    methods = ", ".join(handlers)

    async def options(site: Site, request: Request) -> Response:
        if "origin" in request.headers:
            return _to_page(site, request, methods)
        return Response(status_code=204, headers={"Allow": f"{methods}, OPTIONS", **_VARY})

    shown = {method: _shown(handler) for method, handler in handlers.items()}
    return {**shown, "OPTIONS": options}


def _shown(handler: Handler) -> Handler:
    async def answer(site: Site, request: Request) -> Response:
        # Asked before, since a session may end meanwhile; most requests come from no page.
        paged = "origin" in request.headers
        shared = paged and site.gateway.shares(destination(site, request))
        response = await handler(site, request)
        response.raw_headers.append(_VARIES)
        if shared:
            response.headers.update(_allowing(request))
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        return response

    return answer


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
