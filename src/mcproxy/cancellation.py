"""How a task ends: by its limit of time, or because it is cancelled.

The rules of cancellation are functions that are hard to use wrongly. A task that is cancelled ends:
it begins nothing more (``checkpoint``), and what it has to clear away first is bounded in time, is
cut short by no further cancellation, and never takes the place of the ``CancelledError``
(``finish``). Everything in this program that awaits while it ends goes through here, and what must
not be left half begun (``begin``).

The limits of a call and of a script stand still (``Clock``) while a person, or a model, is asked on
behalf of what they bound, so that an answer that takes its time costs neither. How long the answer
may take is bounded by whoever asks (``Exchange.question``). Knows neither calls nor scripts.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Any, Self, TypeVar

GRACE_SECS = 1.0  # work that is out of time is cancelled, and has this time for its own end

log = logging.getLogger(__name__)

T = TypeVar("T")


def checkpoint() -> None:
    """Raise CancelledError where the running task is being cancelled.

    Belongs at the head of every loop that goes on after a failure: whatever had come in place of
    the cancellation, the loop ends with the next round.
    """
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


async def finish(work: Coroutine[Any, Any, object], secs: float) -> None:
    """Do ``work``, which clears something away, to its end, for at most ``secs``.

    It runs in a task of its own, so that it is not cancelled with the task that waits for it; a
    cancellation that arrives meanwhile is raised once the work is done. What the work raises is
    logged and goes no further: whatever made it necessary counts for more.
    """
    what = getattr(work, "__qualname__", repr(work))
    task = asyncio.get_running_loop().create_task(work, name=f"finish {what}")
    cancelled = await _over(task, secs)
    if not task.done():
        log.warning("%s: not done after %g s, given up", what, secs)
        task.cancel()
        cancelled |= await _over(task, GRACE_SECS)
    if not task.done():
        log.error("%s: cannot be cancelled", what)
    elif not task.cancelled() and (error := task.exception()):
        log.error("%s failed", what, exc_info=error)
    if cancelled:
        raise asyncio.CancelledError


async def begin(
    work: Coroutine[Any, Any, T], undo: Callable[[T], Coroutine[Any, Any, object]], secs: float
) -> T:
    """What ``work`` gives, within ``secs``; raises what it raises, and TimeoutError.

    A cancellation does not cut it short: what it gives then is undone first, within ``secs``.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancelled = await _over(task, secs)
    if not task.done():
        task.cancel()
        cancelled |= await _over(task, GRACE_SECS)
    if cancelled:
        if task.done() and not task.cancelled() and not task.exception():
            await finish(undo(task.result()), secs)
        raise asyncio.CancelledError
    if not task.done() or task.cancelled():
        raise TimeoutError(f"not done after {secs:g} s")
    return task.result()


async def _over(task: asyncio.Task[Any], secs: float) -> bool:
    """Wait until the task is done, at most ``secs``; whether a cancellation came meanwhile."""
    now = asyncio.get_running_loop().time
    until, cancelled = now() + secs, False
    while not task.done() and now() < until:
        try:
            await asyncio.wait([task], timeout=until - now())
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


class Clock:
    """The clock of one limit; it runs while none of the questions asked within it is open.
    ``outer``: the clock of the limit around it."""

    def __init__(self, outer: Self | None = None) -> None:
        self._outer = outer
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

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Stand still within the block, and let the clocks around do so."""
        with self.stopped(), self._outer.asking() if self._outer else nullcontext():
            yield

    def secs_left(self) -> float | None:
        """Until the limit runs out; None before and after it, and while the clock stands still."""
        until = self._limit.when() if self._limit else None
        return None if until is None else until - asyncio.get_running_loop().time()

    @property
    def _running(self) -> asyncio.Timeout | None:
        return None if self._limit is None or self._limit.expired() else self._limit
