"""When a server that went down is started again. Pure: a policy and what it has seen.

A server that stayed up long enough starts with a clean slate; one that keeps failing is given up.
"""

from dataclasses import dataclass, replace

BACKOFF_SECS = (1.0, 2.0, 4.0)  # before the first, second and third restart in a row
STABLE_SECS = 60.0  # uptime after which earlier failures no longer count


@dataclass(frozen=True, slots=True)
class RestartState:
    """How many restarts in a row there were, and how many in all."""

    in_a_row: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Restart:
    """Start again after ``delay`` seconds."""

    delay: float
    state: RestartState


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave the server down until somebody asks for it."""

    reason: str


def next_step(state: RestartState, *, uptime_secs: float, startable: bool) -> Restart | GiveUp:
    """Decide what follows a server's end.

    ``startable`` is False where another try cannot help (there is no such command).
    """
    if not startable:
        return GiveUp("starting it again would not help")
    if uptime_secs >= STABLE_SECS:
        state = replace(state, in_a_row=0)
    if state.in_a_row >= len(BACKOFF_SECS):
        return GiveUp(f"it failed {state.in_a_row} restarts in a row")
    delay = BACKOFF_SECS[state.in_a_row]
    return Restart(delay, RestartState(state.in_a_row + 1, state.total + 1))
