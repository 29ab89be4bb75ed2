"""The program, started without importing it each time: that is most of what a start costs.

``command`` is a command line that does what ``python main.py`` does: it hands its arguments,
environment, directory and streams to a process that has imported the whole program, which forks.
Streams, signals and exit status are those of a process started anew; its memory, its command line,
its limits and its terminal are not. Where these matter, or that a command imports what it needs,
a test starts ``main.py`` itself.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.complaints import NOTES

STOP_SECS = 20.0  # it kills what it has started, which the kernel may be slow to report
_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_ENVIRONMENT = dict(os.environ)  # as it is before any test changes it


def command(*arguments: str | Path) -> list[str]:
    """The command line of the program with these arguments."""
    launcher = [sys.executable, "-I", "-S", str(_HERE / "launcher.py")]
    return [*launcher, _server().address, *map(str, arguments)]


def process_of(started: int) -> psutil.Process:
    """The program's own process: another than the one that was started with such a command line."""
    process = psutil.Process(started)
    name = process.name()
    return psutil.Process(int(name)) if name.isdecimal() else process


def pid() -> int | None:
    """The process that forks, if it was needed: it outlives the test that needed it."""
    return _server().pid if _server.cache_info().currsize else None


def cpu_secs() -> float:
    """What the process that forks, and all that has ended of what it forked, took so far."""
    return _server().cpu_secs() if _server.cache_info().currsize else 0.0


def noted() -> str:
    """What Python complained of, since this was last asked, in the programs that were started."""
    return _server().noted() if _server.cache_info().currsize else ""


def end() -> None:
    """End it, if it was needed."""
    if _server.cache_info().currsize:
        _server().end()
        _server.cache_clear()


class _Server:
    """The process that forks; it ends with this one."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.preloaded.server"],
            cwd=_ROOT,
            env=_ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.address = self._process.stdout.readline().strip()
        assert self.address, "the program could not be imported"
        self._notes = Path(self.address).with_name(NOTES)
        self._read = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_secs(self) -> float:
        return sum(psutil.Process(self.pid).cpu_times()[:4])

    def noted(self) -> str:
        if not self._notes.exists():
            return ""
        told = self._notes.read_bytes()[self._read :]
        self._read += len(told)
        return told.decode()

    def end(self) -> None:
        self._process.communicate(timeout=STOP_SECS)


_server = functools.cache(_Server)
