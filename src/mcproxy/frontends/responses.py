"""HTTP responses: JSON, server-sent events, and the choice between them for the answer to one
request.

MCP, basic/transports: the server chooses per request. JSON is faster and simpler for everybody, so
the choice is put off until something must be sent: an event stream where more comes before the
reply, or where it takes long. A quiet stream carries a comment line now and then, so that proxies
and clients do not take it for dead (HTML standard, "Server-sent events", 9.2.7). What is refused
names the endpoints that there are: agents probe paths, and conclude from a bare 404 that the server
is down. Knows no MCP method.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mcproxy.call_errors import STATE_RETRY_SECS
from mcproxy.cancellation import Stoppable
from mcproxy.errors import RpcError
from mcproxy.frontends.conversation import Notices, Run
from mcproxy.frontends.stream import Event, Reader, ReaderLost, Stream
from mcproxy.types import Json
from mcproxy.wire import message as wire
from mcproxy.wire.message import Failure, RequestId, encode

if TYPE_CHECKING:
    from mcproxy.frontends.http_request import HttpRequest

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
    "GET /": "a page about it, for people",
}
TRY = (
    'curl -X POST http://HOST/message -H "Content-Type: application/json" '
    '-d \'{"jsonrpc":"2.0","id":1,"method":"tools/list"}\''
)
STORE_AWAY = "the gateway cannot reach the state that it shares with others"
CLOSE = {"Connection": "close"}
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
WRITTEN_BYTES = 64 << 10  # at a time; what has not been written can still be dropped
HEARTBEAT_SECS = 15.0  # proxies close what is silent for 30 s and more
_HEARTBEAT = b": heartbeat\n\n"

log = logging.getLogger(__name__)

Reply = wire.Response | Failure


class _Written(Response):
    """JSON that is written already; its head is written without a look at what it is."""

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.status_code, self.body, self.background = status, body, None
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
        ]
        for name, said in headers.items():
            self.raw_headers.append((name.lower().encode(), said.encode("latin-1")))


def raw(body: bytes, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> Response:
    """JSON that is written already."""
    return _Written(body, status, headers)


def json(body: Json, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> Response:
    """A JSON value."""
    return raw(msgspec.json.encode(body), status, headers)


def refusal(status: int, text: str, headers: Mapping[str, str] = NO_HEADERS) -> Response:
    """A request that HTTP refuses: why, and what there is instead."""
    return json({"error": text, "endpoints": ENDPOINTS, "try": TRY}, status, headers)


def unavailable(text: str, retry_secs: int, *, close: bool = False) -> Response:
    """A request that cannot be served now, and may be in so many seconds; ``close``: on another
    connection, as its body has not been read."""
    headers = {**retry_after(retry_secs), **(CLOSE if close else {})}
    return refusal(503, f"{text}; try again in {retry_secs} s", headers)


def store_away() -> Response:
    """The refusal of what cannot be known, or kept, without the store that gateways share."""
    return unavailable(STORE_AWAY, STATE_RETRY_SECS)


def retry_after(secs: int | None) -> Mapping[str, str]:
    """The header that says when to come again (RFC 9110, section 10.2.3); none for None."""
    return NO_HEADERS if secs is None else {"Retry-After": str(secs)}


def answered(reply: Reply) -> Response:
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
        return refusal(405, text, error.headers or NO_HEADERS)
    return refusal(status, f"there is nothing at {request.method} {path}")


def while_connected(scope: Scope) -> Stoppable:
    """A block that ends with ClientDisconnect when the client leaves; of one request, the last such
    block does."""
    block = Stoppable()
    if request := _carrier(scope):
        request.stop_when_gone(block)
    return block


def _carrier(scope: Scope) -> "HttpRequest | None":
    """The request on its connection; None within this process, where who leaves is cancelled."""
    found: HttpRequest | None = scope["state"].get("request")
    return found


_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # MCP 2026-07-28, "Receiving Messages"
}


def event(data: bytes, *, id_: str = "", name: str = "message") -> bytes:
    """Write one event; ``data`` has no line breaks."""
    number = b"id: %b\n" % id_.encode() if id_ else b""
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), number, data)


class EventStream(Response):
    """Streams what a reader reads, until the stream ends, the client leaves, or it is too slow.

    ``opening`` is written first. With ``resumable``, events carry ids: the stream's name and their
    number. ``on_close`` is called at the end, whatever ended it.
    """

    def __init__(
        self,
        reader: Reader,
        on_close: Callable[[], None],
        *,
        opening: bytes = b"",
        resumable: bool = False,
        headers: Mapping[str, str] | None = None,
        heartbeat_secs: float = HEARTBEAT_SECS,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({**_HEADERS, **(headers or {})})
        self.reader = reader
        self._on_close = on_close
        self._opening = opening
        self._resumable = resumable
        self._heartbeat_secs = heartbeat_secs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream (ASGI). A stream that is cut off is left without its end, so that it shows."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            with suppress(ClientDisconnect), while_connected(scope) as block:
                self.reader.stop_when_lost(block)
                await self._write(send)
        except ReaderLost:
            log.info("stream %r: too slow, or opened again; closed", self.reader.stream.name)
        finally:
            self.reader.close()
            self._on_close()
            if request := _carrier(scope):
                request.cut_off()

    async def _write(self, send: Send) -> None:
        await _body(send, self._opening or _HEARTBEAT)
        while not self.reader.done:
            await self._wait()
            events = self.reader.next(WRITTEN_BYTES)
            text = self._text(events) or _HEARTBEAT
            for start in range(0, len(text), WRITTEN_BYTES):
                await _body(send, text[start : start + WRITTEN_BYTES])
            self.reader.read(events)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _wait(self) -> None:
        """Return when events came, or it was quiet for the time of a heartbeat."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._heartbeat_secs):
                await self.reader.wait()

    def _text(self, events: Sequence[Event]) -> bytes:
        name = self.reader.stream.name
        return b"".join(
            event(item.message, id_=f"{name}-{item.number}" if self._resumable else "")
            for item in events
        )


async def _body(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


Work = Callable[[Notices, Stoppable], Awaitable[Reply | None]]
Streamed = Callable[[Stoppable], EventStream]


class Terms(msgspec.Struct, frozen=True):
    """How an answer may be sent: whether the client reads event streams, and wants one at once; how
    long it may be quiet before there is one; the HTTP status for JSON-RPC error codes."""

    streams: bool
    at_once: bool = False
    quiet_secs: float = HEARTBEAT_SECS
    statuses: Mapping[int, int] = msgspec.field(default_factory=dict)


class Answer(Response):
    """The answer to one request, which is worked out while it is sent, by the connection's task.

    ``work`` is given where to say what comes before the reply, and the block in which it runs; its
    reply is None where the client has withdrawn the request. ``streamed`` makes the stream, and
    ``run`` a task that writes it, once there is need of one.
    """

    def __init__(self, terms: Terms, work: Work, streamed: Streamed, run: Run) -> None:
        self.status_code, self.background = 200, None
        self.raw_headers = []  # what is added to those of either kind
        self._terms, self._work, self._streamed, self._run = terms, work, streamed, run
        self._channel: tuple[Scope, Receive, Send]
        self._block: Stoppable
        self._stream: Stream | None = None
        self._writing: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work, and answer (ASGI)."""
        self._channel = scope, receive, send
        quiet = None
        try:
            self._block = while_connected(scope)
            if self._terms.at_once:
                self._begin_stream()
            elif self._terms.streams:
                later = asyncio.get_running_loop().call_later
                quiet = later(self._terms.quiet_secs, self.notices)
            reply = await self._work(self.notices, self._block)
            if self._stream and self._writing:
                self._stream.end(encode(reply) if reply else None)
                await asyncio.wait([self._writing])
            else:
                await self._whole(reply)(scope, receive, send)
        except ClientDisconnect:
            log.debug("a client left before its answer")
        finally:
            if quiet:
                quiet.cancel()
            if self._stream:  # whoever writes it ends with it, or with the connection
                self._stream.end()

    def notices(self) -> Stream:
        """Where to say what comes before the reply. Of a request that ends it is said to nobody."""
        if self._stream is not None:
            return self._stream
        return self._begin_stream() if self._block.running else Stream()

    def _begin_stream(self) -> Stream:
        sent = self._streamed(self._block)
        sent.raw_headers.extend(self.raw_headers)
        self._writing = self._run(self._written(sent))
        self._stream = sent.reader.stream
        return self._stream

    async def _written(self, stream: EventStream) -> None:
        try:
            await stream(*self._channel)
        except Exception:
            log.exception("an event stream failed")

    def _whole(self, reply: Reply | None) -> Response:
        if reply is None:
            response = accepted()
        else:
            code = reply.error.code if isinstance(reply, Failure) else 0
            status = self._terms.statuses.get(code, 200)
            response = raw(encode(reply), status, retry_after(reply.retry_after))
        response.raw_headers.extend(self.raw_headers)
        return response
