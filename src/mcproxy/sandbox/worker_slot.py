"""A worker with what belongs to it on the host, and what bounds it from there: its scratch folder,
its line to the proxy, its memory. Attended to while a script runs, cleared away afterwards.

Scratch folders on the host's disk are for the level that cannot mount one (``hardened``); in the
level ``strict`` a worker mounts a tmpfs instead. Each worker gets a folder of its own. The kernel
bounds each file (RLIMIT_FSIZE); the sum is bounded by looking, so a fast writer may pass it for a
moment.

The limits of a process do not count all memory that it keeps: pages that it wrote and may write no
more, pages that it shares, the tables of pages that lie far apart. RLIMIT_AS bounds these loosely;
here they are held to the limit that the script was given, as soon as somebody looks.
"""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from mcproxy.cancellation import finish
from mcproxy.sandbox.jail.walls import Walls
from mcproxy.sandbox.zygote_launch import EXIT_SECS
from mcproxy.sandbox.zygote_process import Exit, Worker

LOOK_EVERY_SECS = 0.05  # at 1 GB/s a writer is 50 MB over before it is stopped
MOST_ENTRIES = 1024  # files and folders; also what bounds the time of one look
_BLOCK_BYTES = 512  # unit of st_blocks, whatever the file system's own is (stat(2))


class ScratchFolders:
    """Makes and removes folders below one of its own. ``uid`` is the workers' user."""

    def __init__(self, uid: int) -> None:
        self._uid = uid
        self._base = Path(tempfile.mkdtemp(prefix="mcproxy-scratch-"))
        self._base.chmod(0o711)  # workers may be another user: they pass through, and cannot list

    def make(self) -> Path:
        """A new, empty folder that only the workers' user can enter."""
        folder = self._base / os.urandom(8).hex()  # no number: it would count other scripts
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(folder, self._uid, self._uid)
        return folder

    def remove_all(self) -> None:
        """Remove everything that is left."""
        shutil.rmtree(self._base, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove one worker's folder. Only after the worker's end, since it could write on, or where no
    script will be given to it."""
    shutil.rmtree(folder, ignore_errors=True)


def is_over(folder: Path, limit_bytes: int) -> bool:
    """Whether the files in ``folder`` use more than ``limit_bytes``, or are too many."""
    used = 0
    for count, size in enumerate(_sizes(folder), start=1):
        used += size
        if used > limit_bytes or count > MOST_ENTRIES:
            return True
    return False


def _sizes(folder: Path) -> Iterator[int]:
    """Bytes on disk of every entry below ``folder``; what vanishes meanwhile counts nothing."""
    waiting = [str(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                facts = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                yield facts.st_blocks * _BLOCK_BYTES


CLEAR_SECS = 10.0  # for a killed worker to end and its folder to be removed

Over = Literal["memory", "scratch"]  # what is bounded by looking


class Dials(Protocol):
    """What carries the connections of a worker."""

    def admitted(self, token: str) -> AbstractContextManager[None]:
        """Within it, serve the worker that shows ``token`` at the listener it shares."""

    async def serve_dials(self, dial: socket.socket) -> None:
        """Answer each byte on ``dial`` with a connected AF_UNIX stream (SCM_RIGHTS)."""


class WorkerSlot(msgspec.Struct):
    """One worker. ``over``: the limit for which it was killed, if it was."""

    worker: Worker
    folder: Path | None = None
    dial: socket.socket | None = None
    token: str | None = None
    over: Over | None = None

    async def fate(self) -> Exit | None:
        """How the worker ended; None where nobody can say."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_SECS):
                return await asyncio.shield(self.worker.exited)
        return None

    @asynccontextmanager
    async def attended(self, scratch_bytes: int, dials: Dials | None) -> AsyncIterator[None]:
        """While the script runs: bound its scratch folder, carry its connections."""
        if self.folder is None and self.dial is None:
            with dials.admitted(self.token) if self.token and dials else nullcontext():
                yield
            return
        async with asyncio.TaskGroup() as group:
            tasks = []
            if self.folder:
                tasks.append(group.create_task(self._watch(self.folder, scratch_bytes)))
            if self.dial and dials:
                tasks.append(group.create_task(dials.serve_dials(self.dial)))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def clear_away(self) -> None:
        """Kill the worker; where it has a folder, wait for its end and remove that, bounded, and
        cut short by nothing."""
        self.worker.close()
        if self.dial:
            self.dial.close()
        if self.folder:
            await finish(self._remove(self.folder), CLEAR_SECS)

    async def _remove(self, folder: Path) -> None:
        await self.fate()
        await asyncio.to_thread(remove_folder, folder)

    async def _watch(self, folder: Path, limit_bytes: int) -> None:
        while not is_over(folder, limit_bytes):  # noqa: ASYNC110 - disks tell nobody
            await asyncio.sleep(LOOK_EVERY_SECS)
        self.over = "scratch"
        self.worker.kill()


SPARE_KIB = 16 << 10  # the main thread's stack (8 MiB), and the tables of what may be kept

_PID = re.compile(rb"^Pid:\s*(\d+)", re.MULTILINE)  # -1, which is none, once it has ended
_COUNTED = re.compile(rb"^(?:RssAnon|RssShmem|VmPTE):\s*(\d+) kB", re.MULTILINE)


def most_kib(walls: Walls, data_bytes: int) -> int:
    """What a worker may have at most, in KiB: its limit on top of what a zygote of ``data_bytes``
    left it, its scratch folder mapped, and what is spared."""
    return (data_bytes >> 10) + (walls.memory_mb + walls.scratch_mb << 10) + SPARE_KIB


class Watched:
    """Within it, the worker is killed, and ``over`` set, when it has more than ``limit_kib``. Looks
    again and again; a timer costs a short script less than a task."""

    def __init__(self, seat: WorkerSlot, limit_kib: int) -> None:
        self._seat, self._limit_kib = seat, limit_kib

    def __enter__(self) -> None:
        self._again()

    def __exit__(self, *_: object) -> None:
        self._next.cancel()

    def _again(self) -> None:
        self._next = asyncio.get_running_loop().call_later(LOOK_EVERY_SECS, self._look)

    def _look(self) -> None:
        if used_kib(self._seat.worker.pidfd) <= self._limit_kib:
            self._again()
            return
        self._seat.over = "memory"
        self._seat.worker.kill()


def used_kib(pidfd: int) -> int:
    """What a process has for itself and shares, and its page tables; 0 once it has ended.

    Pages of files on disk are not in it: the kernel can take these back.
    """
    with contextlib.suppress(OSError):
        found = _PID.search(Path(f"/proc/self/fdinfo/{pidfd}").read_bytes())
        if found:
            status = Path(f"/proc/{int(found[1])}/status").read_bytes()
            return sum(map(int, _COUNTED.findall(status)))
    return 0
