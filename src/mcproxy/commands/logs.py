"""``mcproxy logs [SERVER] [-f]``: the end of a log file, and what comes after it."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mcproxy.commands.report import GOOD
from mcproxy.commands.screen import SCHEMA, Screen
from mcproxy.errors import McproxyError
from mcproxy.observe.log_files import log_path, set_aside

LOOK_SECS = 0.2  # between two looks at a file that is followed
CHUNK_BYTES = 1 << 16


class NoLog(McproxyError):
    """There is nothing to show."""


def logs(
    state: Path, server: str | None, screen: Screen, shown: tuple[int, bool], *, as_json: bool
) -> int:
    """Print the last lines, ``shown`` says how many and whether to go on until stopped.

    Raises NoLog.
    """
    count, follow = shown
    path = log_path(state, server)
    there = path.exists() or set_aside(path).exists()
    if not there and not follow:
        known = ", ".join(sorted(_servers(state))) or "none"
        what = f"server {server!r} has written nothing, or is none" if server else "no log yet"
        raise NoLog(f"{what} ({path}); logs of servers: {known}")
    lines = last_lines(path, count) if count > 0 else []
    if as_json and not follow:
        screen.json({"server": server, "lines": [*lines]})
        return GOOD
    _print(lines, screen, as_json=as_json)
    for more in _followed(path) if follow else ():
        _print(more, screen, as_json=as_json)
    return GOOD


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log: of its file, and of the one that was set aside before."""
    files = (set_aside(path), path)
    text = "".join(
        each.read_text(encoding="utf-8", errors="replace") for each in files if each.exists()
    )
    return text.splitlines()[-count:]


def _print(lines: Sequence[str], screen: Screen, *, as_json: bool) -> None:
    for line in lines:
        screen.line(json.dumps({"schema": SCHEMA, "line": line}) if as_json else line)


def _servers(state: Path) -> Iterator[str]:
    for path in log_path(state).parent.glob("server-*.log"):
        name = path.name.removeprefix("server-").removesuffix(".log")
        if not name.endswith(".1"):
            yield name


def _followed(path: Path) -> Iterator[list[str]]:
    """What is written from now on, whole lines; a file that was set aside is read to its end."""
    at = path.stat().st_size if path.exists() else 0
    inode = path.stat().st_ino if path.exists() else None
    while True:
        time.sleep(LOOK_SECS)
        if not path.exists():
            continue
        found = path.stat()
        if inode is not None and found.st_ino != inode:
            lines, _ = _read_from(set_aside(path), at)
            yield lines
            at = 0
        inode = found.st_ino
        lines, at = _read_from(path, at)
        yield lines


def _read_from(path: Path, at: int) -> tuple[list[str], int]:
    """The whole lines behind a place, and where they end."""
    if not path.exists():
        return [], at
    with path.open("rb") as file:
        file.seek(at)
        data = file.read(CHUNK_BYTES)
    whole = data[: data.rfind(b"\n") + 1]
    return whole.decode("utf-8", "replace").splitlines(), at + len(whole)
