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


class Stoppable:
    """A block that is ended from outside, once, with the exception that ``stop`` is given: what
    runs in it is cancelled for that. ``asyncio.timeout`` does the like for time alone."""

    _task: asyncio.Task[Any] | None = None
    _cancelling = 0
    _why: Exception | None = None

    def __enter__(self) -> Self:
        if self._why is not None:
            raise self._why
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if self._why is None or task is None:
            return
        # Where the task was cancelled beside, that counts for more (``asyncio.Task.uncancel``).
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._why from error

    @property
    def running(self) -> bool:
        """Whether the block is entered, and neither left nor stopped."""
        return self._task is not None and self._why is None

    def stop(self, why: Exception) -> None:
        """Have the block raise this, as it is entered where it is not yet."""
        if self._why is None:
            self._why = why
            if self._task is not None:
                self._task.cancel()


class Clock(Stoppable):
    """The clock of one limit; it runs while none of the questions asked within it is open.
    ``outer``: the clock of the limit around it."""

    _open = 0
    _left = 0.0
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, outer: "Clock | None" = None) -> None:
        self._outer = outer

    def limit(self, secs: float) -> Self:
        """``asyncio.timeout`` of ``secs`` by this clock, once. Raises TimeoutError."""
        self._left = secs
        return self

    async def __aenter__(self) -> None:
        self.__enter__()
        self._go_on()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self.__exit__(kind, error, trace)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stand still within the block. One that is left after the limit moves nothing."""
        if self._timer:
            self._left = self._timer.when() - asyncio.get_running_loop().time()
            self._timer.cancel()
            self._timer = None
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            if self.running and not self._open:
                self._go_on()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Stand still within the block, and let the clocks around do so."""
        with self.stopped(), self._outer.asking() if self._outer else nullcontext():
            yield

    def secs_left(self) -> float | None:
        """Until the limit runs out; None before and after it, and while the clock stands still."""
        return self._timer.when() - asyncio.get_running_loop().time() if self._timer else None

    def _go_on(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._left, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.stop(TimeoutError())
