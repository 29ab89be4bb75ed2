"""Server-sent events: how an event is written, and the HTTP response that streams them.

A quiet stream carries a comment line now and then, so that proxies and clients do not take it for
dead (HTML standard, "Server-sent events", 9.2.7). Knows no MCP method.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mcproxy.frontends.connection import disconnected
from mcproxy.frontends.stream import Event, Reader

WRITTEN_BYTES = 64 << 10  # at a time; what has not been written can still be dropped
HEARTBEAT_SECS = 15.0  # proxies close what is silent for 30 s and more

_HEARTBEAT = b": heartbeat\n\n"
_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # MCP 2026-07-28, "Receiving Messages"
}

log = logging.getLogger(__name__)


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
