"""OAuth 2.1 towards remote servers: logging in, and a token for each request.

The protocol (discovery, registration, PKCE, refresh) is the official SDK's, the extra
``mcproxy-gateway[oauth]``; importing this file needs it. A person is asked in ``log_in`` only: a
gateway that opens browsers by itself does so at night. The SDK's own signing of requests is not
used, since it lets one request through at a time; a token that is at hand is simply put into the
header.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from urllib.parse import parse_qs, urlsplit

import httpx
import httpx2
import msgspec
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
)
from msgspec.structs import replace
from pydantic import AnyUrl, ValidationError

from mcproxy import mcp
from mcproxy.errors import McproxyError
from mcproxy.types import Json, JsonObject
from mcproxy.upstream.remote.confined import AddressRules, Confined
from mcproxy.upstream.remote.login_callback import LoginAnswer
from mcproxy.upstream.remote.tokens import Login, LoginFile

HTTP_SECS = 30.0  # for one request of the flow
LOGIN_SECS = 600.0  # for a person to log in
EARLY_SECS = 30.0  # a token is refreshed before it expires on its way
_NOWHERE = "http://127.0.0.1/callback"  # in a refresh nobody is sent anywhere

_VERSION = "2025-11-25"  # with which servers expect the `resource` of RFC 8707
_HELLO: JsonObject = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": _VERSION,
        "capabilities": {},
        "clientInfo": {"name": "mcproxy", "version": "2"},
    },
}

log = logging.getLogger(__name__)


class LoginFailed(McproxyError):
    """The login came to nothing; the text says why."""


class Person(msgspec.Struct, frozen=True):
    """Who logs in. The browser ends at ``redirect``; ``show`` opens a URL in one, or prints it;
    ``login_answer`` waits for what the browser, or the person, brings back for a ``state``."""

    redirect: str
    show: Callable[[str], Awaitable[None]]
    answer: Callable[[str], Awaitable[LoginAnswer]]


class Bearer(httpx.Auth):
    """Puts a token of the login into each request, refreshed where it expired or is refused."""

    def __init__(self, url: str, file: LoginFile, rules: AddressRules | None = None) -> None:
        self._url = url
        self._rules = rules
        self._file = file
        self._refreshing = asyncio.Lock()

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Sign the request; send it again with a new token where it was refused (not processed)."""
        token = await self._token()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            renewed = await self._token(refused=token)
            if renewed != token:
                request.headers["Authorization"] = f"Bearer {renewed}"
                yield request

    async def _token(self, refused: str | None = None) -> str:
        async with self._refreshing:
            login = self._file.read()
            token = str(login.tokens.get("access_token", ""))
            expired = 0 < login.expires_at < time.time() + EARLY_SECS
            if token != refused and not expired:
                return token
            return await self._refreshed(login) or token

    async def _refreshed(self, login: Login) -> str:
        """A new token in exchange for the refresh token; empty where there is none to be had."""
        store = _Store(login, self._file.write)
        try:
            provider = _provider(self._url, store, None)
            provider.context.oauth_metadata = OAuthMetadata.model_validate(login.metadata)
            provider.context.token_expiry_time = 1.0  # long ago: have it refreshed
            probe = httpx2.Request("GET", self._url, headers={mcp.VERSION_HEADER: _VERSION})
            async with (
                httpx2.AsyncClient(
                    timeout=HTTP_SECS, transport=Confined(self._url, self._rules)
                ) as client,
                aclosing(provider.async_auth_flow(probe)) as flow,
            ):
                step = await anext(flow)
                while step is not probe:
                    step = await flow.asend(await client.send(step))
        except (httpx2.HTTPError, OAuthFlowError, ValidationError, OSError) as error:
            log.warning("%s: no new token: %s", urlsplit(self._url).hostname, error)
            return ""
        tokens = provider.context.current_tokens
        return tokens.access_token if tokens else ""


async def log_in(
    url: str, file: LoginFile, person: Person, rules: AddressRules | None = None
) -> None:
    """Log in at a server and keep the tokens. Raises LoginFailed."""
    store = _Store(Login(url=url), lambda login: None)
    confined = Confined(url, rules)

    async def show(page: str) -> None:
        await confined.check(page)
        await person.show(page)

    provider = _provider(url, store, replace(person, show=show))
    headers = {mcp.VERSION_HEADER: _VERSION, "Accept": "application/json, text/event-stream"}
    try:
        async with (
            asyncio.timeout(LOGIN_SECS),
            httpx2.AsyncClient(auth=provider, timeout=HTTP_SECS, transport=confined) as client,
            client.stream("POST", url, json=_HELLO, headers=headers) as response,
        ):
            status = response.status_code
        if store.login.tokens and provider.context.oauth_metadata:
            metadata = _dumped(provider.context.oauth_metadata)
            file.write(msgspec.structs.replace(store.login, metadata=metadata))
            return
    except TimeoutError as error:
        raise LoginFailed(f"nobody logged in within {LOGIN_SECS:g} s") from error
    except (httpx2.HTTPError, OAuthFlowError, ValidationError, OSError) as error:
        raise LoginFailed(f"the login failed: {error}") from error
    raise LoginFailed(f"the server asked for no login (it answered {status})")


class _Store:
    """A ``TokenStorage`` of the SDK over a ``Login``; ``save`` is called after each change."""

    def __init__(self, login: Login, save: Callable[[Login], None]) -> None:
        self.login = login
        self._save = save

    async def get_tokens(self) -> OAuthToken | None:
        return OAuthToken.model_validate(self.login.tokens) if self.login.tokens else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        expires_at = time.time() + tokens.expires_in if tokens.expires_in else 0.0
        self._change(
            msgspec.structs.replace(self.login, tokens=_dumped(tokens), expires_at=expires_at)
        )

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        client = self.login.client
        return OAuthClientInformationFull.model_validate(client) if client else None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._change(msgspec.structs.replace(self.login, client=_dumped(client_info)))

    def _change(self, login: Login) -> None:
        self.login = login
        self._save(login)


def _provider(url: str, store: _Store, person: Person | None) -> OAuthClientProvider:
    metadata = OAuthClientMetadata(
        client_name="MCProxy",
        redirect_uris=[AnyUrl(person.redirect if person else _NOWHERE)],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        token_endpoint_auth_method="none",  # noqa: S106  the name of a method
    )

    if person is None:
        return OAuthClientProvider(url, metadata, store)

    shown: list[str] = []

    async def show(authorization_url: str) -> None:
        shown.append(authorization_url)
        await person.show(authorization_url)

    async def answer() -> AuthorizationCodeResult:
        state = parse_qs(urlsplit(shown[-1]).query)["state"][0]
        given = await person.answer(state)
        if given.refusal:
            raise LoginFailed(given.refusal)
        return AuthorizationCodeResult(code=given.code, state=state, iss=given.iss)

    return OAuthClientProvider(url, metadata, store, show, answer)


def _dumped(model: OAuthToken | OAuthClientInformationFull | OAuthMetadata) -> JsonObject:
    dumped: dict[str, Json] = model.model_dump(mode="json", exclude_none=True)
    return dumped
