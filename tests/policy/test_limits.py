"""Token buckets, with a clock that the test turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.policy.limits import RateLimiter


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def at_once(limiter: RateLimiter, per_minute: int, caller: str = "a", namespace: str = "n") -> int:
    """How many calls pass before one is refused."""
    passed = 0
    while limiter.take(caller, namespace, per_minute) is None:
        passed += 1
    return passed


@pytest.mark.requirement("rate.burst")
@pytest.mark.parametrize(
    ("per_minute", "burst"), [(1, 1), (3, 1), (4, 1), (7, 1), (8, 2), (60, 15), (1200, 300)]
)
def test_a_quarter_minutes_worth_passes_at_once_and_at_least_one(
    per_minute: int, burst: int, clock: Clock
) -> None:
    assert at_once(RateLimiter(clock), per_minute) == burst


@pytest.mark.requirement("rate.retry_after")
@given(st.integers(1, 5000), st.integers(1, 20))
def test_waiting_as_long_as_told_is_enough_and_half_of_it_is_not(per_minute: int, n: int) -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    at_once(limiter, per_minute)
    for _ in range(n):
        wait = limiter.take("a", "n", per_minute)
        assert wait is not None
        assert 0 < wait <= 60 / per_minute + 1e-6
        clock.now += wait / 2
        assert limiter.take("a", "n", per_minute) is not None
        clock.now += wait / 2
        assert limiter.take("a", "n", per_minute) is None


@given(st.integers(1, 600), st.lists(st.floats(0, 30), max_size=200))
def test_never_more_than_the_burst_and_the_rate_allow(per_minute: int, pauses: list[float]) -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    passed = 0
    for pause in pauses:
        clock.now += pause
        passed += limiter.take("a", "n", per_minute) is None
    elapsed = clock.now - 1000
    assert passed <= max(1.0, per_minute / 4) + elapsed * per_minute / 60 + 1e-6


def test_a_long_pause_fills_no_more_than_the_burst(clock: Clock) -> None:
    limiter = RateLimiter(clock)
    at_once(limiter, 60)
    clock.now += 3600
    assert at_once(limiter, 60) == 15


def test_callers_and_namespaces_are_counted_apart(clock: Clock) -> None:
    limiter = RateLimiter(clock)
    at_once(limiter, 60)
    assert at_once(limiter, 60, caller="b") == 15
    assert at_once(limiter, 60, namespace="m") == 15


def test_a_new_limit_holds_at_once(clock: Clock) -> None:
    limiter = RateLimiter(clock)
    at_once(limiter, 4)
    clock.now += 1
    assert limiter.take("a", "n", 4) is not None
    assert limiter.take("a", "n", 60) is None


def test_the_number_of_buckets_is_bounded_and_the_longest_unused_goes(clock: Clock) -> None:
    limiter = RateLimiter(clock, max_buckets=2)
    at_once(limiter, 4, caller="a")
    at_once(limiter, 4, caller="b")
    at_once(limiter, 4, caller="c")
    assert limiter.take("b", "n", 4) is not None
    assert limiter.take("c", "n", 4) is not None
    assert limiter.take("a", "n", 4) is None
