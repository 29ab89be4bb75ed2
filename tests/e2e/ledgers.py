"""A gateway before servers that count what was done, and scripts of ten calls of theirs."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import SERVERS, Running

CALLS = 10
ENTRIES = [f"e{n}" for n in range(CALLS)]
TIMEOUT_SECS = 2.0  # of one call; nothing waits for it but what hangs for ever
BOUND_SECS, LOOK_SECS = 20.0, 0.01
_ZYGOTE = "zygote.main"  # in the command line of a zygote, and of its workers


def config(directory: Path, *servers: str) -> JsonObject:
    """A configuration with these ledgers, each with a file of its own in the directory."""
    ledgers: dict[str, Json] = {
        name: {
            "command": sys.executable,
            "args": [str(SERVERS / "ledger.py"), str(directory / name)],
            "timeout_secs": TIMEOUT_SECS,
        }
        for name in servers or ("ledger",)
    }
    return {
        "servers": ledgers,
        "namespaces": {"public": list(ledgers), "other": list(ledgers)},
        "auth": {"tokens": [{"name": "bob", "token": "bob's", "namespaces": ["other"]}]},
    }


@dataclass(frozen=True, slots=True)
class Ledger:
    """A gateway, and one of its servers, whose file is of its name in the directory."""

    running: Running
    directory: Path
    name: str = "ledger"

    @property
    def file(self) -> Path:
        """What the server writes to."""
        return self.directory / self.name

    @property
    def _trap(self) -> Path:
        return self.file.with_name(self.name + ".trap")

    def entries(self) -> list[str]:
        """What was done."""
        return self.file.read_text().split() if self.file.exists() else []

    def trap(self, entry: str, how: str) -> None:
        """The call of this entry is to go wrong, see ``ledger.py``."""
        self._trap.write_text(f"{entry} {how}")

    def sprung(self) -> None:
        """Return once that call has come; bounded."""
        until(lambda: not self._trap.exists())

    def session(self) -> str:
        """A new handle."""
        made: Any = self.running.run("1", session="new")
        return str(made["session"])

    def last_execution(self, session: str) -> str:
        """The last execution with calls in the session, as one finds it who never saw its id."""
        listed = str(self.running.run("1", session=session, resume="nothing")["fault"])
        assert "those with calls are" in listed
        return listed.rpartition(": ")[2].rpartition(", ")[2].strip("'.")

    def descendants(self, *, of_zygotes: bool) -> list[psutil.Process]:
        """The zygotes, or their workers."""
        all_ = self.running.guardian.children(recursive=True)
        jailed = [one for one in all_ if any(_ZYGOTE in word for word in _words(one))]
        known = {one.pid for one in jailed}
        return [one for one in jailed if (one.ppid() in known) == of_zygotes]


def _words(process: psutil.Process) -> list[str]:
    """Its command line; none, once it has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def until(condition: Callable[[], bool]) -> None:
    """Wait, bounded, for what nobody tells."""
    end = time.monotonic() + BOUND_SECS
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(LOOK_SECS)


@contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[Future[Any]]:
    """Do something in a thread; leaving waits for it."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


def end(processes: Sequence[psutil.Process]) -> None:
    """Kill processes; there must be some."""
    assert processes
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # one ends with the other
            process.send_signal(signal.SIGKILL)


def _in_a_row(server: str, at: int, death: str) -> str:
    lines = []
    for n in range(CALLS):
        lines += [death] * (n == at)
        lines.append(f'done.append(await api.server("{server}").add(entry="e{n}"))')
    return "\n".join(lines)


def _in_a_loop(server: str, at: int, death: str) -> str:
    return (
        f"for n in range({CALLS}):\n    if n == {at}:\n        {death}\n"
        f'    done.append(api.call_tool("{server}", "add", {{"entry": f"e{{n}}"}}))'
    )


def _gathered(server: str, at: int, death: str) -> str:
    return (
        f"import asyncio\nasync def one(n):\n    if n == {at}:\n        {death}\n"
        f'    return await api.server("{server}").add(entry=f"e{{n}}")\n'
        f"done = await asyncio.gather(*[one(n) for n in range({CALLS})])"
    )


SHAPES = {"in a row": _in_a_row, "in a loop": _in_a_loop, "gathered": _gathered}


def script(shape: str, server: str = "ledger", at: int = -1, death: str = "pass") -> str:
    """Ten calls; before that of number ``at`` (10: after the last) comes ``death``, one line."""
    calls = SHAPES[shape](server, at, death)
    return f"done = []\n{calls}\n{death if at == CALLS else 'pass'}\n"


VALUE = "[one and one['added'] for one in done]"


def completed(server: str) -> str:
    """What an author adds who does not know what was done: look, and do what is missing."""
    return (
        f'there = api.server("{server}").read()\n'
        f"for entry in {ENTRIES}:\n"
        f'    if entry not in there:\n        api.server("{server}").add(entry=entry)\n'
        f'sorted(api.server("{server}").read())'
    )
