"""The connections of HTTP clients, and the bounds that no request has begun to know: how many there
are, how long one may say nothing or read nothing, how large a head may be, what waits to be read.

Where there are too many, the connection goes that is least likely to be missed: the one that has
asked for nothing for the longest time, of whoever has most. Knows no route and no message; how one
connection speaks HTTP is ``http_connection``'s.
"""

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

import msgspec
from starlette.types import ASGIApp

from mcproxy.frontends.http_connection import HttpConnection

LISTEN_BACKLOG = 2048  # connections that the kernel keeps until they are accepted
LOOK_SECS = 0.02  # at connections that have just come, whose request does so at once
SWEEP_SECS = 1.0  # how often is looked for connections that have been silent for too long
LOG_SECS = 10.0  # what is closed is told at most so often, with the number of times

log = logging.getLogger(__name__)


class ConnectionLimits(msgspec.Struct, frozen=True):
    """Of all connections, and of each."""

    in_all: int = 4096
    of_one_address: int = 2048
    keep_alive_secs: float = 75.0  # between requests: most clients and proxies close before
    head_kept_secs: float = 2.0  # of the last request, whose token it has; the next may be alike
    head_secs: float = 10.0  # from its first byte, or from the connection's start; curl needs ms
    body_secs: float = 30.0  # from its head on: 140 KB a second for the largest
    flush_secs: float = 5.0  # to read the end of the last reply, before the connection is closed
    pipelined: int = 16  # requests sent ahead of their turn; hardly any client sends one
    head_bytes: int = 64 << 10  # of a request line with its headers; browsers send 8 KiB at most
    unread_secs: float = 30.0  # in which a client reads at least ``read_bytes`` of what waits
    read_bytes: int = 64 << 10  # 2 KB a second: slower is no network, it is a client that is gone
    unread_bytes: int = 96 << 20  # written for all clients and not read: twenty large replies


class Connections:
    """All open connections. ``run`` takes them, and closes those that keep us waiting; ``tasks``
    answer their requests."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: dict[HttpConnection, None] = {}
        self._unread: set[HttpConnection] = set()
        self._by_address: Counter[str] = Counter()
        self._closed: Counter[str] = Counter()
        self._told_at = float("-inf")
        self._ended = asyncio.Event()
        self.tasks = asyncio.TaskGroup()
        self._server: asyncio.Server | None = None

    def __len__(self) -> int:
        return len(self._open)

    async def run(self, app: ASGIApp, listener: socket.socket) -> None:
        """Serve an application on a socket, and look after the connections, until cancelled: then
        what is under way is cancelled too."""
        loop = asyncio.get_running_loop()
        async with self.tasks:
            made = partial(HttpConnection, self, app)
            server = await loop.create_server(made, sock=listener, backlog=LISTEN_BACKLOG)
            self._server = server
            try:
                while True:
                    await asyncio.sleep(SWEEP_SECS)
                    self.sweep(time.monotonic())
            finally:
                server.close()
                listener.close()
                for connection in list(self._open):
                    connection.transport.abort()

    def sweep(self, now: float) -> None:
        """Close the connections that keep us waiting for a head, or for a reader."""
        for connection in list(self._open):
            if connection.waits_for_head(now):
                self.end(connection, "no whole request head in time")
            elif connection.waits_for_body(now):
                connection.refuse_body()
            elif connection.reads_nothing(now) or connection.does_not_close(now):
                self.end(connection, "nothing of a reply read in time")
            elif connection.is_unused(now):
                connection.transport.close()
            else:
                connection.notice_leaving()
                connection.forget_head(now)
        self._tell(now)

    def opened(self, connection: HttpConnection) -> None:
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

    def closed(self, connection: HttpConnection) -> None:
        """A connection is over."""
        self.read(connection)
        self._ended.set()
        if connection in self._open:
            del self._open[connection]
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def waiting(self, connection: HttpConnection) -> None:
        """A client does not read as fast as is written; where all together leave too much unread,
        the one that leaves most is let go."""
        self._unread.add(connection)
        unread = {one: one.unread for one in self._unread}
        while sum(unread.values()) > self.limits.unread_bytes:
            most = max(unread, key=lambda one: unread[one])
            del unread[most]
            self.end(most, "too much of its replies unread")

    def end(self, connection: HttpConnection, why: str) -> None:
        """Close a connection at once; what was written and not read is lost."""
        if connection.over:
            return
        connection.over = True
        self._closed[why] += 1
        self.closed(connection)
        connection.transport.abort()
        self._tell(time.monotonic())

    def read(self, connection: HttpConnection) -> None:
        """A client has read what was written, or is gone."""
        self._unread.discard(connection)

    def accept_no_more(self) -> None:
        """Refuse new connections; those that there are go on."""
        if self._server:
            self._server.close()

    async def let_ask(self, secs: float) -> None:
        """Return once each has asked for something, and that has begun; at most so many seconds."""
        until, waits = time.monotonic() + secs, True
        while waits:
            waits = any(not one.has_asked for one in self._open) and time.monotonic() < until
            await asyncio.sleep(LOOK_SECS)

    async def close(self, secs: float) -> None:
        """Take no new connections, and let each go once it has its answer and has read it; those
        that have not within so many seconds are ended."""
        self.accept_no_more()
        for connection in list(self._open):
            connection.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(secs):
                while self._open:
                    self._ended.clear()
                    await self._ended.wait()
        for connection in list(self._open):
            self.end(connection, "its replies unread at the end")

    def _make_room(self, new: HttpConnection, candidates: Iterable[HttpConnection]) -> None:
        idle = [one for one in candidates if one.idle_since is not None]
        victim = min(idle, key=lambda one: (one.has_asked, one.idle_since), default=new)
        self.end(victim, "too many connections")

    def _tell(self, now: float) -> None:
        if self._closed and now - self._told_at >= LOG_SECS:
            told = ", ".join(f"{why} ({times})" for why, times in self._closed.items())
            log.warning("connections of clients closed: %s; %d are open", told, len(self._open))
            self._closed.clear()
            self._told_at = now
