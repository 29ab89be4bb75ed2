"""Reading Server-Sent Events (HTML Living Standard, 9.2 "Server-sent events"). Pure.

Chunks in, events out, within a limit: an event that is too long is not kept, but told of, so that
the call it answers can fail by name. Knows neither HTTP nor JSON.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mcproxy.wire.lines import EDGE_BYTES, MAX_LINE_BYTES, LineSplitter, Overlong

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
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
