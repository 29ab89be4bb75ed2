"""A process that has nearly as many files open as it may."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def fill() -> list[int]:
    """Open files until there is no descriptor left."""
    held: list[int] = []
    with suppress(OSError):
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    return held


@contextmanager
def descriptors_left(free: int) -> Iterator[Callable[[], None]]:
    """Within, this process can open so many files more; what is given ends the shortage early."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(int(one.name) for one in Path("/proc/self/fd").iterdir()) + 2 + free
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    held = fill()

    def end() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        while held:
            os.close(held.pop())

    try:
        for _ in range(free):
            os.close(held.pop())
        yield end
    finally:
        end()
