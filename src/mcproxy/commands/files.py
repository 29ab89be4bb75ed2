"""Files that are replaced as a whole or not at all, and copies that never replace another."""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NEW_FILE, _PERMISSIONS = 0o644, 0o7777


def replace_file(path: Path, text: str, *, mode: int = _NEW_FILE) -> None:
    """Write the text so that a reader sees the old file or the new one, never a part.

    Owner and permissions of an existing file stay; a new one gets ``mode``. A symbolic link stays
    one: what it points to is replaced. Raises OSError.
    """
    target = path.resolve()
    old = target.stat() if target.exists() else None
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    written = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            if old:
                with contextlib.suppress(PermissionError):  # only root may give files away
                    os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, old.st_mode & _PERMISSIONS if old else mode)
            os.fsync(descriptor)
        written.replace(target)
    except BaseException:
        written.unlink(missing_ok=True)
        raise


def keep_copy(path: Path, suffix: str) -> Path:
    """Copy the file to ``PATH<suffix>``, or to the first of ``PATH<suffix>.1``, ``.2`` … that does
    not exist. Raises OSError."""
    content, mode = path.read_bytes(), path.stat().st_mode & _PERMISSIONS
    for copy in _numbered(path, suffix):
        try:
            descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fsync(descriptor)
        return copy
    raise AssertionError


def last_copy(path: Path, suffix: str) -> Path | None:
    """The copy that ``keep_copy`` made last."""
    existing = list(itertools.takewhile(Path.exists, _numbered(path, suffix)))
    return existing[-1] if existing else None


def _numbered(path: Path, suffix: str) -> Iterator[Path]:
    first = path.with_name(f"{path.name}{suffix}")
    others = (path.with_name(f"{path.name}{suffix}.{number}") for number in itertools.count(1))
    return itertools.chain([first], others)
