"""An upstream for tests that wants a login: the official SDK's server and authorization server.

Run as ``sys.executable remote_oauth.py``; it prints its URL once it listens on a free port of the
loopback interface, and ends with the end of its input. Everybody who asks at ``/authorize`` is let
in, with ``--refuse`` nobody. Tools: ``echo``, ``expire`` (no access token given so far is valid any
more), ``revoke`` (no refresh token either), ``issued`` (how many tokens were given, and clients
registered).

Run with ``--forks PATH`` it is loaded once, see ``forks.py``.
"""

import asyncio
import secrets
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    AuthorizeError,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers import forks

LIFETIME_SECS = 3600


class Authority(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """An authorization server that keeps everything in memory."""

    def __init__(self, *, refuses: bool) -> None:
        self.refuses = refuses
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.access: dict[str, AccessToken] = {}
        self.refresh: dict[str, RefreshToken] = {}
        self.issued = 0

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[str(client_info.client_id)] = client_info

    async def authorize(
        self, client: OAuthClientInformationFull, params: AuthorizationParams
    ) -> str:
        if self.refuses:
            raise AuthorizeError("access_denied", "Ada pressed\x1b[31m no")
        code = AuthorizationCode(
            code=secrets.token_urlsafe(32),
            scopes=params.scopes or [],
            expires_at=time.time() + LIFETIME_SECS,
            client_id=str(client.client_id),
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        self.codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        return self._issue(client, authorization_code.scopes)

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> RefreshToken | None:
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(
        self,
        client: OAuthClientInformationFull,
        refresh_token: RefreshToken,
        scopes: list[str],
    ) -> OAuthToken:
        del self.refresh[refresh_token.token]
        return self._issue(client, scopes)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.access.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.access.pop(token.token, None)
        self.refresh.pop(token.token, None)

    def _issue(self, client: OAuthClientInformationFull, scopes: Sequence[str]) -> OAuthToken:
        self.issued += 1
        owner, may = str(client.client_id), [*scopes]
        access = AccessToken(token=secrets.token_urlsafe(32), client_id=owner, scopes=may)
        refresh = RefreshToken(token=secrets.token_urlsafe(32), client_id=owner, scopes=may)
        self.access[access.token] = access
        self.refresh[refresh.token] = refresh
        return OAuthToken(
            access_token=access.token,
            expires_in=LIFETIME_SECS,
            scope=" ".join(may),
            refresh_token=refresh.token,
        )


def guarded(origin: str, *, refuses: bool) -> MCPServer:
    """The server; ``origin`` is where it listens."""
    authority = Authority(refuses=refuses)
    settings = AuthSettings(
        issuer_url=AnyHttpUrl(origin),
        resource_server_url=AnyHttpUrl(f"{origin}/mcp"),
        client_registration_options=ClientRegistrationOptions(enabled=True),
        validate_token_resource=False,
    )
    server = MCPServer("guarded", auth_server_provider=authority, auth=settings, log_level="ERROR")

    @server.tool(structured_output=False)
    def echo(text: str) -> str:
        return text

    @server.tool(structured_output=False)
    def expire() -> str:
        authority.access.clear()
        return "done"

    @server.tool(structured_output=False)
    def revoke() -> str:
        authority.access.clear()
        authority.refresh.clear()
        return "done"

    @server.tool(structured_output=False)
    def issued() -> str:
        return f"{authority.issued} tokens, {len(authority.clients)} clients"

    return server


async def main(*, refuses: bool) -> None:
    """Serve until the end of input."""
    listener = socket.create_server(("127.0.0.1", 0))
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    application = guarded(origin, refuses=refuses).streamable_http_app()
    config = uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=1)
    serving = uvicorn.Server(config)
    sys.stdout.write(f"{origin}/mcp\n")
    sys.stdout.flush()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serving.serve([listener]))
        await asyncio.to_thread(sys.stdin.read)
        serving.should_exit = True


if __name__ == "__main__":
    asyncio.run(main(refuses="--refuse" in forks.words()))
