"""The connections of HTTP clients, and the bounds that no request has begun to know: how many there
are, how long one may say nothing or read nothing, how large a head may be, what waits to be read.

uvicorn bounds none of these by itself. Where there are too many, the connection goes that is least
likely to be missed: the one that has asked for nothing for the longest time, of whoever has most.
Knows no route and no message.
"""

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from mcproxy.frontends.capacity import site_of

KEEP_ALIVE_SECS = 75  # longer than most clients and proxies, so that they close first
SWEEP_SECS = 1.0  # how often is looked for connections that have been silent for too long
LOG_SECS = 10.0  # what is closed is told at most so often, with the number of times

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Of all connections, and of each."""

    in_all: int = 4096
    of_one_address: int = 2048
    head_secs: float = 10.0  # from its first byte, or from the connection's start; curl needs ms
    body_secs: float = 30.0  # from its head on: 140 KB a second for the largest
    flush_secs: float = 5.0  # to read the end of the last reply, before the connection is closed
    pipelined: int = 16  # requests sent ahead of their turn; hardly any client sends one
    head_bytes: int = 64 << 10  # of a request line with its headers; browsers send 8 KiB at most
    unread_secs: float = 30.0  # in which a client reads at least ``read_bytes`` of what waits
    read_bytes: int = 64 << 10  # 2 KB a second: slower is no network, it is a client that is gone
    unread_bytes: int = 96 << 20  # written for all clients and not read: twenty large replies


class Connections:
    """All open connections. ``run`` closes those that keep us waiting."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: dict[HttpConnection, None] = {}
        self._unread: set[HttpConnection] = set()
        self._by_address: Counter[str] = Counter()
        self._closed: Counter[str] = Counter()
        self._told_at = float("-inf")
        self._drained = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    async def run(self) -> None:
        """Look after the connections until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECS)
            self.sweep(time.monotonic())

    def sweep(self, now: float) -> None:
        """Close the connections that keep us waiting for a head, or for a reader."""
        for connection in list(self._open):
            if connection.waits_for_head(now):
                self.end(connection, "no whole request head in time")
            elif connection.waits_for_body(now):
                connection.refuse_body()
            elif connection.reads_nothing(now) or connection.does_not_close(now):
                self.end(connection, "nothing of a reply read in time")
        self._tell(now)

    def opened(self, connection: "HttpConnection") -> None:
        """Count a connection; where there are too many, one is closed for it, or it itself is."""
        address = connection.address
        if self._by_address[address] >= self.limits.of_one_address:
            self._make_room(connection, [one for one in self._open if one.address == address])
        elif len(self._open) >= self.limits.in_all:
            most = self._by_address.most_common(1)[0][0]
            self._make_room(connection, [one for one in self._open if one.address == most])
        if not connection.transport.is_closing():
            self._open[connection] = None
            self._by_address[address] += 1

    def closed(self, connection: "HttpConnection") -> None:
        """A connection is over."""
        self.read(connection)
        if connection in self._open:
            del self._open[connection]
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def waiting(self, connection: "HttpConnection") -> None:
        """A client does not read as fast as is written; where all together leave too much unread,
        the one that leaves most is let go."""
        self._unread.add(connection)
        unread = {one: one.unread for one in self._unread}
        while sum(unread.values()) > self.limits.unread_bytes:
            most = max(unread, key=lambda one: unread[one])
            del unread[most]
            self.end(most, "too much of its replies unread")

    def end(self, connection: "HttpConnection", why: str) -> None:
        """Close a connection at once; what was written and not read is lost."""
        if connection.over:
            return
        connection.over = True
        self._closed[why] += 1
        self.closed(connection)
        connection.transport.abort()
        self._tell(time.monotonic())

    def read(self, connection: "HttpConnection") -> None:
        """A client has read what was written, or is gone."""
        self._unread.discard(connection)
        self._drained.set()

    async def flushed(self, secs: float) -> None:
        """Give clients so many seconds to read what was written, then end those that have not."""
        self._drained.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(secs):
                while any(one.unread for one in self._open):
                    await self._drained.wait()
                    self._drained.clear()
        for connection in [one for one in self._open if one.unread]:
            self.end(connection, "its replies unread at the end")

    def _make_room(self, new: "HttpConnection", candidates: Iterable["HttpConnection"]) -> None:
        idle = [one for one in candidates if one.idle_since is not None]
        victim = min(idle, key=lambda one: (one.has_asked, one.idle_since), default=new)
        self.end(victim, "too many connections")

    def _tell(self, now: float) -> None:
        if self._closed and now - self._told_at >= LOG_SECS:
            told = ", ".join(f"{why} ({times})" for why, times in self._closed.items())
            log.warning("connections of clients closed: %s; %d are open", told, len(self._open))
            self._closed.clear()
            self._told_at = now


def server_on(app: ASGIApp, connections: Connections) -> uvicorn.Server:
    """What serves ``app`` on such connections. When to stop is decided elsewhere: it installs no
    signal handlers."""
    return _Server(
        uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", partial(HttpConnection, connections)),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # which of them counts is for policy.origins
            timeout_keep_alive=KEEP_ALIVE_SECS,
            timeout_graceful_shutdown=1,
        )
    )


class _Server(uvicorn.Server):
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().serve(sockets)
        finally:  # uvicorn closes nothing when it is cancelled
            for listening in [*getattr(self, "servers", ()), *(sockets or ())]:
                listening.close()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpConnection(HttpToolsProtocol):
    """One connection; ``idle_since``: since when it has asked for nothing, None from the end of a
    request to that of its answer; ``has_asked``: it has brought a whole request before."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._connections = connections
        self.address = ""
        self.idle_since: float | None = time.monotonic()
        self._head_since: float | None = self.idle_since
        self.has_asked = False
        self.over = False
        self._framing = 0  # bytes since the last that belonged to a body, or ended a head
        self._in_body = False
        self._body_since: float | None = None
        self._answering: RequestResponseCycle | None = None
        self._put_off = False
        self._closing_since: float | None = None
        self._unread_at: tuple[float, int] | None = None

    @property
    def unread(self) -> int:
        """Bytes that were written and that the client has not read."""
        return 0 if self.over else self.transport.get_write_buffer_size()

    def waits_for_head(self, now: float) -> bool:
        """Whether a head that has begun, or the first one, is not there in time."""
        return self._head_since is not None and (
            now - self._head_since > self._connections.limits.head_secs
        )

    def waits_for_body(self, now: float) -> bool:
        """Whether a body is not there in time."""
        return self._body_since is not None and (
            now - self._body_since > self._connections.limits.body_secs
        )

    def reads_nothing(self, now: float) -> bool:
        """Whether the client has not read enough, for so long that it will not."""
        unread, limits = self.unread, self._connections.limits
        if not self.flow.write_paused:
            self._unread_at = None
        elif self._unread_at is None or self._unread_at[1] - unread >= limits.read_bytes:
            self._unread_at = (now, unread)
        return self._unread_at is not None and now - self._unread_at[0] > limits.unread_secs

    def does_not_close(self, now: float) -> bool:
        """Whether the connection is to be closed once all is read, and that takes too long."""
        if not self.transport.is_closing():
            return False
        self._closing_since = self._closing_since or now
        return now - self._closing_since > self._connections.limits.flush_secs

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, where there is room."""
        super().connection_made(transport)
        self.address = site_of(self.client[0]) if self.client else ""
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over. uvicorn tells the request that came last; the one that is being answered may
        be another."""
        self.over = True
        self._connections.closed(self)
        if self._answering and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head, or a trailer, that does not end is refused (RFC 6585, section 5)."""
        if self.idle_since is not None and self._head_since is None and not self._in_body:
            self._head_since = time.monotonic()
        self._framing += len(data)
        super().data_received(data)
        if self._framing > self._connections.limits.head_bytes:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """A request begins."""
        self._head_since = None
        self._framing, self._in_body = 0, True
        self._body_since = time.monotonic()
        if len(self.pipeline) >= self._connections.limits.pipelined:
            self._connections.end(self, "too many requests ahead of their turn")
        else:
            super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_chunk_header(self) -> None:
        """More of a body; after the last of these comes the trailer."""
        self._framing = 0

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._framing = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Its body is there; one that was refused before is only now out of the way."""
        self._framing, self._in_body = 0, False
        self._body_since = None
        if self.cycle.response_complete:
            self._head_since = None
        else:
            self.idle_since, self.has_asked = None, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request has been answered. The next one waits until the answer is read: one client
        could else have any number of answers made that it does not read."""
        if self.flow.write_paused and not self.transport.is_closing():
            self._put_off = True
            self.flow.pause_reading()
            return
        super().on_response_complete()
        if self.cycle.response_complete:
            self.idle_since = time.monotonic()
            self._head_since = self.idle_since if self._in_body else None

    def pause_writing(self) -> None:
        """The client does not read as fast as is written."""
        super().pause_writing()
        self._connections.waiting(self)

    def resume_writing(self) -> None:
        """The client has read what was written."""
        super().resume_writing()
        self._connections.read(self)
        if self._put_off:
            self._put_off = False
            self.on_response_complete()

    def refuse_body(self) -> None:
        """Close the connection; with an answer where none has begun (RFC 9110, section 15.5.9)."""
        if self._answering and not self._answering.response_started:
            self.transport.write(
                b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
        self._connections.end(self, "no whole request body in time")

    def _refuse_head(self) -> None:
        if self.idle_since is None:  # another request is being answered, which stands before it
            self._connections.end(self, "a request head or a trailer that does not end")
        elif not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
                b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()
