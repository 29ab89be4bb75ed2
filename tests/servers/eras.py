"""What makes a server of both eras into one of the handshake era."""

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

STATELESS = "2026-07-28"


def handshake_only(application: ASGIApp) -> ASGIApp:
    """Refuse the stateless era as a server does that never heard of it."""

    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        if (b"mcp-protocol-version", STATELESS.encode()) in scope.get("headers", ()):
            await Response("Bad Request: unsupported protocol version", 400)(scope, receive, send)
        else:
            await application(scope, receive, send)

    return refusing
