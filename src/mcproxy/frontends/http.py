"""The HTTP routes: bytes and headers in, replies out. No decisions beyond HTTP's own.

``POST /message`` and ``POST /sse`` answer in the body and need no handshake, so that ``curl`` is a
client. A namespace stands in the path, or in the header ``X-Namespace``.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mcproxy.errors import RpcError
from mcproxy.frontends.gate import Gate
from mcproxy.frontends.guard import foreign_host, foreign_origin, is_loopback
from mcproxy.gateway.core import Gateway, Where
from mcproxy.policy.access import AccessDenied
from mcproxy.types import Caller, Json
from mcproxy.wire import message as wire

MAX_BODY_BYTES = 4 << 20

ENDPOINTS: dict[str, Json] = {
    "POST /message": "JSON-RPC 2.0 (MCP): initialize, tools/list, tools/call; no handshake needed",
    "POST /sse": "the same",
    "POST /sse/{namespace}": "the same within one namespace",
    "GET /health": "how the gateway and its servers are",
}
TRY = (
    'curl -X POST http://HOST/message -H "Content-Type: application/json" '
    '-d \'{"jsonrpc":"2.0","id":1,"method":"tools/list"}\''
)


@dataclass(frozen=True, slots=True)
class Site:
    """What the routes need: the gateway, the gate, and what ``/health`` tells a caller."""

    gateway: Gateway
    gate: Gate
    health: Callable[[Caller], Json]
    loopback: bool


def application(site: Site) -> Starlette:
    """The ASGI application."""

    async def message(request: Request) -> Response:
        return await _answer(site, request)

    async def health(request: Request) -> Response:
        if (why := _foreign(site, request)) is not None:
            return _error(403, why)
        status = 503 if site.gate.closed else 200
        try:
            return _json(site.health(_caller(request)), status)
        except AccessDenied as denied:
            return _denied(denied)

    return Starlette(
        routes=[
            Route("/message", message, methods=["POST"]),
            Route("/sse", message, methods=["POST"]),
            Route("/sse/{namespace}", message, methods=["POST"]),
            Route("/health", health, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _http_error},
    )


async def _answer(site: Site, request: Request) -> Response:
    if site.gate.closed:
        return _error(503, "the gateway is stopping")
    where = Where(
        _caller(request), request.path_params.get("namespace"), request.headers.get("x-namespace")
    )
    refused = _refused(site, request, where)
    if refused:
        return refused
    try:
        body = await _read(request)
    except ClientDisconnect:
        return Response(status_code=400)
    if body is None:
        return _error(413, f"the body is over {MAX_BODY_BYTES} bytes")
    with site.gate.enter():
        return await _reply(site.gateway, body, where)


async def _reply(gateway: Gateway, body: bytes, where: Where) -> Response:
    try:
        received = wire.decode_body(body)
    except RpcError as error:
        return _raw(wire.encode(wire.Failure(None, error)))
    if isinstance(received, list):
        return await _reply_batch(gateway, received, where)
    answer = await gateway.respond(received, where)
    return _raw(wire.encode(answer)) if answer else Response(status_code=202)


async def _reply_batch(
    gateway: Gateway, batch: list[wire.Message | RpcError], where: Where
) -> Response:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_respond_item(gateway, item, where)) for item in batch]
    answers = [answer for task in running if (answer := task.result())]
    return _raw(wire.encode_batch(answers)) if answers else Response(status_code=202)


async def _respond_item(
    gateway: Gateway, item: wire.Message | RpcError, where: Where
) -> wire.Response | wire.Failure | None:
    if isinstance(item, RpcError):
        return wire.Failure(None, item)
    return await gateway.respond(item, where)


def _refused(site: Site, request: Request, where: Where) -> Response | None:
    """The refusal of a request before its body is read.

    A wrong token is refused everywhere; a namespace only where it stands in the path, since
    elsewhere the refusal is JSON-RPC's. A namespace with its own list of origins has judged by it.
    """
    listed = False
    try:
        site.gateway.identify(where.caller)
        namespace = site.gateway.admit(where)
        listed = all(part.allowed_origins is not None for part in namespace.members())
    except AccessDenied as denied:
        if where.path or denied.wrong_token:
            return _denied(denied)
    why = _foreign(site, request, listed=listed)
    return _error(403, why) if why else None


def _foreign(site: Site, request: Request, *, listed: bool = False) -> str | None:
    """Why a request to a loopback bind is refused; ``listed``: its origin was judged already."""
    if not site.loopback:
        return None
    why = foreign_host(request.headers.get("host"))
    return why if why or listed else foreign_origin(request.headers.get("origin"))


async def _read(request: Request) -> bytes | None:
    """The body, None when it is too large; a larger one is not read to its end."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _caller(request: Request) -> Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    local = request.client is None or is_loopback(request.client.host)
    bearer = token.strip() if scheme.lower() == "bearer" else None
    return Caller(bearer, request.headers.get("origin"), local)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        return _error(405, f"{request.method} is not answered at {request.url.path}")
    return _error(status, f"there is nothing at {request.method} {request.url.path}")


def _denied(denied: AccessDenied) -> Response:
    response = _error(denied.status, str(denied))
    if denied.challenge:
        response.headers["WWW-Authenticate"] = denied.challenge
    return response


def _error(status: int, text: str) -> Response:
    return _json({"error": text, "endpoints": ENDPOINTS, "try": TRY}, status)


def _json(body: Json, status: int) -> Response:
    return _raw(msgspec.json.encode(body), status)


def _raw(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")
