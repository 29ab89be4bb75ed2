"""Tells when files change. Does not read them, and does not act.

By asking the file system a few times a second: two ``stat`` calls cost nothing, and unlike inotify
they also see a bind mount, a network file system, an editor that replaces the file, and the
symbolic links that Kubernetes swaps.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TypeAlias

POLL_SECS = 0.25  # a change is told once it has stood still this long: at most half a second late

_Signature: TypeAlias = tuple[tuple[int, int, int] | None, ...]


async def changes(paths: Sequence[Path]) -> AsyncGenerator[None]:
    """Yield each time that one of the files was changed, made or removed, and is left alone again.

    A file that is still being written changes from look to look, and is waited for.
    """
    told = before = _signature(paths)
    while True:
        await asyncio.sleep(POLL_SECS)
        now = _signature(paths)
        if now == before and now != told:
            told = now
            yield
        before = now


def _signature(paths: Sequence[Path]) -> _Signature:
    return tuple(_file_signature(path) for path in paths)


def _file_signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
