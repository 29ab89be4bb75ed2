"""When a server that went down is started again: a policy and what it has seen; and what is told of
a start that takes long. Pure, but for the count of what was told.

A server that stayed up long enough starts with a clean slate. A child process that keeps failing is
given up; a remote server is not, since it may come back without anybody here doing something. An
instance that serves one client alone waits for that client's next call.

A first start may download the server for minutes; what it writes to stderr meanwhile is all that
can be known of it, and worth more than a guess.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from mcproxy.shortage import SCARCE_SECS, lacking
from mcproxy.types import Cause

STABLE_SECS = 60.0  # uptime after which earlier failures no longer count

# It went down; another start cannot help (there is no such command); the machine has no means left.
Ending: TypeAlias = Literal["down", "hopeless", "scarce"]


_CAUSES: Sequence[tuple[type[OSError], Cause]] = (
    (FileNotFoundError, "no_command"),
    (PermissionError, "not_executable"),
    (NotADirectoryError, "no_directory"),
)


class RestartPolicy(msgspec.Struct, frozen=True):
    """Seconds before the first, second … restart in a row; ``endless`` repeats the last one.

    ``on_demand``: it is started again when it is called, and only then.
    """

    backoff_secs: tuple[float, ...]
    endless: bool = False
    on_demand: bool = False


CHILD = RestartPolicy((1.0, 2.0, 4.0))
REMOTE = RestartPolicy((1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0), endless=True)
ON_DEMAND = RestartPolicy((), on_demand=True)


class RestartState(msgspec.Struct, frozen=True):
    """How many restarts in a row there were, and how many in all."""

    in_a_row: int = 0
    total: int = 0


class Restart(msgspec.Struct, frozen=True):
    """Start again after ``delay`` seconds."""

    delay: float
    state: RestartState


class GiveUp(msgspec.Struct, frozen=True):
    """Leave the server down until somebody asks for it."""

    reason: str


class Rest(msgspec.Struct, frozen=True):
    """Start again when somebody calls."""


def ending_of(error: OSError) -> tuple[Ending, str]:
    """What a start that the system refused means, and why it refused."""
    if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError):
        return "hopeless", str(error)
    lack = lacking(error.errno)
    return ("scarce", f"it cannot be started: {lack}") if lack else ("down", str(error))


def cause_of_start(error: OSError) -> Cause | None:
    """The same as one word, where it is the definition's fault."""
    return next((cause for kind, cause in _CAUSES if isinstance(error, kind)), None)


def next_step(
    state: RestartState, *, uptime_secs: float, ending: Ending, policy: RestartPolicy = CHILD
) -> Restart | GiveUp | Rest:
    """Decide what follows a server's end. What the machine lacks is not counted against it."""
    if policy.on_demand:
        return Rest()
    if ending == "hopeless":
        return GiveUp("starting it again would not help")
    if ending == "scarce":
        return Restart(SCARCE_SECS, state)
    if uptime_secs >= STABLE_SECS:
        state = replace(state, in_a_row=0)
    if state.in_a_row >= len(policy.backoff_secs) and not policy.endless:
        return GiveUp(f"it failed {state.in_a_row} restarts in a row")
    delay = policy.backoff_secs[min(state.in_a_row, len(policy.backoff_secs) - 1)]
    return Restart(delay, RestartState(state.in_a_row + 1, state.total + 1))


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
