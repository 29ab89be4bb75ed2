"""Slots for starting servers: a few at a time, so that fifty do not start each other to death.

Interpreters that start together share the processors, and all of them miss the time-out of the
handshake. A start that takes long waits for a download rather than for a processor, so after a
while it no longer counts.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

AT_ONCE = 8  # keeps two to eight processors busy; each start is mostly one of them
COUNTED_SECS = 5.0


class StartSlots:
    """At most ``at_once`` starts are counted at any time; the others wait in order."""

    def __init__(self, at_once: int = AT_ONCE, counted_secs: float = COUNTED_SECS) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._counted_secs = counted_secs

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Callable[[], None]]:
        """Wait for a turn; it ends with the block, when what is given is called, or in time."""
        await self._places.acquire()
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._places.release()

        timer = asyncio.get_running_loop().call_later(self._counted_secs, leave)
        try:
            yield leave
        finally:
            timer.cancel()
            leave()
