"""Which gateways of this user run now: each leaves a private file in the state directory, so that
commands find it. One that was killed leaves its file behind, which counts for nothing.

Knows a process by its id and the time at which the kernel says that it began, since ids are used
again.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mcproxy.config.state import replace_private

_FOLDER = "gateways"
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  where a wildcard is reached


class RunningGateway(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway that listens; ``configuration`` is the path of its file, empty for the demo."""

    pid: int
    url: str
    configuration: str = ""
    version: str = ""
    began: str = ""


def url_of(host: str, port: int) -> str:
    """Where a gateway that was bound to this address is reached from its own machine."""
    reached = _LOOPBACK.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


@contextlib.contextmanager
def announced(state: Path, url: str, configuration: Path | None, version: str) -> Iterator[None]:
    """While inside, commands find this process. Where nothing can be written they do not."""
    pid = os.getpid()
    path = state / _FOLDER / f"{pid}.json"
    source = str(configuration.absolute()) if configuration else ""
    this = RunningGateway(
        pid=pid, url=url, configuration=source, version=version, began=_began(pid)
    )
    with contextlib.suppress(OSError):
        replace_private(path, msgspec.json.encode(this))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def running_gateways(state: Path) -> list[RunningGateway]:
    """Those that run, the newest first; files of those that do not are removed."""
    found: list[tuple[float, RunningGateway]] = []
    for path in (state / _FOLDER).glob("*.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            each = msgspec.json.decode(path.read_bytes(), type=RunningGateway)
            if _began(each.pid) == each.began and _alive(each.pid):
                found.append((path.stat().st_mtime, each))
            else:
                path.unlink(missing_ok=True)
    return [each for _, each in sorted(found, key=lambda pair: pair[0], reverse=True)]


def chosen(
    gateways: list[RunningGateway], configuration: Path | None, *, named: bool
) -> RunningGateway | None:
    """The gateway that a command means: that of this configuration; where none was ``named``, else
    the newest. Pure."""
    source = str(configuration.absolute()) if configuration else ""
    same = [each for each in gateways if each.configuration == source]
    others = [] if named else gateways
    return next(iter([*same, *others]), None)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def _began(pid: int) -> str:
    """When the process began, in ticks since the boot; empty where there is no such process, or no
    /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
