"""HTTP responses with JSON in them. What is refused names the endpoints that there are: agents
probe paths, and conclude from a bare 404 that the server is down."""

from collections.abc import Mapping

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mcproxy.errors import RpcError
from mcproxy.types import Json
from mcproxy.wire.message import Failure, RequestId, encode
from mcproxy.wire.message import Response as Reply

ENDPOINTS: dict[str, Json] = {
    "POST /message": "JSON-RPC 2.0 (MCP): initialize, tools/list, tools/call; no handshake needed",
    "POST /sse": "the same",
    "POST /sse/{namespace}": "the same within one namespace",
    "GET /sse": "MCP over HTTP+SSE (2024-11-05)",
    "GET /sse/{namespace}": "the same within one namespace",
    "/mcp": "MCP over Streamable HTTP (2025-03-26 and later)",
    "/mcp/{namespace}": "the same within one namespace",
    "GET /health": "how the gateway and its servers are",
    "GET /metrics": "the same in numbers, for Prometheus",
}
TRY = (
    'curl -X POST http://HOST/message -H "Content-Type: application/json" '
    '-d \'{"jsonrpc":"2.0","id":1,"method":"tools/list"}\''
)
CLOSE = {"Connection": "close"}


def raw(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON that is written already."""
    return Response(body, status, headers, media_type="application/json")


def json(body: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON value."""
    return raw(msgspec.json.encode(body), status, headers)


def refusal(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """A request that HTTP refuses: why, and what there is instead."""
    return json({"error": text, "endpoints": ENDPOINTS, "try": TRY}, status, headers)


def unavailable(text: str, retry_secs: int, *, close: bool = False) -> Response:
    """A request that cannot be served now, and may be in so many seconds; ``close``: on another
    connection, as its body has not been read."""
    headers = {**retry_after(retry_secs), **(CLOSE if close else {})}
    return refusal(503, f"{text}; try again in {retry_secs} s", headers)


def retry_after(secs: int | None) -> dict[str, str]:
    """The header that says when to come again (RFC 9110, section 10.2.3); none for None."""
    return {} if secs is None else {"Retry-After": str(secs)}


def answered(reply: Reply | Failure) -> Response:
    """The reply to one request."""
    return raw(encode(reply), headers=retry_after(reply.retry_after))


def rpc_error(status: int, id_: RequestId | None, code: int, text: str) -> Response:
    """A request that is refused in the words of JSON-RPC."""
    return raw(encode(Failure(id_, RpcError(code, text))), status)


def accepted() -> Response:
    """What needs no answer has been taken."""
    return Response(status_code=202)


def http_error(request: Request, error: Exception) -> Response:
    """What the routes raise: no such path, or a method that the path does not have."""
    path: str = request.scope["path"]
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405 and isinstance(error, HTTPException):
        text = f"{request.method} is not answered at {path}"
        return refusal(405, text, error.headers)
    return refusal(status, f"there is nothing at {request.method} {path}")
