"""Files that are replaced as a whole or not at all, copies that never replace another, and the
variables of a ``.env``, added to it as a block with a title, by which people find them.

The quoting is the one that python-dotenv reads.
"""

import contextlib
import io
import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

_NEW_FILE, _PERMISSIONS = 0o644, 0o7777


def file_text(path: Path) -> str:
    """The text of a file with its line ends as they are; empty where there is none."""
    return path.read_bytes().decode("utf-8-sig") if path.exists() else ""


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


def _numbered(path: Path, suffix: str) -> Iterator[Path]:
    first = path.with_name(f"{path.name}{suffix}")
    others = (path.with_name(f"{path.name}{suffix}.{number}") for number in itertools.count(1))
    return itertools.chain([first], others)


_BEGIN, _END = "# >>> ", "# <<< "


def with_block(text: str, title: str, variables: Mapping[str, str]) -> str:
    """The text with a block of variables at its end."""
    before = text if not text or text.endswith("\n") else f"{text}\n"
    lines = [f"{name}={_quoted(value)}\n" for name, value in variables.items()]
    return f"{before}{_BEGIN}{title}\n{''.join(lines)}{_END}{title}\n"


def stored_variables(config: Path) -> dict[str, str]:
    """The variables of the ``.env`` beside a configuration."""
    stream = io.StringIO(file_text(config.parent / ".env"))
    from dotenv import dotenv_values  # noqa: PLC0415 - as in config/load

    values = dotenv_values(stream=stream, interpolate=False)
    return {name: value for name, value in values.items() if value is not None}


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
