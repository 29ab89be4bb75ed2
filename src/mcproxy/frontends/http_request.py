"""One HTTP request and its answer as ASGI has them (ASGI specification, "HTTP"), on the connection
that brought it. An answer that is there as a whole is written as a whole.
"""

import asyncio
import logging
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Scope

from mcproxy.cancellation import Stoppable

if TYPE_CHECKING:
    from mcproxy.frontends.http_connection import HttpConnection

BODY_AHEAD_BYTES = 64 << 10  # of a body that nobody has asked for yet
_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}
_WITHOUT_BODY = (204, 304)  # and without a length (RFC 9110, 8.6)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = (b"connection", b"close")
_DISCONNECT: Message = {"type": "http.disconnect"}
_FAULT: Message = {
    "type": "http.response.start",
    "status": 500,
    "headers": [(b"content-length", b"0"), _CLOSE],
}

log = logging.getLogger(__name__)


class RequestHead:
    """The headers of a request by name, but for ``Content-Length``; of several of one name, the
    first one counts. Requests of one connection that send the same ones share it, so that ``read``,
    which is what somebody read out of them, goes with the connection."""

    __slots__ = ("by_name", "read", "sent", "wants_continue")

    def __init__(self, sent: list[tuple[bytes, bytes]]) -> None:
        self.sent = sent
        self.by_name = dict(reversed(sent))
        self.wants_continue = self.text(b"expect").lower() == "100-continue"
        self.read: object = None

    def find(self, name: bytes) -> str | None:
        """What one says, None where it is missing."""
        found = self.by_name.get(name)
        return None if found is None else found.decode("latin-1")

    def text(self, name: bytes) -> str:
        """What one says, "" where it is missing."""
        return self.find(name) or ""


class HttpRequest:
    """``started``: some of its answer was written; ``answered``: all of it."""

    __slots__ = (
        "_connection",
        "_gone",
        "_has_body",
        "_head",
        "_is_chunked",
        "_last",
        "_leaving",
        "_parts",
        "_scope",
        "_size",
        "_waiter",
        "_wants_continue",
        "_whole",
        "answered",
        "started",
    )

    def __init__(self, connection: "HttpConnection", scope: Scope, *, last: bool) -> None:
        self._connection, self._scope, self._last = connection, scope, last
        self._parts: list[bytes] | None = []  # None: all was received
        self._size = 0
        self._whole = self._gone = self._has_body = self._is_chunked = False
        head: RequestHead = scope["state"]["head"]
        self._wants_continue = head.wants_continue
        self._waiter: asyncio.Future[None] | None = None
        self._leaving: Stoppable | None = None
        scope["state"]["request"] = self
        self._head: Message | None = None
        self.started = self.answered = False

    async def run(self, app: ASGIApp) -> None:
        """Have it answered. What fails is logged, and the connection closed, so that an answer that
        was cut off shows."""
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:
            log.exception("a request over HTTP failed")
            if not self.started:
                self._head = None
                await self.send(_FAULT)
                await self.send({"type": "http.response.body"})
        finally:
            self.cut_off()
            del self._scope["state"]["request"]  # or both would wait for the collection of garbage

    # What came

    def receive_part(self, body: bytes) -> None:
        """A part of the body is there."""
        if self._parts is not None:
            self._parts.append(body)
            self._size += len(body)
            if self._size > BODY_AHEAD_BYTES:
                self._connection.transport.pause_reading()
            self._wake()

    def receive_end(self) -> None:
        """All of the body is there."""
        self._whole = True
        self._wake()

    def stop_when_gone(self, block: Stoppable) -> None:
        """Have this block end with ClientDisconnect when the client goes, or is gone, in place of
        any other."""
        self._leaving = block
        if self._gone:
            block.stop(ClientDisconnect())

    def cut_off(self) -> None:
        """Leave the answer as it is; where its end is missing, that shows."""
        if not self.answered:
            self._connection.transport.close()

    def disconnect(self) -> None:
        """The client is gone."""
        self._gone = True
        self._wake()
        if self._leaving:
            self._leaving.stop(ClientDisconnect())

    async def receive(self) -> Message:
        """The next part of the body; after the last one, that the request is over."""
        if self._wants_continue and not (self.started or self._gone):
            self._connection.transport.write(_CONTINUE)
        self._wants_continue = False
        while not (self._gone or self.answered):
            if self._parts is not None and (self._parts or self._whole):
                body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._parts, self._size = None if self._whole else [], 0
                return {"type": "http.request", "body": body, "more_body": not self._whole}
            self._connection.transport.resume_reading()  # also to see that the client leaves
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return _DISCONNECT

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    # What is answered

    async def send(self, message: Message) -> None:
        """Send the head, which waits for what follows it, or a part of the body."""
        if message["type"] == "http.response.start":
            self._head = message
            return
        if not self._connection.writable.is_set():
            await self._connection.writable.wait()
        if self._gone or self._connection.over:
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        head, self._head = self._head, None
        written = self._begin(head) if head else b""
        written += self._framed(body, more=more)
        self.started = True
        self._connection.transport.write(written)
        if not more:
            self.answered = True
            self._wake()
            self._connection.answered(last=self._last)

    def _begin(self, head: Message) -> bytes:
        """The head of the answer, written. Raises ValueError for a header that would end it."""
        status, headers = head["status"], head["headers"]
        self._last = self._last or self._connection.last or _CLOSE in headers
        lines = [_STATUS_LINES[status], b"date: %b\r\n" % _date(int(time.time()))]
        sized = False
        for name, value in headers:
            sized = sized or name == b"content-length"
            if name != b"connection":
                lines.append(b"%b: %b\r\n" % (name, value))
        self._has_body = self._scope["method"] != "HEAD" and status not in _WITHOUT_BODY
        self._is_chunked = self._has_body and not sized and self._scope["http_version"] != "1.0"
        if self._last:
            lines.append(b"connection: close\r\n")
        if self._is_chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        text = b"".join(lines)
        if text.count(b"\n") + text.count(b"\r") + text.count(b"\0") != 2 * len(lines):
            raise ValueError("a header of an answer has a line break")
        return text + b"\r\n"

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        if not self._has_body:
            return b""
        if not self._is_chunked:
            return body
        part = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return part if more else part + b"0\r\n\r\n"


@lru_cache(maxsize=1)
def _date(secs: int) -> bytes:
    """As RFC 9110, 6.6.1, wants it."""
    return formatdate(secs, usegmt=True).encode()
