"""A circuit breaker: calls to a server that no longer answers fail at once. Pure.

Only silence counts (a call that timed out, a connection that broke); whatever the server answers,
an error too, shows that it lives. While the breaker is open, one call in ``OPEN_SECS`` is let
through to see whether the server is back.
"""

from dataclasses import dataclass, replace

THRESHOLD = 5  # calls in a row without an answer: more than bad luck with one slow tool
OPEN_SECS = 10.0  # a caller that keeps trying costs the server one call in this time


@dataclass(frozen=True, slots=True)
class Breaker:
    """How many calls in a row got no answer; refuses until ``until`` (seconds of the clock)."""

    failures: int = 0
    until: float = 0.0

    @property
    def tripped(self) -> bool:
        """Whether calls are refused."""
        return self.failures >= THRESHOLD

    def refuses_for(self, now: float) -> float:
        """Seconds until the next call is let through, 0 for this one."""
        return max(0.0, self.until - now) if self.tripped else 0.0

    def admitted(self, now: float) -> "Breaker":
        """A call was let through; where it is the one that tries, the others wait for it."""
        return replace(self, until=now + OPEN_SECS) if self.tripped else self

    def failed(self, now: float) -> "Breaker":
        """A call got no answer."""
        return Breaker(self.failures + 1, now + OPEN_SECS)


CLOSED = Breaker()
