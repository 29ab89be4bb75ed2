"""A memory cgroup around a zygote and its workers, where this process may make one.

The second wall around memory: it counts what the limits of a process do not, the kernel's own
memory for them too. One for all workers of a zygote, because to move a process into one makes the
whole machine wait for some 10 ms (an RCU grace period), which no script should. Best effort: most
containers cannot have it, and nothing rests on it alone.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

_EXIT_SECS = 2.0  # SIGKILL works at once; what is left then, the next gateway removes
_ASK_EVERY_SECS = 0.01

_PREFIX = "mcproxy-"
_LIMIT = {1: "memory.limit_in_bytes", 2: "memory.max"}
_SWAP = {1: "memory.swappiness", 2: "memory.swap.max"}


class Place(msgspec.Struct, frozen=True):
    """A folder in which groups can be made. ``version`` is that of the hierarchy, 1 or 2."""

    folder: Path
    version: int


class MemoryGroup:
    """One group, without a limit at first. ``add`` and ``allow`` raise OSError where refused."""

    def __init__(self, place: Place) -> None:
        self.version = place.version
        self._folder = place.folder / f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
        self._folder.mkdir()
        self._is_limited = False

    @property
    def folder(self) -> Path:
        return self._folder

    def add(self, pid: int) -> None:
        """Move a process, and what it will fork, into the group. Waits some 10 ms."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def allow(self, limit_bytes: int) -> None:
        """Let all of them together have so much, and no swap."""
        if not self._is_limited:
            with contextlib.suppress(OSError):  # a kernel without swap lacks the file
                (self._folder / _SWAP[self.version]).write_text("0")
        (self._folder / _LIMIT[self.version]).write_text(str(limit_bytes))
        self._is_limited = True

    async def remove(self) -> None:
        """Its processes have been killed; the last may still be on its way out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_SECS):
                while not self._is_removed():  # noqa: ASYNC110 - version 1 tells nobody
                    await asyncio.sleep(_ASK_EVERY_SECS)

    def _is_removed(self) -> bool:
        with contextlib.suppress(OSError):
            self._folder.rmdir()
        return not self._folder.exists()


def find(proc: Path = Path("/proc/self")) -> Place | None:
    """Where groups can be made; None where nowhere. Removes what a killed gateway left there."""
    with contextlib.suppress(OSError):
        mounts = (proc / "mountinfo").read_text().splitlines()
        own = dict(line.split(":", 2)[1:] for line in (proc / "cgroup").read_text().splitlines())
        for place in places(mounts, own):
            if _can_divide(place):
                _remove_stale(place.folder)
                return place
    return None


def places(mounts: list[str], own: dict[str, str]) -> Iterator[Place]:
    """The folders that a group could be made in. Pure. ``own``: this process's path by controllers.

    In version 2 beside this process's own group, as a group with processes cannot be divided;
    systemd allows that with ``Delegate=memory`` and ``DelegateSubgroup=``. In version 1 below it.
    """
    for line in mounts:  # proc_pid_mountinfo(5)
        mount, _, system = line.partition(" - ")
        root, at = mount.split()[3:5]
        kind, _, options = system.split(" ", 2)
        version = {"cgroup2": 2, "cgroup": 1}.get(kind)
        for controllers, path in own.items():
            mine = Path(at) / path.removeprefix(root.rstrip("/")).lstrip("/")
            if version == 2 and not controllers and mine != Path(at):
                yield Place(mine.parent, 2)
            if version == 1 and "memory" in controllers.split(",") and "memory" in options:
                yield Place(mine, 1)


def _can_divide(place: Place) -> bool:
    folder = place.folder
    if not (os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)):
        return False
    return place.version == 1 or "memory" in (folder / "cgroup.subtree_control").read_text().split()


def _remove_stale(folder: Path) -> None:
    """A group with processes cannot be removed, and that of a living gateway is left alone."""
    for group in folder.glob(f"{_PREFIX}*-*"):
        owner = group.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            with contextlib.suppress(OSError):
                group.rmdir()
