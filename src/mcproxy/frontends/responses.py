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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mcproxy.call_errors import STATE_RETRY_SECS
from mcproxy.cancellation import Stoppable
from mcproxy.errors import RpcError
from mcproxy.frontends.conversation import RETRY_SECS
from mcproxy.frontends.stream import Event, Reader, Stream
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
        return refusal(405, text, error.headers or NO_HEADERS)
    return refusal(status, f"there is nothing at {request.method} {path}")


async def disconnected(receive: Receive) -> None:
    """Return when the client has closed the connection; the body has been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


def while_connected(request: Request) -> Stoppable:
    """A block that ends with ClientDisconnect when the client leaves."""
    block = Stoppable()
    if tell := request.scope["state"].get("leaving"):  # who asks within this process is cancelled
        tell(block)
    return block


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
        self._reader = reader
        self._on_close = on_close
        self._opening = opening
        self._resumable = resumable
        self._heartbeat_secs = heartbeat_secs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream (ASGI). A stream that is cut off is left without its end, so that it shows."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with asyncio.TaskGroup() as tasks:
                watched = [
                    tasks.create_task(self._write(send)),
                    tasks.create_task(disconnected(receive)),
                    tasks.create_task(self._reader.lost.wait()),
                ]
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for task in watched:
                    task.cancel()
        finally:
            if self._reader.lost.is_set():
                log.info("stream %r: too slow, or opened again; closed", self._reader.stream.name)
            self._reader.close()
            self._on_close()

    async def _write(self, send: Send) -> None:
        await _body(send, self._opening or _HEARTBEAT)
        while not self._reader.done:
            await self._wait()
            events = self._reader.next(WRITTEN_BYTES)
            text = self._text(events) or _HEARTBEAT
            for start in range(0, len(text), WRITTEN_BYTES):
                await _body(send, text[start : start + WRITTEN_BYTES])
            self._reader.read(events)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _wait(self) -> None:
        """Return when events came, or it was quiet for the time of a heartbeat."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._heartbeat_secs):
                await self._reader.wait()

    def _text(self, events: Sequence[Event]) -> bytes:
        name = self._reader.stream.name
        return b"".join(
            event(item.message, id_=f"{name}-{item.number}" if self._resumable else "")
            for item in events
        )


async def _body(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


class Answer:
    """One request's reply, and what is said before it; the first reader is there from the start."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.reader = stream.attach()
        self.error_code: int | None = None
        self.retry_after: int | None = None

    def reply(self, reply: Reply | Failure | None) -> None:
        """Say the last word; None where the client has cancelled the request."""
        if isinstance(reply, Failure):
            self.error_code = reply.error.code
        self.retry_after = reply.retry_after if reply else None
        self.stream.end(encode(reply) if reply else None)


class ResponseOptions(msgspec.Struct, frozen=True):
    """How an answer may be sent: whether the client reads event streams, and wants one at once;
    the HTTP status for JSON-RPC error codes; ``opening`` and ``resumable`` as in ``EventStream``.
    """

    streams: bool
    at_once: bool = False
    statuses: Mapping[int, int] = msgspec.field(default_factory=dict)
    opening: bytes = b""
    resumable: bool = False
    quiet_secs: float = HEARTBEAT_SECS


async def deliver(
    answer: Answer, terms: ResponseOptions, request: Request, on_close: Callable[[], None]
) -> Response:
    """The HTTP response that brings the answer.

    ``on_close`` is called when an event stream was closed, whether or not all was read. Raises
    ClientDisconnect where the client left before anything was sent.
    """
    if not terms.at_once:
        await _first_word(answer.reader, request, terms.quiet_secs if terms.streams else None)
        if answer.reader.lost.is_set():
            return unavailable("too much waits for clients that read slowly", RETRY_SECS)
        said = answer.stream.after(0)
        if answer.stream.ended and (len(said) <= 1 or not terms.streams):
            answer.reader.close()
            status = terms.statuses.get(answer.error_code or 0, 200)
            headers = retry_after(answer.retry_after)
            return raw(said[-1].message, status, headers) if said else accepted()
    return EventStream(
        answer.reader,
        on_close,
        opening=terms.opening,
        resumable=terms.resumable,
        heartbeat_secs=terms.quiet_secs,
    )


async def _first_word(reader: Reader, request: Request, secs: float | None) -> None:
    """Wait until there is something to send, or it was quiet for so many seconds. Raises
    ClientDisconnect."""
    with suppress(TimeoutError), while_connected(request) as block:
        later = asyncio.get_running_loop().call_later
        quiet = later(secs, lambda: block.stop(TimeoutError())) if secs else None
        try:
            await reader.wait()
        finally:
            if quiet:
                quiet.cancel()
