"""The figures of the last hour: calls, their durations, scripts, memory. Of a fixed size."""

import math
import mmap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

BUCKET_SECS = 10
BUCKETS = 360  # an hour
# Upper bounds of the durations that are counted together, in ms, each 1.5 times the last: quantiles
# are right to a quarter, and an hour of them takes 100 KB.
_STEP = 1.5
_SLOTS = 32  # up to 300 s


class Interval(msgspec.Struct):
    """What happened within ``BUCKET_SECS``; ``memory_mb`` None where it was not looked at."""

    calls: int = 0
    failed: int = 0
    executions: int = 0
    durations: bytearray | None = None
    memory_mb: float | None = None


class Figures(msgspec.Struct):
    """The series for plots, one value a bucket, the oldest first; ``at`` in Unix seconds, durations
    in ms, null where nothing was called."""

    at: list[float]
    calls: list[int]
    failed: list[int]
    executions: list[int]
    p50: list[float | None]
    p95: list[float | None]
    memory_mb: list[float | None]


class History:
    """The last hour."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._buckets = [Interval() for _ in range(BUCKETS)]
        self._now = self._number()

    def call(self, ms: float, *, failed: bool) -> None:
        """Count a call of a tool."""
        bucket = self._bucket()
        bucket.calls += 1
        bucket.failed += failed
        if bucket.durations is None:
            bucket.durations = bytearray(4 * _SLOTS)
        counts = memoryview(bucket.durations).cast("I")
        counts[_slot(ms)] += 1

    def execution(self) -> None:
        """Count a script that has ended."""
        self._bucket().executions += 1

    def memory(self, mb: float) -> None:
        """The memory that gateway and servers hold now."""
        self._bucket().memory_mb = mb

    def figures(self) -> Figures:
        """The series of now."""
        self._bucket()
        numbers = range(self._now - BUCKETS + 1, self._now + 1)
        buckets = [self._buckets[number % BUCKETS] for number in numbers]
        return Figures(
            at=[float(number * BUCKET_SECS) for number in numbers],
            calls=[bucket.calls for bucket in buckets],
            failed=[bucket.failed for bucket in buckets],
            executions=[bucket.executions for bucket in buckets],
            p50=[_quantile(bucket, 0.5) for bucket in buckets],
            p95=[_quantile(bucket, 0.95) for bucket in buckets],
            memory_mb=[bucket.memory_mb for bucket in buckets],
        )

    def _number(self) -> int:
        return int(self._clock() // BUCKET_SECS)

    def _bucket(self) -> Interval:
        """The bucket of now; those that time has passed over are empty. A clock that was set back
        goes on where it was."""
        number = self._number()
        if number > self._now:
            for passed in range(max(self._now + 1, number - BUCKETS + 1), number + 1):
                self._buckets[passed % BUCKETS] = Interval()
            self._now = number
        return self._buckets[self._now % BUCKETS]


def _slot(ms: float) -> int:
    return min(_SLOTS - 1, max(0, math.ceil(math.log(ms, _STEP)))) if ms > 1 else 0


def _quantile(bucket: Interval, share: float) -> float | None:
    """The upper bound of the slot in which it lies."""
    if not bucket.calls or bucket.durations is None:
        return None
    counts: Sequence[int] = memoryview(bucket.durations).cast("I")
    wanted, seen = share * bucket.calls, 0
    for slot, count in enumerate(counts):
        seen += count
        if seen >= wanted:
            return round(_STEP**slot, 1)
    return None


def own_memory_mb() -> float:
    """The resident memory of this process (``proc_pid_statm``), in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE / (1 << 20)
