"""When a server that went down is started again. Pure: a policy and what it has seen.

A server that stayed up long enough starts with a clean slate. A child process that keeps failing is
given up; a remote server is not, since it may come back without anybody here doing something. An
instance that serves one client alone waits for that client's next call.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

STABLE_SECS = 60.0  # uptime after which earlier failures no longer count
SCARCE_SECS = 5.0  # before a start is tried again for which this machine had no means

# It went down; another start cannot help (there is no such command); the machine has no means left.
Ending: TypeAlias = Literal["down", "hopeless", "scarce"]

_SCARCE: Mapping[int, str] = {
    errno.EMFILE: "the gateway has as many files open as it may (`ulimit -n`)",
    errno.ENFILE: "this machine has as many files open as it can (fs.file-max)",
    errno.ENOMEM: "this machine has no memory left",
    errno.EAGAIN: "there are as many processes as there may be (`ulimit -u`, pids.max)",
}


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Seconds before the first, second … restart in a row; ``endless`` repeats the last one.

    ``on_demand``: it is started again when it is called, and only then.
    """

    backoff_secs: tuple[float, ...]
    endless: bool = False
    on_demand: bool = False


CHILD = RestartPolicy((1.0, 2.0, 4.0))
REMOTE = RestartPolicy((1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0), endless=True)
ON_DEMAND = RestartPolicy((), on_demand=True)


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


@dataclass(frozen=True, slots=True)
class Rest:
    """Start again when somebody calls."""


def ending_of(error: OSError) -> tuple[Ending, str]:
    """What a start that the system refused means, and why it refused."""
    if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError):
        return "hopeless", str(error)
    lacking = _SCARCE.get(error.errno or 0)
    return ("scarce", f"it cannot be started: {lacking}") if lacking else ("down", str(error))


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
