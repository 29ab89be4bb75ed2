"""What is told of a start that takes long. Pure, but for the count of what was told.

A first start may download the server for minutes; what it writes to stderr meanwhile is all that
can be known of it, and worth more than a guess.
"""

FIRST_SECS = 10.0  # most servers are ready by then; afterwards ever more rarely


class Progress:
    """One start, begun at ``began`` (seconds of the clock)."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._due_secs = FIRST_SECS

    def secs(self, now: float) -> float:
        """How long it takes so far."""
        return now - self._began

    def words(self, now: float, last_words: str) -> str:
        """How far it is."""
        said = f"; it last wrote: {last_words}" if last_words else ""
        return f"it is still starting after {self.secs(now):.0f} s{said}"

    def due(self, now: float) -> bool:
        """Whether it is to be told again; each time is twice as far away as the last."""
        if self.secs(now) < self._due_secs:
            return False
        self._due_secs *= 2
        return True
