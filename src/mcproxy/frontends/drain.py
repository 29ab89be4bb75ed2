"""The gate that requests pass while the program runs, and that closes when it stops."""

import asyncio
import contextlib
from collections.abc import Iterator

DRAIN_SECS = 10.0  # calls that run when the program is told to stop may end within this time


class Gate:
    """Counts what is under way; once closed, lets nothing in and waits for the rest to end."""

    def __init__(self) -> None:
        self._running = 0
        self._bounds: set[asyncio.Timeout] = set()
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def closed(self) -> bool:
        """Whether the program is stopping."""
        return self._closed

    @contextlib.contextmanager
    def enter(self, bound: asyncio.Timeout | None = None) -> Iterator[None]:
        """Be counted as running. The caller has looked at ``closed`` before, and enters ``bound``
        within: it expires where the time of ``drain`` is over first."""
        self._running += 1
        self._empty.clear()
        if bound:
            self._bounds.add(bound)
        try:
            yield
        finally:
            if bound:
                self._bounds.discard(bound)
            self._running -= 1
            if not self._running:
                self._empty.set()

    async def drain(self) -> bool:
        """Close, then wait until nothing runs, at most DRAIN_SECS; whether all ended in time."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECS):
                await self._empty.wait()
        bounds, self._bounds = self._bounds, set()
        for bound in bounds:
            bound.reschedule(asyncio.get_running_loop().time())
        return not self._running
