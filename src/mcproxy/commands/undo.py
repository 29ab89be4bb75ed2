"""Files that a command changes together, and how that is taken back byte for byte.

What the files were is kept in the state directory, readable by nobody else, before the first of
them is written: there may be secrets in them. A file that others have changed since is not
overwritten, unless the caller can merge.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from mcproxy.commands.files import replace_file
from mcproxy.commands.report import CommandReport
from mcproxy.config.state import replace_private
from mcproxy.errors import McproxyError

KEPT = 50  # changes; older ones can no longer be taken back
_FOLDER = "undo"

Merge: TypeAlias = Callable[[str, str], str | None]
"""The text that a file is to have, of its text before the change and its text now."""


class CannotUndo(McproxyError):
    """Nothing was changed."""


class _File(msgspec.Struct, frozen=True):
    path: str
    before: bytes | None
    after: str  # its SHA-256


class _Change(msgspec.Struct, frozen=True):
    subject: str
    files: tuple[_File, ...]


def change(state: Path, subject: str, texts: Mapping[Path, str], private: Path | None) -> None:
    """Write the texts, ``private`` readable by nobody else where it is new. Raises OSError.

    ``subject`` is what it is taken back by.
    """
    files = tuple(
        _File(str(path.absolute()), _read(path), _hash(text.encode()))
        for path, text in texts.items()
    )
    folder = state / _FOLDER
    kept = folder / f"{time.time_ns():020d}.json"
    replace_private(kept, msgspec.json.encode(_Change(subject, files)))
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path == private:
            replace_file(path, text, mode=0o600)
        else:
            replace_file(path, text)
    for old in sorted(folder.glob("*.json"))[:-KEPT]:
        old.unlink(missing_ok=True)


def take_back(
    state: Path, subject: str, merges: Mapping[Path, Merge] | None = None
) -> CommandReport:
    """Make the files what they were before the last change of this subject, and say which.

    Raises CannotUndo where there is no such change, or a file has changed since and no merge gives
    its text; OSError.
    """
    kept, found = _last(state, subject)
    known = merges or {}
    texts = {Path(file.path): _restored(file, known.get(Path(file.path))) for file in found.files}
    for path, data in texts.items():
        if data is None:
            path.unlink(missing_ok=True)
        else:
            replace_file(path, data.decode("utf-8", "surrogateescape"))
    kept.unlink()
    paths = [str(path) for path in texts]
    return CommandReport(
        tuple(f"{path}: is as it was" for path in paths), facts={"restored": [*paths]}
    )


def _last(state: Path, subject: str) -> tuple[Path, _Change]:
    for path in sorted((state / _FOLDER).glob("*.json"), reverse=True):
        with contextlib.suppress(msgspec.DecodeError):
            found = msgspec.json.decode(path.read_bytes(), type=_Change)
            if found.subject == subject:
                return path, found
    raise CannotUndo("there is nothing to undo")


def _restored(file: _File, merge: Merge | None) -> bytes | None:
    path = Path(file.path)
    now = _read(path)
    if now is not None and _hash(now) == file.after:
        return file.before
    if now is not None and file.before is not None and merge:
        merged = merge(file.before.decode(), now.decode())
        if merged is not None:
            return merged.encode()
    raise CannotUndo(
        f"{path} has changed since; undo first what changed it after, or do it by hand"
    )


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
