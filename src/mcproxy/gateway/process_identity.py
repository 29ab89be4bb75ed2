"""Who ran an execution, and whether it still lives: a process of this machine, told apart from a
later one of the same number by when it started."""

import functools
import os
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_ENDED = "ZX"  # as which a process is seen that nobody has asked for its status yet
_STARTED = 19  # field 22 of /proc/PID/stat (proc_pid_stat(5)), counted behind the name


@functools.cache
def this_process() -> str:
    """The identity of this process."""
    return _identity(os.getpid()) or "unknown"


def lives(identity: str) -> bool:
    """Whether the process is there. One of another machine, or of another container, is taken to
    be gone: nothing can be seen of it."""
    pid = identity.rpartition(":")[0].rpartition(":")[2]
    return pid.isdigit() and _identity(int(pid)) == identity


def _identity(pid: int) -> str | None:
    try:
        boot = _BOOT.read_text().strip()
        place = Path("/proc/self/ns/pid").readlink()
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = status.rpartition(")")[2].split()
    return None if fields[0] in _ENDED else f"{boot}:{place}:{pid}:{fields[_STARTED]}"
