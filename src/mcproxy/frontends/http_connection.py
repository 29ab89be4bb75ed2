"""One HTTP/1.1 connection (RFC 9112): bytes to requests, and the order in which they are answered.

``httptools`` parses. A request is begun when its head is there, since it may be refused before its
body is. How long and how much a client may keep us waiting is measured here, and judged by
``connections``. Knows no route and no message.
"""

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import httptools
from starlette.types import ASGIApp, Scope

from mcproxy.frontends.http_request import HttpRequest, RequestHead
from mcproxy.queues import site_of

if TYPE_CHECKING:
    from mcproxy.frontends.connections import Connections

_END = b"content-length: 0\r\nconnection: close\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\n" + _END
_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\n" + _END
_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _END

_NO_HEAD = RequestHead([])  # of no request


class HttpConnection(asyncio.Protocol):
    """One connection; ``idle_since``: since when it has asked for nothing, None from the end of a
    request to that of its answer; ``has_asked``: it has brought a whole request before; ``over``:
    nothing is written any more; ``writable``: the client reads what is;
    ``last``: the request that is being answered is its last one."""

    def __init__(self, connections: "Connections", app: ASGIApp) -> None:
        self._connections, self._limits, self._app = connections, connections.limits, app
        self.transport: asyncio.Transport
        self.address = ""
        self.idle_since: float | None = time.monotonic()
        self.has_asked = False
        self.over = False
        self._parser: httptools.HttpRequestParser | None = None
        self._peer: tuple[str, int] = ("", 0)
        self._reached: tuple[str, int] = ("", 0)
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head = _NO_HEAD
        self._reading: HttpRequest | None = None  # its body
        self._answering: HttpRequest | None = None
        self._next: HttpRequest | None = None
        self._serving: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._queue: deque[HttpRequest] = deque()
        self._head_since: float | None = self.idle_since
        self._body_since: float | None = None
        self._framing = 0  # bytes since the last that belonged to a body, or ended a head
        self._in_body = False
        self._put_off = False
        self.last = False
        self._closing_since: float | None = None
        self._unread_at: tuple[float, int] | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    @property
    def unread(self) -> int:
        """Bytes that were written and that the client has not read."""
        return 0 if self.over else self.transport.get_write_buffer_size()

    def waits_for_head(self, now: float) -> bool:
        """Whether a head that has begun, or the first one, is not there in time."""
        return self._head_since is not None and now - self._head_since > self._limits.head_secs

    def waits_for_body(self, now: float) -> bool:
        """Whether a body is not there in time."""
        return self._body_since is not None and now - self._body_since > self._limits.body_secs

    def reads_nothing(self, now: float) -> bool:
        """Whether the client has not read enough, for so long that it will not."""
        unread = self.unread
        if self.writable.is_set():
            self._unread_at = None
        elif self._unread_at is None or self._unread_at[1] - unread >= self._limits.read_bytes:
            self._unread_at = (now, unread)
        return self._unread_at is not None and now - self._unread_at[0] > self._limits.unread_secs

    def does_not_close(self, now: float) -> bool:
        """Whether the connection is to be closed once all is read, and that takes too long."""
        if not self.transport.is_closing():
            return False
        self._closing_since = self._closing_since or now
        return now - self._closing_since > self._limits.flush_secs

    def is_unused(self, now: float) -> bool:
        """Whether it has asked for nothing for so long that it need not be kept."""
        began = self._head_since is not None or self._in_body or self.idle_since is None
        return not began and now - (self.idle_since or now) > self._limits.keep_alive_secs

    def notice_leaving(self) -> None:
        """Read on while a request is answered, though others wait behind it: that its client leaves
        shows in no other way."""
        ahead = len(self._queue) < self._limits.pipelined
        if self._answering and self._reading is None and ahead and not self._put_off:
            self.transport.resume_reading()

    def forget_head(self, now: float) -> None:
        """Hold no token of a client that has asked for nothing for a while."""
        if self.idle_since and now - self.idle_since > self._limits.head_kept_secs:
            self._head = _NO_HEAD

    def refuse_body(self) -> None:
        """Close the connection; with an answer where none has begun (RFC 9110, section 15.5.9)."""
        if self._answering and not self._answering.started:
            self.transport.write(_TIMED_OUT)
        self._connections.end(self, "no whole request body in time")

    def close(self) -> None:
        """Close it once it has its answer."""
        self.last = True
        self._queue.clear()
        if self._answering is None or self._put_off:
            self.transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, where there is room."""
        self.transport = transport
        self._parser = httptools.HttpRequestParser(self)
        # What comes behind a request that is the last one is no reason to refuse that.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        peer, reached = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if peer is None or reached is None:  # it is gone: nobody knows any more who it was
            self.over = True
            transport.abort()
            return
        self._peer, self._reached = peer[:2], reached[:2]
        self.address = site_of(peer[0])
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over; whoever answers a request is told."""
        self.over = True
        self._connections.closed(self)
        self._parser = self._reading = None
        self._queue.clear()
        self.writable.set()
        if self._answering:
            self._answering.disconnect()
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Read on; a head, or a trailer, that does not end is refused (RFC 6585, section 5)."""
        if self._parser is None or self.over:
            return
        if self.idle_since is not None and self._head_since is None and not self._in_body:
            self._head_since = time.monotonic()
        self._framing += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # there is no other protocol here: what may follow in it is not read
        except httptools.HttpParserError:
            self._refuse(_BAD_REQUEST, "what is no HTTP")
            return
        if self._framing > self._limits.head_bytes:
            self._refuse(_HEAD_TOO_LARGE, "a request head or a trailer that does not end")

    def pause_writing(self) -> None:
        """The client does not read as fast as is written."""
        self.writable.clear()
        self._connections.waiting(self)

    def resume_writing(self) -> None:
        """The client has read what was written."""
        self.writable.set()
        self._connections.read(self)
        if self._put_off:
            self._put_off = False
            self._go_on()

    # httptools

    def on_message_begin(self) -> None:
        """A head begins."""
        self._url, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a line of a trailer."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """A request begins."""
        self._head_since = None
        self._framing, self._in_body = 0, True
        self._body_since = time.monotonic()
        if self.over or self._parser is None:
            return
        if len(self._queue) >= self._limits.pipelined:
            self._connections.end(self, "too many requests ahead of their turn")
            return
        scope = self._scope()
        # To HTTP/1.0 a connection is closed, which ends what has no length.
        kept = self._parser.should_keep_alive() and scope["http_version"] != "1.0"
        request = self._reading = HttpRequest(self, scope, last=not kept)
        self._headers = []  # of a trailer, which must not pass for headers (RFC 9110, 6.5.1)
        if self._answering is None:
            self._begin(request)
        else:
            self._queue.append(request)
            self.transport.pause_reading()

    def on_chunk_header(self) -> None:
        """More of a body; after the last of these comes the trailer."""
        self._framing = 0

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._framing = 0
        if self._reading and not self._reading.answered:
            self._reading.receive_part(body)

    def on_message_complete(self) -> None:
        """Its body is there; one that was refused before is only now out of the way."""
        self._framing, self._in_body = 0, False
        self._body_since = None
        request, self._reading = self._reading, None
        if request is None or request.answered:
            self._head_since = None
        else:
            self.idle_since, self.has_asked = None, True
            request.receive_end()

    def _scope(self) -> Scope:
        assert self._parser is not None  # noqa: S101  it calls this
        raw, query = self._url, b""
        if not raw.startswith(b"/") or b"?" in raw or b"#" in raw:
            url = httptools.parse_url(raw)
            raw, query = url.path or b"/", url.query or b""
        path = unquote_to_bytes(raw) if b"%" in raw else raw
        sent = [header for header in self._headers if header[0] != b"content-length"]
        if sent != self._head.sent or self._head is _NO_HEAD:
            self._head = RequestHead(sent)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self._parser.get_http_version(),
            "method": self._parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": path.decode("utf-8", "replace"),
            "raw_path": raw,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "client": self._peer,
            "server": self._reached,
            "state": {"head": self._head},
        }

    # The order of answers

    def answered(self, *, last: bool) -> None:
        """A request has been answered. The next one waits until the answer is read: one client
        could else have any number of answers made that it does not read."""
        self.last = self.last or last
        if not self.writable.is_set() and not self.last:
            self._put_off = True
            self.transport.pause_reading()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """It is the turn of the next request."""
        self._answering = None
        if self.last:
            self.transport.close()
        if self.transport.is_closing():
            return
        self.transport.resume_reading()
        if self._queue:
            self._begin(self._queue.popleft())
        else:
            self.idle_since = time.monotonic()
            self._head_since = self.idle_since if self._in_body else None

    def _begin(self, request: "HttpRequest") -> None:
        self._answering = self._next = request
        if self._serving is None:
            self._serving = self._connections.tasks.create_task(self._serve())
        else:
            self._wake()

    async def _serve(self) -> None:
        """Have the requests answered, one after the other, until the connection is lost. One task
        does it: one for each request would cost more than all else that is done with it here."""
        while self._next or not self.over:
            if self._next is None:
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
            else:
                request, self._next = self._next, None
                await request.run(self._app)
                del request  # it may be long until the next one

    def _wake(self) -> None:
        if self._idle and not self._idle.done():
            self._idle.set_result(None)

    def _refuse(self, answer: bytes, why: str) -> None:
        """Close the connection; with an answer where no other stands before it."""
        if self._answering is not None:
            self._connections.end(self, why)
        elif not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
