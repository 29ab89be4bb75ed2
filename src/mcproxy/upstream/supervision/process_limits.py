"""When a running server is stopped although nothing is wrong with its session. Pure.

Too much memory ends it at once, as a crash would. Age and idleness end it only between calls: the
one for a fresh process, the other until somebody calls.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Limits of one process: MiB of it and all that it started, its age, the time since its last
    call; None: no limit."""

    memory_mb: int | None = None
    age_secs: float | None = None
    idle_secs: float | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """How a process is: the same three, and the calls under way."""

    memory_mb: float
    age_secs: float
    idle_secs: float
    calls: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End it at once."""

    reason: str


Measure: TypeAlias = Kill | Literal["renew", "rest"] | None


def measure(limits: ProcessLimits, now: Condition) -> Measure:
    """What is to be done about a process."""
    if limits.memory_mb is not None and now.memory_mb > limits.memory_mb:
        return Kill(
            f"it used {now.memory_mb:.0f} MiB with what it started; "
            f"memory_mb of its sandbox is {limits.memory_mb}"
        )
    if now.calls:
        return None
    if limits.idle_secs is not None and now.idle_secs >= limits.idle_secs:
        return "rest"
    if limits.age_secs is not None and now.age_secs >= limits.age_secs:
        return "renew"
    return None
