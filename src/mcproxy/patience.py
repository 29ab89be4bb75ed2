"""Time limits that stand still while a person, or a model, is asked on behalf of what they bound.

The limit of a call and the limit of a script are both of this kind, so that an answer that takes
its time costs neither. How long the answer may take is bounded by whoever asks (``Exchange.ask``).
Knows neither calls nor scripts.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self


class Clock:
    """The clock of one limit; it runs while none of the questions asked within it is open."""

    def __init__(self) -> None:
        self._secs = 0.0
        self._limit: asyncio.Timeout | None = None
        self._open = 0
        self._left = 0.0

    def limit(self, secs: float) -> Self:
        """``asyncio.timeout`` of ``secs`` by this clock, once. Raises TimeoutError."""
        self._secs = secs
        return self

    async def __aenter__(self) -> None:
        self._limit = asyncio.timeout(self._secs)
        await self._limit.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        limit, self._limit = self._limit, None
        if limit:
            await limit.__aexit__(kind, error, trace)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stand still within the block. One that is left after the limit moves nothing."""
        now = asyncio.get_running_loop().time
        until = self._running.when() if self._running else None
        if self._running and until is not None:
            self._left = until - now()
            self._running.reschedule(None)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            if self._running and not self._open:
                self._running.reschedule(now() + self._left)

    def secs_left(self) -> float | None:
        """Until the limit runs out; None before and after it, and while the clock stands still."""
        until = self._limit.when() if self._limit else None
        return None if until is None else until - asyncio.get_running_loop().time()

    @property
    def _running(self) -> asyncio.Timeout | None:
        return None if self._limit is None or self._limit.expired() else self._limit
