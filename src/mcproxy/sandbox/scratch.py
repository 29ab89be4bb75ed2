"""Scratch folders on the host's disk, for the level that cannot mount one (``hardened``).

Each worker gets a folder of its own, which is removed after its script. The kernel bounds each file
(RLIMIT_FSIZE); the sum is bounded by looking, so a fast writer may pass it for a moment. In the
level ``strict`` a worker mounts a tmpfs instead and this file is not used.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

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


def remove(folder: Path) -> None:
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
