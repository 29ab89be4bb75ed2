"""What the interpreter's garbage collector looks at while the gateway serves.

A full collection walks all that lives: 20 ms with few tools, 90 with 10,000, several times a second
under load, and all of it in vain, for what lives long (code, rules, the manifest) forms no garbage.
So that is set aside (``gc.freeze``) once the gateway has started, and again after each swap of
what it serves by. What was swapped out goes by its reference counts, as nearly all does; the rest
is looked for just before, when all is taken back. Knows nothing of what is swapped.
"""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

QUIET_SECS = 1.0  # after a swap; they come in bursts
PAUSE_SECS = 30.0  # between two, for a server that comes and goes all the time
RENEW_SECS = 600.0  # and at most: what was set aside for nothing takes room for so long
LOADING = (
    100_000,
    5,
    3,
)  # while code is loaded, which forms none: a tenth of a start was spent on it
_SERVING = (5_000, 5, 3)  # the first is a millisecond, instead of a few requests; in all as usual


class Heap:
    """Sets aside what lives long, some time after ``swapped``; both while ``running``."""

    def __init__(self, quiet_secs: float = QUIET_SECS, pause_secs: float = PAUSE_SECS) -> None:
        self._quiet_secs, self._pause_secs = quiet_secs, pause_secs
        self._timer: asyncio.TimerHandle | None = None
        self._due = float("inf")
        self._not_before = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tend the heap of this process; on leaving, all is as it was before."""
        usual = gc.get_threshold()
        gc.freeze()  # what was loaded: the new threshold would have it all walked at once
        gc.set_threshold(*_SERVING)
        try:
            yield
        finally:
            if self._timer:
                self._timer.cancel()
            gc.unfreeze()
            gc.set_threshold(*usual)

    def swapped(self) -> None:
        """Other values have taken the place of those that lived long. Returns at once."""
        now = asyncio.get_running_loop().time()
        self._plan(max(now + self._quiet_secs, self._not_before))

    def _plan(self, when: float) -> None:
        if when < self._due:
            if self._timer:
                self._timer.cancel()
            self._due = when
            self._timer = asyncio.get_running_loop().call_at(when, self._set_aside)

    def _set_aside(self) -> None:
        now = asyncio.get_running_loop().time()
        self._due, self._not_before = float("inf"), now + self._pause_secs
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._plan(now + RENEW_SECS)
