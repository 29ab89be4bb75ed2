"""One remote server as somewhere to send HTTP requests: its URL, its headers, its redirects.

Owns the HTTP client. The configured headers go to the configured host and nowhere else: a redirect
is followed within its origin only. Knows no JSON-RPC and no session.
"""

import os
import ssl
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import httpx
import msgspec

from mcproxy.cancellation import finish
from mcproxy.config.hosts import is_public_host
from mcproxy.errors import PeerClosed, RpcError
from mcproxy.upstream.remote.refusal import Gone, fault, refusal, retry_secs, web_page
from mcproxy.wire.message import MAX_LINE_BYTES

CONNECT_SECS = 4.0  # less than `server/discover` is waited for: a dead address is told as such
WRITE_SECS = 30.0  # for one chunk of a request to be taken
IDLE_SECS = 4.0  # common servers close an idle connection after 5; a race would lose a call
CLOSE_SECS = 2.0  # for what is left of a response to be let go
MAX_REDIRECTS = 3
MAX_REFUSAL_BYTES = 64 << 10

_KEEPS_METHOD = (307, 308)


@dataclass(frozen=True, slots=True)
class RemoteTarget:
    """Where a remote server is; ``headers`` are secrets. ``auth`` may sign each request."""

    name: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: httpx.Auth | None = None


class ErrorResponse(msgspec.Struct, frozen=True):
    """A response that is none of success; ``retry_after`` in seconds, where the server says."""

    status: int
    body: bytes
    retry_after: float | None = None


class Endpoint:
    """A remote server, see ``opened``."""

    def __init__(self, client: httpx.AsyncClient, target: RemoteTarget) -> None:
        self._client = client
        self._url = httpx.URL(target.url)
        self._target = target

    @property
    def origin(self) -> str:
        """Scheme, host and port: what may be shown of the URL."""
        return _origin(self._url)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
        *,
        quiet_secs: float | None = None,
        url: httpx.URL | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Send a request, give the response before its body was read.

        ``quiet_secs`` bounds the wait for each piece of the answer; None leaves that to the caller.
        ``url`` is one from ``inside``, where it is not the server's own.
        Raises Gone where the request cannot have reached the server, PeerClosed where the
        connection breaks, also while the block reads the body.
        """
        coded = [(name.encode(), value.encode()) for name, value in headers.items()]
        timeout = httpx.Timeout(CONNECT_SECS, read=quiet_secs, write=WRITE_SECS)
        try:
            for _ in range(MAX_REDIRECTS):
                request = self._client.build_request(
                    method, url or self._url, headers=coded, content=content, timeout=timeout
                )
                response = await self._client.send(request, stream=True)
                try:
                    if not response.has_redirect_location:
                        yield response
                        return
                    location = self._redirected(response)
                    if url is None:
                        self._url = location
                    else:
                        url = location
                finally:
                    await finish(response.aclose(), CLOSE_SECS)
        except (httpx.HTTPError, OSError) as error:
            raise fault(error, self.origin) from error
        raise Gone(f"{self.origin} redirects in a circle")

    async def refusal(self, response: httpx.Response) -> PeerClosed | RpcError:
        """The fault for a response that is none of success."""
        return self.refused(await read_refused(response))

    def refused(self, refused: ErrorResponse) -> PeerClosed | RpcError:
        """The fault for a status that is none of success; secrets are kept out of it."""
        return refusal(
            refused.status, refused.body, self._secrets, self._target.name, refused.retry_after
        )

    async def page(self, response: httpx.Response) -> PeerClosed:
        """The fault for an answer in HTML."""
        return web_page(response.status_code, await read_refusal(response), self._secrets)

    @property
    def _secrets(self) -> Collection[str]:
        return tuple(self._target.headers.values())

    def inside(self, location: str) -> httpx.URL:
        """A URL that the server named, relative to its own. Raises Gone for one elsewhere."""
        try:
            url = self._url.join(location)
        except httpx.InvalidURL as error:
            raise Gone(f"{self.origin} points to what is no URL: {error}") from error
        upgraded = (
            self._url.host == url.host
            and (self._url.scheme, self._url.port) == ("http", None)
            and (url.scheme, url.port) == ("https", None)
        )
        if _origin(url) != self.origin and not upgraded:
            raise Gone(
                f"{self.origin} points to {_origin(url)}, where the configured headers are not "
                "sent; set `url` to that server if you trust it"
            )
        return url

    def _redirected(self, response: httpx.Response) -> httpx.URL:
        url = self.inside(response.headers["location"])
        if response.status_code not in _KEEPS_METHOD and response.request.method != "GET":
            raise Gone(
                f"{self.origin} answers {response.status_code}, a redirect that turns requests "
                "into page loads; is the path of its `url` right?"
            )
        return url


@asynccontextmanager
async def opened(target: RemoteTarget) -> AsyncIterator[Endpoint]:
    """An endpoint for as long as the block lasts. Raises PeerClosed where the URL is none."""
    try:
        host = httpx.URL(target.url).host
    except httpx.InvalidURL as error:
        raise PeerClosed(f"its `url` cannot be used: {error}") from error
    # Proxies of the environment lead out to the internet; what is nearer they may not reach.
    near = f"[{host}]" if ":" in host else host
    direct = {} if is_public_host(host) else {f"all://{near}": None}
    limits = httpx.Limits(max_connections=None, keepalive_expiry=IDLE_SECS)
    async with httpx.AsyncClient(
        headers=[(name.encode(), text.strip().encode()) for name, text in target.headers.items()],
        auth=target.auth,
        mounts=direct,
        limits=limits,
        follow_redirects=False,
        verify=_certificates(),
    ) as client:
        yield Endpoint(client, target)


def _certificates() -> ssl.SSLContext:
    """Whom the machine trusts, as httpx finds it. Raises PeerClosed where that cannot be read."""
    place = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
    try:
        return _certificates_at(place, Path(place).stat().st_mtime if place else 0.0)
    except OSError as error:
        raise PeerClosed(f"the certificates of this machine cannot be read: {error}") from error


@lru_cache(maxsize=1)
def _certificates_at(place: str | None, changed: float) -> ssl.SSLContext:
    """Read once for all servers and all their starts: it takes 30 ms of the event loop."""
    return httpx.create_ssl_context()


async def read_body(response: httpx.Response, limit: int = MAX_LINE_BYTES) -> bytes | None:
    """The body of a response; None where it is longer than the limit, in bytes."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


async def read_refused(response: httpx.Response) -> ErrorResponse:
    """What a response of no success says."""
    after = retry_secs(response.headers.get("retry-after"), time.time())
    return ErrorResponse(response.status_code, await read_refusal(response), after)


async def read_refusal(response: httpx.Response) -> bytes:
    """The body of a response that is no reply; nothing of one that is far too long."""
    return await read_body(response, MAX_REFUSAL_BYTES) or b""


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"
