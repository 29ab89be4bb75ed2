"""How often a caller may call tools in a namespace (token buckets), and how many executions and
direct calls may be under way there.

The clock is passed in; nothing here waits for its turn, which is the matter of ``queues``. Knows no
tool and no request: whoever is refused gets a time and decides.

An execution counts in its namespace; in a group, which is no way around the limits of its members,
in every one of them. A direct call counts in the member through which its server is reached. What
a script calls is part of its execution: it takes no further place, so that nothing can wait for
itself.
"""

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from mcproxy.policy.access import Policy
from mcproxy.types import Capacity

# A quarter of a minute's calls may come at once: an agent works in bursts, and pauses between them.
BURST_MINUTES: Final = 0.25
# Namespaces and most callers come from the configuration; an issuer may name any number of callers.
# Beyond this many the bucket that was unused longest is forgotten, and is full when it is needed.
MAX_BUCKETS: Final = 10_000
# Waiting exactly as long as told must be enough, whatever the rounding.
ROUNDING: Final = 1e-9


TakeToken: TypeAlias = Callable[[str, float, int], Awaitable[float | None]]
"""Takes a token from a shared bucket that holds so many and gains so many a minute; gives the
seconds to wait where there is none. Raises StateUnavailable."""

Take: TypeAlias = Callable[[str, str, int], Awaitable[float | None]]
"""As ``RateLimiter.take``, wherever the buckets are. Raises StateUnavailable."""


class Bucket(msgspec.Struct, frozen=True):
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


def own_rates(limiter: RateLimiter) -> Take:
    """What counts in the buckets of this gateway."""

    async def taken(caller: str, namespace: str, per_minute: int) -> float | None:
        return limiter.take(caller, namespace, per_minute)

    return taken


def shared_rates(take: TakeToken) -> Take:
    """What counts in buckets that several gateways share."""

    async def taken(caller: str, namespace: str, per_minute: int) -> float | None:
        return await take(json.dumps([caller, namespace]), burst(per_minute), per_minute)

    return taken


def burst(per_minute: int) -> float:
    """How many calls may come at once."""
    return max(1.0, per_minute * BURST_MINUTES)


def refilled(bucket: Bucket | None, per_minute: int, now: float) -> Bucket:
    """The bucket as it is now; one that never was is full."""
    most = burst(per_minute)
    if bucket is None:
        return Bucket(most, now)
    gained = (now - bucket.at) * per_minute / 60
    return Bucket(min(most, bucket.calls + gained), now)


def capacities(policy: Policy) -> Mapping[str, Capacity]:
    """The limits of each namespace that has any, by its name."""
    return {
        name: Capacity(
            place.concurrency.max_running,
            place.concurrency.max_waiting,
            owner=f"Namespace {name!r}",
            things="executions and direct calls",
            setting="concurrency.max_running and max_waiting",
        )
        for name, place in policy.endpoints.items()
        if place.concurrency
    }
