"""Move bytes between a script and a host that it was allowed to reach.

A tunnel is passed on as it is; an HTTP exchange is read and written anew on both sides (h11), so
that each end sees exactly one request and one response, framed without doubt. Who may talk to whom
was decided before.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial

import h11
import msgspec

IDLE_SECS = 120.0  # neither side has sent anything, longer than slow services think
_CHUNK_BYTES = 1 << 16
_HEAD_BYTES = 1 << 16

# Of this connection only, not of the message (RFC 9110, 7.6.1).
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"upgrade".split()
)

Header = tuple[bytes, bytes]
Headers = Iterable[Header]
Spend = Callable[[int], None]


class ByteStream(msgspec.Struct, frozen=True):
    """Both directions of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        """Close it; what was written before is still sent."""
        self.writer.close()


class HttpEnd:
    """One end of an HTTP exchange. ``spend`` is told the size of all that comes in, once it is
    known whose it is."""

    def __init__(self, role: type[h11.CLIENT] | type[h11.SERVER], stream: ByteStream) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=_HEAD_BYTES)
        self.stream = stream
        self.spend: Spend = lambda _: None

    async def next(self) -> h11.Event:
        """The next event. Raises h11.RemoteProtocolError for what is no HTTP."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            chunk = await self.stream.reader.read(_CHUNK_BYTES)
            self.spend(len(chunk))
            self.http.receive_data(chunk)
        if isinstance(event, h11.Event):
            return event
        raise h11.RemoteProtocolError("more was sent than one message")

    async def send(self, event: h11.Event) -> None:
        """Send one event; waits while the other side is slow."""
        self.stream.writer.write(self.http.send(event) or b"")
        await self.stream.writer.drain()

    async def closed(self) -> None:
        """Return when the other side is gone; what it still sends is dropped."""
        while await self.stream.reader.read(_CHUNK_BYTES):
            pass


async def tunnel(script: ByteStream, host: ByteStream, spend: Spend) -> None:
    """Pass on both directions until both have ended. Raises TimeoutError when idle."""
    async with asyncio.timeout(IDLE_SECS) as idle, _directions() as directions:
        moved = partial(_moved, idle, spend)
        directions.create_task(_pump(script.reader, host.writer, moved))
        directions.create_task(_pump(host.reader, script.writer, moved))


async def exchange(script: HttpEnd, host: HttpEnd, request: h11.Request, spend: Spend) -> None:
    """Carry out one request whose head is ``request``. Raises TimeoutError when idle."""
    async with asyncio.timeout(IDLE_SECS) as idle, _directions() as directions:
        script.spend = host.spend = partial(_moved, idle, spend)
        await host.send(request)
        sending = directions.create_task(_send_body(script, host))
        await _send_response(host, script)
        sending.cancel()


def request_headers(headers: Headers, host: str) -> list[Header]:
    """The headers to pass on: ``Host`` is what was judged, whatever the script had put there."""
    return [
        (b"Host", host.encode()),
        *((name, value) for name, value in _end_to_end(headers) if name != b"host"),
        (b"Connection", b"close"),
    ]


@contextlib.asynccontextmanager
async def _directions() -> AsyncIterator[asyncio.TaskGroup]:
    """A group that fails with the first fault itself: a second one is only its echo."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as faults:
        raise faults.exceptions[0] from None


def _end_to_end(headers: Headers) -> list[Header]:
    headers = list(headers)
    named = b",".join(value for name, value in headers if name == b"connection")
    dropped = _HOP_BY_HOP | {name.strip().lower() for name in named.split(b",")}
    framing = (b"content-length", b"transfer-encoding")
    return [(name, value) for name, value in headers if name in framing or name not in dropped]


async def _send_body(script: HttpEnd, host: HttpEnd) -> None:
    """Then wait: a script that goes away ends the exchange."""
    while isinstance(event := await script.next(), h11.Data):
        await host.send(h11.Data(data=event.data))
    await host.send(h11.EndOfMessage())
    await script.closed()
    raise ConnectionResetError("the script has closed its connection")


async def _send_response(host: HttpEnd, script: HttpEnd) -> None:
    while not isinstance(event := await host.next(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            headers = [*_end_to_end(event.headers), (b"Connection", b"close")]
            event = h11.Response(
                status_code=event.status_code, headers=headers, reason=event.reason
            )
        elif isinstance(event, h11.Data):
            event = h11.Data(data=event.data)
        elif not isinstance(event, h11.InformationalResponse):
            raise ConnectionResetError("the host has closed its connection")
        await script.send(event)
    await script.send(h11.EndOfMessage())


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Spend) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        moved(len(chunk))
        writer.write(chunk)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def _moved(idle: asyncio.Timeout, spend: Spend, count: int) -> None:
    idle.reschedule(asyncio.get_running_loop().time() + IDLE_SECS)
    spend(count)
