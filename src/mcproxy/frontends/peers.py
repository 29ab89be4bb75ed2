"""The way from one gateway to another, for a request that came to the one and belongs to the other.

A request is carried as it is, over HTTP, and judged there as any other is: its token, its origin
and its namespace. What the header of the hop proves (HMAC by the secret that the gateways share) is
only that a gateway carried it: so it is carried no further, and its sender counts as the one that
the first gateway saw. Which gateway a request belongs to is told by ``shared_sessions``.
"""

import hmac
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mcproxy.errors import McproxyError, RpcError
from mcproxy.frontends.responses import event, while_connected
from mcproxy.wire.message import Failure, RequestId, encode

HOP = "mcproxy-hop"
GONE = "mcproxy-not-here"  # in an answer: what the request is about is not at this gateway
CONNECT_SECS = 1.0  # a gateway in the same network answers in milliseconds
_FRESH_SECS = 60.0  # how old a proof may be; clocks differ by seconds
_IDLE_CONNECTIONS = 32
_STORE_PORT = 6379
# A machine that is gone says nothing; its connections end within 5 + 2 * 5 s.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
)
# RFC 9110, 7.6.1; and what the gateway that the client asked says by itself.
_OF_A_CONNECTION = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
    | {b"proxy-connection", b"content-length", HOP.encode(), b"accept-encoding"}
)
_SAID_HERE = _OF_A_CONNECTION - {b"content-length"} | {b"vary", b"date", b"server"}


class PeerGone(McproxyError):
    """The gateway is not there, or has not what the request is about; nothing was done."""


class PeerLost(McproxyError):
    """The gateway ended under the request: whether it was done is not known."""


@dataclass(frozen=True, slots=True)
class OtherGateway:
    """A gateway: its id, new with each start, and the URL at which others reach it."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class Carried:
    """What is proved of a request that another gateway has carried here: its sender, and whether it
    came from the machine of that gateway."""

    sender: str
    local: bool


class Peers:
    """Carries requests to other gateways, and tells those that others carried. ``secret`` gives
    what all of them know. Usable while ``running``."""

    def __init__(self, me: OtherGateway, secret: Callable[[], bytes]) -> None:
        self.me = me
        self._secret = secret

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the connections to the others."""
        plain = httpx.AsyncHTTPTransport(
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # never used, and costs nothing
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=_IDLE_CONNECTIONS),
            socket_options=_KEEPALIVE,
        )
        times = httpx.Timeout(None, connect=CONNECT_SECS)
        async with httpx.AsyncClient(
            timeout=times, trust_env=False, mounts={"http://": plain}
        ) as self._client:
            yield

    def carried(self, request: Request) -> Carried | None:
        """What is proved of a request; None where no gateway has carried it here."""
        state = request.scope["state"]
        if "carried" not in state:
            state["carried"] = self._proved(request)
        found: Carried | None = state["carried"]
        return found

    async def carry(
        self, to: OtherGateway, request: Request, body: bytes, seen: Carried, id_: RequestId | None
    ) -> Response:
        """What the other gateway answers; ``id_`` is that of the client's request, if it is one.
        Raises PeerGone, PeerLost, ClientDisconnect."""

        async def work() -> httpx.Response | McproxyError:
            try:
                return await self._client.send(self._request(to, request, body, seen), stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as fault:
                return PeerGone(str(fault))
            except httpx.HTTPError as fault:
                return PeerLost(str(fault))

        with while_connected(request.scope):
            answer = await work()
        if isinstance(answer, McproxyError):
            raise answer
        if GONE in answer.headers:
            await answer.aclose()
            raise PeerGone(answer.headers[GONE])
        return _Relayed(answer, id_)

    def _request(
        self, to: OtherGateway, request: Request, body: bytes, seen: Carried
    ) -> httpx.Request:
        target = _target(request.scope)
        headers = [
            (name, value)
            for name, value in request.scope["headers"]
            if name not in _OF_A_CONNECTION
        ]
        said = f"{to.id} {time.time():.0f} {int(seen.local)} {seen.sender}"
        headers += [
            (b"via", b"1.1 mcproxy"),
            (HOP.encode(), f"{said} {self._proof(request.method, target, said)}".encode()),
        ]
        return self._client.build_request(
            request.method, to.url + target, headers=headers, content=body
        )

    def _proved(self, request: Request) -> Carried | None:
        said, _, proof = request.headers.get(HOP, "").rpartition(" ")
        expected = self._proof(request.method, _target(request.scope), said)
        if not said or not hmac.compare_digest(expected.encode(), proof.encode()):
            return None
        to, at, local, sender = said.split(" ", 3)
        if abs(time.time() - float(at)) > _FRESH_SECS:
            return None
        request.scope["state"]["carried_to"] = to
        return Carried(sender, local == "1")

    def meant(self, request: Request) -> bool:
        """Whether a request that was carried here was meant for this gateway, and no earlier one
        at the same address."""
        return bool(request.scope["state"].get("carried_to") == self.me.id)

    def _proof(self, method: str, target: str, said: str) -> str:
        text = "\n".join(("hop", method, target, said))
        return hmac.digest(self._secret(), text.encode("utf-8", "replace"), "sha256").hex()


def reached_at(listener: socket.socket, store: str) -> str:
    """The URL of what listens: at its own address or, where that is every one, at the one by which
    this machine reaches the store."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        known = urlsplit(store)
        host = _own_address(known.hostname or "127.0.0.1", known.port or _STORE_PORT)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _own_address(host: str, port: int) -> str:
    family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(place)  # nothing is sent
        return str(probe.getsockname()[0])


def not_here() -> Response:
    """The answer to a gateway that carried a request here in vain."""
    return Response(status_code=421, headers={GONE: "1"})  # RFC 9110, 15.5.20


def lost(id_: RequestId | None) -> Failure:
    """The reply to a request whose gateway has ended under it."""
    text = (
        "the gateway that answered this request has ended before there was an answer; whether "
        "servers did it is not known. Find out, or send it again where it may be done twice"
    )
    return Failure(id_, RpcError(RpcError.INTERNAL_ERROR, text, retry_after=0))


def _target(scope: Scope) -> str:
    path: str = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
    query: str = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


class _Relayed(Response):
    """The answer of another gateway, as it comes. Where that one ends under it, the request on an
    event stream gets a reply that says so; all else is left without its end, so that it shows."""

    def __init__(self, answer: httpx.Response, id_: RequestId | None) -> None:
        self.status_code = answer.status_code
        self.background = None
        self._answer, self._id = answer, id_
        self.raw_headers = [
            (name.lower(), value)
            for name, value in answer.headers.raw
            if name.lower() not in _SAID_HERE and not name.lower().startswith(b"access-control-")
        ]
        self._events = answer.headers.get("content-type", "").startswith("text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay (ASGI)."""
        start = {"type": "http.response.start", "status": self.status_code}
        try:
            await send({**start, "headers": self.raw_headers})
            with suppress(ClientDisconnect), while_connected(scope):
                await self._write(send)
        finally:
            await self._answer.aclose()

    async def _write(self, send: Send) -> None:
        try:
            async for chunk in self._answer.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except httpx.HTTPError:
            if not self._events or self._id is None:
                return
            last = event(encode(lost(self._id)))
            await send({"type": "http.response.body", "body": last, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
