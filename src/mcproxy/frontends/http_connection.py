"""The connections of HTTP clients, and the bounds that no request has begun to know: how many there
are, how long one may say nothing or read nothing, how large a head may be, what waits to be read.

uvicorn bounds none of these by itself. Where there are too many, the connection goes that is least
likely to be missed: the one that has asked for nothing for the longest time, of whoever has most.
Knows no route and no message.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

SWEEP_SECS = 1.0  # how often is looked for connections that have been silent for too long
LOG_SECS = 10.0  # what is closed is told at most so often, with the number of times

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Of all connections, and of each."""

    in_all: int = 4096
    of_one_address: int = 2048
    head_secs: float = 10.0  # from its first byte, or from the connection's start; curl needs ms
    head_bytes: int = 64 << 10  # of a request line with its headers; browsers send 8 KiB at most
    unread_secs: float = 30.0  # in which a client reads at least ``read_bytes`` of what waits
    read_bytes: int = 64 << 10  # 2 KB a second: slower is no network, it is a client that is gone
    unread_bytes: int = 96 << 20  # written for all clients and not read: twenty large replies


class Connections:
    """All open connections. ``run`` closes those that keep us waiting."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: dict[HttpConnection, None] = {}
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
            elif connection.reads_nothing(now):
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
        self.read()
        if connection in self._open:
            del self._open[connection]
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def waiting(self) -> None:
        """A client does not read as fast as is written; where all together leave too much unread,
        the one that leaves most is let go."""
        unread = {one: one.unread for one in self._open if one.unread}
        while sum(unread.values()) > self.limits.unread_bytes:
            most = max(unread, key=lambda one: unread[one])
            del unread[most]
            self.end(most, "too much of its replies unread")

    def end(self, connection: "HttpConnection", why: str) -> None:
        """Close a connection at once; what was written and not read is lost."""
        self._closed[why] += 1
        self.closed(connection)
        connection.transport.abort()
        self._tell(time.monotonic())

    def read(self) -> None:
        """A client has read what was written, or is gone."""
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
        victim = min(idle, key=lambda one: one.idle_since or 0.0, default=new)
        self.end(victim, "too many connections")

    def _tell(self, now: float) -> None:
        if self._closed and now - self._told_at >= LOG_SECS:
            told = ", ".join(f"{why} ({times})" for why, times in self._closed.items())
            log.warning("connections of clients closed: %s; %d are open", told, len(self._open))
            self._closed.clear()
            self._told_at = now


class HttpConnection(HttpToolsProtocol):
    """One connection; ``idle_since``: since when it has asked for nothing, None while a request of
    it is being answered."""

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
        self._head_bytes = 0
        self._in_body = False
        self._unread_at: tuple[float, int] | None = None

    @property
    def unread(self) -> int:
        """Bytes that were written and that the client has not read."""
        return 0 if self.transport.is_closing() else self.transport.get_write_buffer_size()

    def waits_for_head(self, now: float) -> bool:
        """Whether a head that has begun, or the first one, is not there in time."""
        return self._head_since is not None and (
            now - self._head_since > self._connections.limits.head_secs
        )

    def reads_nothing(self, now: float) -> bool:
        """Whether the client has not read enough, for so long that it will not."""
        unread, limits = self.unread, self._connections.limits
        if not self.flow.write_paused:
            self._unread_at = None
        elif self._unread_at is None or self._unread_at[1] - unread >= limits.read_bytes:
            self._unread_at = (now, unread)
        return self._unread_at is not None and now - self._unread_at[0] > limits.unread_secs

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, where there is room."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._connections.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head that does not end is refused (RFC 6585, section 5)."""
        if self.idle_since is None or self._in_body:
            super().data_received(data)
            return
        self._head_bytes += len(data)
        if self._head_since is None:
            self._head_since = time.monotonic()
        super().data_received(data)
        if self._head_bytes > self._connections.limits.head_bytes:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """A request begins."""
        self.idle_since = self._head_since = None
        self._head_bytes, self._in_body = 0, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Its body is there; one that was refused before is only now out of the way."""
        self._in_body = False
        if self.idle_since is not None:
            self._head_since = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request has been answered."""
        super().on_response_complete()
        if not self.pipeline:
            self.idle_since = time.monotonic()
            self._head_since = self.idle_since if self._in_body else None

    def pause_writing(self) -> None:
        """The client does not read as fast as is written."""
        super().pause_writing()
        self._connections.waiting()

    def resume_writing(self) -> None:
        """The client has read what was written."""
        super().resume_writing()
        self._connections.read()

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
                b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()
