"""The memory of a worker, looked at from outside while its script runs.

The limits of a process do not count everything that it keeps: pages that it wrote and may write no
more, pages that it shares, the tables of pages that lie far apart. RLIMIT_AS bounds these loosely;
here they are held to the limit that the script was given, as soon as somebody looks.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcproxy.sandbox.jail.walls import Walls
from mcproxy.sandbox.worker_slot import WorkerSlot

LOOK_EVERY_SECS = 0.05  # at 2 GB/s a script is 100 MB over before it is stopped
SPARE_KIB = 16 << 10  # the main thread's stack (8 MiB), and the tables of what may be kept

_PID = re.compile(rb"^Pid:\s*(\d+)", re.MULTILINE)  # -1, which is none, once it has ended
_COUNTED = re.compile(rb"^(?:RssAnon|RssShmem|VmPTE):\s*(\d+) kB", re.MULTILINE)


def most_kib(walls: Walls, data_bytes: int) -> int:
    """What a worker may have at most, in KiB: its limit on top of what a zygote of ``data_bytes``
    left it, its scratch folder mapped, and what is spared."""
    return (data_bytes >> 10) + (walls.memory_mb + walls.scratch_mb << 10) + SPARE_KIB


@contextmanager
def watched(seat: WorkerSlot, limit_kib: int) -> Iterator[None]:
    """Within it, the worker is killed, and ``over`` set, when it has more than that."""
    watch = _Watch(seat, limit_kib)
    try:
        yield
    finally:
        watch.next.cancel()


class _Watch:
    """Looks again and again; a timer costs a short script less than a task."""

    def __init__(self, seat: WorkerSlot, limit_kib: int) -> None:
        self._seat, self._limit_kib = seat, limit_kib
        self._again()

    def _again(self) -> None:
        self.next = asyncio.get_running_loop().call_later(LOOK_EVERY_SECS, self._look)

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
