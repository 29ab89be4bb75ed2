"""The messages in an HTTP response, be it a JSON body or an event stream.

Reads; does not send and does not decide. Keeps the place in a stream, so that whoever asked can
resume it (MCP 2025-11-25, Transports, "Resumability and Redelivery"). Server-Sent Events (HTML
Living Standard, 9.2) are read within a limit: one that is too long is not kept, but reported, so
that the call it answers can fail by name.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import msgspec

from mcproxy.errors import RpcError
from mcproxy.upstream.remote.endpoint import read_body
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.wire.message import (
    EDGE_BYTES,
    MAX_LINE_BYTES,
    LineSplitter,
    Message,
    Overlong,
    decode,
    decode_body,
    head,
    stand_in,
)
from mcproxy.wire.peer import Pace

_BOM = b"\xef\xbb\xbf"


class ServerSentEvent(msgspec.Struct, frozen=True):
    """One event. ``data`` is empty where the server only gave an ``id`` or a ``retry_ms``.

    ``id`` and ``retry_ms`` are None where the event does not change them.
    """

    type: str
    data: bytes
    id: str | None = None
    retry_ms: int | None = None


class EventParser:
    """Feed it chunks of any size; it gives back whole events. Comments are passed over."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._lines = LineSplitter(limit, blanks=True)
        self._after_return = False
        self._begin()

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent | Overlong]:
        """Take one chunk; yield the events that it completes."""
        for line in self._lines.feed(self._with_newlines(chunk)):
            if isinstance(line, Overlong):
                self._add(line.edges, line.size)
            elif line:
                self._take(line.removeprefix(_BOM))
            else:
                yield from self._end()

    def _with_newlines(self, chunk: bytes) -> bytes:
        """A line may end in CR, LF or both, and a chunk between the two."""
        if not chunk:
            return chunk
        if self._after_return:
            chunk = chunk.removeprefix(b"\n")
        self._after_return = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _begin(self) -> None:
        self._type = ""
        self._data: list[bytes] = []
        self._size = 0
        self._id: str | None = None
        self._retry_ms: int | None = None

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._add(value, len(value))
            case b"event":
                self._type = value.decode("utf-8", "replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit():
                self._retry_ms = int(value)

    def _add(self, value: bytes, size: int) -> None:
        self._data.append(value)
        self._size += size
        if self._size > self._limit:
            whole = b"\n".join(self._data)
            self._data = [whole[:EDGE_BYTES], whole[-EDGE_BYTES:]]

    def _end(self) -> Iterator[ServerSentEvent | Overlong]:
        data = b"\n".join(self._data)
        if self._size > self._limit:
            yield Overlong(self._size, data)
        elif data or self._id is not None or self._retry_ms is not None:
            yield ServerSentEvent(self._type or "message", data, self._id, self._retry_ms)
        self._begin()


RETRY_SECS = 1.0  # before a broken stream is opened again, where the server names no time
MAX_RETRY_SECS = 60.0
_SHOWN_BYTES = 200

log = logging.getLogger(__name__)


class Replies:
    """The messages of one stream, over as many responses as it takes.

    ``on_endpoint`` is given the data of ``endpoint`` events, which HTTP+SSE begins with.
    """

    def __init__(self, name: str, on_endpoint: Callable[[str], None] | None = None) -> None:
        self.last_id = ""
        self.retry_secs = RETRY_SECS
        self._name = name
        self._on_endpoint = on_endpoint

    async def read(self, response: httpx.Response) -> AsyncIterator[Message | Overlong]:
        """The messages of a successful response. What is no message is noted and passed over."""
        if not is_stream(response):
            for message in await self._in_body(response):
                yield message
            return
        parser, pace = EventParser(), Pace()
        async for chunk in response.aiter_bytes():
            for event in parser.feed(chunk):
                found = event if isinstance(event, Overlong) else self._in_event(event)
                if found is not None:
                    yield found
                await pace.keep(0)
            await pace.keep(len(chunk))

    async def _in_body(self, response: httpx.Response) -> list[Message | Overlong]:
        body = await read_body(response)
        if body is None:
            return [Overlong(MAX_LINE_BYTES + 1, b"")]
        if not body.strip():
            return []
        try:
            messages = decode_body(body)
        except RpcError as error:
            ServerLog(log, self._name).warning(
                "no message in the body: %r", head(body, _SHOWN_BYTES)
            )
            failure = stand_in(body, error)
            return [failure] if failure else []
        batch = messages if isinstance(messages, list) else [messages]
        return [message for message in batch if not isinstance(message, RpcError)]

    def _in_event(self, event: ServerSentEvent) -> Message | None:
        if event.id is not None:
            self.last_id = event.id
        if event.retry_ms is not None:
            self.retry_secs = min(event.retry_ms / 1000, MAX_RETRY_SECS)
        if event.type == "endpoint" and self._on_endpoint:
            self._on_endpoint(event.data.decode("utf-8", "replace"))
        if not event.data or event.type != "message":
            return None
        try:
            return decode(event.data)
        except RpcError as error:
            ServerLog(log, self._name).warning(
                "no message in an event: %r", head(event.data, _SHOWN_BYTES)
            )
            return stand_in(event.data, error)


def is_stream(response: httpx.Response) -> bool:
    """Whether the response is an event stream."""
    return _media_type(response) == "text/event-stream"


def is_page(response: httpx.Response) -> bool:
    """Whether the response is a page for people."""
    return _media_type(response) in ("text/html", "application/xhtml+xml")


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
