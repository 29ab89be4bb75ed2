"""How far the requests of a login reach: to public hosts, and inside this machine's network only
where the server itself is there.

Whom to ask for a login the server says, and what that server says its own: metadata could name the
metadata service of a cloud, or a router. A name is resolved once, and what is connected to is what
was judged. Through a proxy of the environment, which resolves names itself, names alone are judged.
"""

import asyncio
import socket
import urllib.request
from collections.abc import Awaitable, Callable, Sequence

import httpx2
import msgspec

from mcproxy.addresses import is_public
from mcproxy.config.hosts import is_public_host

RESOLVE_SECS = 5.0
MOST_DIALLED = 3  # addresses tried before giving up


class NotPublic(httpx2.ConnectError):
    """A request that is not sent: it would go inside for a server that is outside."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of ``host``, best first, as this machine sees them. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class AddressRules(msgspec.Struct, frozen=True):
    """What names resolve to, best first (raises OSError), and which addresses are outside."""

    resolve: Callable[[str, int], Awaitable[Sequence[str]]] = resolve
    is_public: Callable[[str], bool] = is_public


class Confined(httpx2.AsyncBaseTransport):
    """Carries the requests of logging in at the server with this URL."""

    def __init__(self, url: str, rules: AddressRules | None = None) -> None:
        self._server = httpx2.URL(url)
        self._rules = rules or AddressRules()
        self._found: dict[tuple[str, int], Sequence[str]] = {}
        # Connections are known by address, and two hosts may have one: none is used twice.
        once = httpx2.Limits(max_keepalive_connections=0)
        self._direct = httpx2.AsyncHTTPTransport(limits=once)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Raises NotPublic, and what the transports of httpx2 raise."""
        addresses = await self._judged(request.url)
        if addresses is None:
            return await self._proxied(request)
        failed: httpx2.TransportError = httpx2.ConnectError(f"{request.url.host} has no address")
        for address in addresses[:MOST_DIALLED]:
            try:
                return await self._direct.handle_async_request(_pinned(request, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failed = error
        raise failed

    async def check(self, url: str) -> None:
        """Judge a URL that is not asked here, but opened in a browser. Raises NotPublic."""
        await self._judged(httpx2.URL(url))

    async def aclose(self) -> None:
        """Close what is open."""
        await self._direct.aclose()

    async def _judged(self, url: httpx2.URL) -> Sequence[str] | None:
        """The addresses that may be connected to; None: a proxy of the environment is asked."""
        if _proxy(url):
            if not is_public_host(url.host) and not await self._server_is_inside():
                raise _not_public(url)
            return None
        found = await self._addresses(url)
        if await self._server_is_inside():
            return found
        public = [address for address in found if self._rules.is_public(address)]
        if not public:
            raise _not_public(url)
        return public

    async def _server_is_inside(self) -> bool:
        if _proxy(self._server):
            return not is_public_host(self._server.host)
        return not any(map(self._rules.is_public, await self._addresses(self._server)))

    async def _addresses(self, url: httpx2.URL) -> Sequence[str]:
        key = (url.host, url.port or (443 if url.scheme == "https" else 80))
        if key not in self._found:
            try:
                async with asyncio.timeout(RESOLVE_SECS):
                    self._found[key] = await self._rules.resolve(*key)
            except (OSError, UnicodeError) as error:
                raise httpx2.ConnectError(f"cannot resolve {url.host}: {error}") from error
        return self._found[key]

    async def _proxied(self, request: httpx2.Request) -> httpx2.Response:
        # Closed when its one connection is: nothing is kept that could be used again.
        once = httpx2.Limits(max_keepalive_connections=0)
        transport = httpx2.AsyncHTTPTransport(proxy=_proxy(request.url), limits=once)
        return await transport.handle_async_request(request)


def _proxy(url: httpx2.URL) -> str | None:
    """The proxy that the environment has for a URL, found as ``httpx`` finds it."""
    if urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _pinned(request: httpx2.Request, address: str) -> httpx2.Request:
    """The same request to one address; certificates are still those of the host."""
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,  # its Host among them
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.raw_host.decode("ascii")},
    )


def _not_public(url: httpx2.URL) -> NotPublic:
    return NotPublic(
        f"{url.host} is inside this machine's network, and the server, which is not, sends the "
        "login there"
    )
