"""What changes on a page while it is looked at: a stream of the parts that are others than before.

HTML standard, "Server-sent events". Nothing is queued: each look takes the whole as it is, and what
has not changed is not sent. So a viewer costs two looks a second, however much happens, and one
that does not read costs nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mcproxy.observe.activity import Activity
from mcproxy.page.rendering import HEADERS

LOOK_SECS = 0.5  # what happens is seen this much later at most
HEARTBEAT_SECS = 15.0
MAX_VIEWERS = 64  # at once

Parts = Callable[[], Awaitable[Mapping[str, str] | None]]
"""The parts of a page as they are now, by the names of their events; None where the viewer may look
no longer."""


class Viewings:
    """How many look on, until ``close``."""

    def __init__(self) -> None:
        self.count = 0
        self.closed = False

    @property
    def full(self) -> bool:
        """Whether no more can be served."""
        return self.count >= MAX_VIEWERS

    def close(self) -> None:
        """End all streams, within ``LOOK_SECS``."""
        self.closed = True


class LiveParts(Response):
    """Sends the parts whenever they are others, until the viewer leaves, or may look no longer:
    then the page, which asks again, is refused in words."""

    def __init__(self, viewings: Viewings, activity: Activity, parts: Parts) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({**HEADERS, "Content-Type": "text/event-stream"})
        self._viewings, self._activity, self._parts = viewings, activity, parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream (ASGI)."""
        self._viewings.count += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._stream(receive, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._viewings.count -= 1

    async def _stream(self, receive: Receive, send: Send) -> None:
        sent: dict[str, str] = {}
        version, quiet_since = -1, time.monotonic()
        while not self._viewings.closed:
            text = b""
            if version != self._activity.version:
                version = self._activity.version
                parts = await self._parts()
                if parts is None:
                    return
                changed = {name: part for name, part in parts.items() if sent.get(name) != part}
                sent.update(changed)
                text = b"".join(_event(name, part) for name, part in changed.items())
            if not text and time.monotonic() - quiet_since > HEARTBEAT_SECS:
                text = b": heartbeat\n\n"
            if text:
                quiet_since = time.monotonic()
                await send({"type": "http.response.body", "body": text, "more_body": True})
            if await _left(receive, LOOK_SECS):
                return


async def _left(receive: Receive, secs: float) -> bool:
    """Whether the viewer leaves within so many seconds."""
    try:
        async with asyncio.timeout(secs):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


def _event(name: str, text: str) -> bytes:
    """An event; one without data would not be heard of (9.2.6)."""
    lines = "\n".join(f"data: {line}" for line in (text.strip() or "<!-- -->").splitlines())
    return f"event: {name}\n{lines}\n\n".encode()
