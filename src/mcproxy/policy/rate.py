"""Token buckets that bound how often a caller may call tools in a namespace.

The clock is passed in; nothing here waits. Knows no tool and no request: whoever is refused gets a
time and decides.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# A quarter of a minute's calls may come at once: an agent works in bursts, and pauses between them.
BURST_MINUTES: Final = 0.25
# Namespaces and most callers come from the configuration; an issuer may name any number of callers.
# Beyond this many the bucket that was unused longest is forgotten, and is full when it is needed.
MAX_BUCKETS: Final = 10_000
# Waiting exactly as long as told must be enough, whatever the rounding.
ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many calls were left at one moment; ``at`` is in seconds of the clock."""

    calls: float
    at: float


class RateLimiter:
    """The buckets of all callers and namespaces. ``clock`` gives seconds and never runs back."""

    def __init__(self, clock: Callable[[], float], max_buckets: int = MAX_BUCKETS) -> None:
        self._clock = clock
        self._max_buckets = max_buckets
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    def take(self, caller: str, namespace: str, per_minute: int) -> float | None:
        """Count one call. None: it may be made; else it may not, for so many seconds."""
        key = (caller, namespace)
        filled = refilled(self._buckets.get(key), per_minute, self._clock())
        if filled.calls < 1 - ROUNDING:
            return (1 - filled.calls) * 60 / per_minute
        self._buckets[key] = Bucket(filled.calls - 1, filled.at)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._max_buckets:
            self._buckets.popitem(last=False)
        return None


def refilled(bucket: Bucket | None, per_minute: int, now: float) -> Bucket:
    """The bucket as it is now; one that never was is full."""
    burst = max(1.0, per_minute * BURST_MINUTES)
    if bucket is None:
        return Bucket(burst, now)
    gained = (now - bucket.at) * per_minute / 60
    return Bucket(min(burst, bucket.calls + gained), now)
