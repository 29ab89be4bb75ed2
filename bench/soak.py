"""Does anything pile up? Servers crash, are called, added and removed, round after round.

    python -m bench.soak [--rounds N] [--servers N] [--calls N]
    python -m bench.soak --hostile [--secs N] [KIND ...]  beside peers that do harm: ``hostile``

After a warm-up the process's children, file descriptors and memory are counted, then again after
all rounds. Children and descriptors must be what they were; memory may grow by what caches hold.
"""

import argparse
import asyncio
import gc
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop
from msgspec.structs import replace

from bench import hostile
from mcproxy.call_errors import ServerDown
from mcproxy.config.load import Loaded, load_document
from mcproxy.exchange import NOBODY
from mcproxy.types import JsonObject, ToolRef
from mcproxy.upstream.fleet import Fleet, wanted

ECHO = Path(__file__).parents[1] / "tests/servers/echo.py"
SETTLE_SECS = 60.0
LOOK_SECS = 0.05
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds at one moment."""

    children: int
    descriptors: int
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Soaked:
    """What was held before and after, and what was done between."""

    before: Held
    after: Held
    calls: int
    crashes: int
    reloads: int


def descendants() -> frozenset[int]:
    """The processes that this one has started, and those that these have."""
    return frozenset(child.pid for child in psutil.Process().children(recursive=True))


def held(others: frozenset[int]) -> Held:
    """Count now, with all descendants but the ``others`` that were there before."""
    gc.collect()
    process = psutil.Process()
    rss_mb = process.memory_info().rss / MIB
    return Held(len(descendants() - others), process.num_fds(), rss_mb)


async def soak(rounds: int, servers: int, calls: int) -> Soaked:
    """Run a fleet through ``rounds``, after one more to warm up; in each round every server gets so
    many ``calls``, and crashes."""
    with tempfile.TemporaryDirectory() as state:
        changed = asyncio.Event()
        fleet = Fleet(_loaded(state, servers, guest=""), lambda _: changed.set())
        run = _Run(fleet, state, changed, servers, calls)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(fleet.run())
            await run.settle()
            await run.round(0)
            before = held(run.others)
            for number in range(1, rounds + 1):
                await run.round(number)
            after = held(run.others)
            task.cancel()
    return Soaked(before, after, run.calls, run.crashes, run.reloads)


class _Run:
    """One fleet under test."""

    def __init__(
        self, fleet: Fleet, state: str, changed: asyncio.Event, servers: int, calls: int
    ) -> None:
        self._fleet, self._state, self._changed = fleet, state, changed
        self._servers, self._calls_each = servers, calls
        self.others = descendants()
        self.calls = self.crashes = self.reloads = 0

    async def round(self, number: int) -> None:
        """Calls, a crash of every server, a guest that comes and goes."""
        names = [f"server{index}" for index in range(self._servers)]
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(self._call(name))
        self._apply(guest=f"guest{number}")
        await self.settle()
        await self._fleet.call(NOBODY, ToolRef(f"guest{number}", "add"), {"a": 1, "b": 1})
        await asyncio.gather(*map(self._crash, names))
        self._apply(guest="")
        await self.settle()

    async def settle(self) -> None:
        """Wait until all servers are ready and nothing of former ones is left."""
        async with asyncio.timeout(SETTLE_SECS):
            while any(one.state != "ready" for one in self._fleet.health().values()):
                self._changed.clear()
                self._fleet.restart_failed()  # a round is a crash, and the fourth in a row is final
                await self._changed.wait()
            expected = len(self._fleet.health())
            while held(self.others).children != expected:  # noqa: ASYNC110  nobody tells when one is reaped
                await asyncio.sleep(LOOK_SECS)

    async def _call(self, name: str) -> None:
        for number in range(self._calls_each):
            await self._fleet.call(NOBODY, ToolRef(name, "add"), {"a": number, "b": 1})
            self.calls += 1

    async def _crash(self, name: str) -> None:
        try:
            await self._fleet.call(NOBODY, ToolRef(name, "crash"), {})
        except ServerDown:
            self.crashes += 1

    def _apply(self, guest: str) -> None:
        self._fleet.apply(wanted(_loaded(self._state, self._servers, guest)))
        self.reloads += 1


def _loaded(state: str, servers: int, guest: str) -> Loaded:
    names = [f"server{index}" for index in range(servers)] + ([guest] if guest else [])
    definition: JsonObject = {"command": sys.executable, "args": [str(ECHO)]}
    loaded = load_document({"servers": dict.fromkeys(names, definition)})
    return replace(loaded, environment={**os.environ, "XDG_STATE_HOME": state})


def table(soaked: Soaked) -> Sequence[str]:
    """The result as lines of a Markdown table."""
    before, after = soaked.before, soaked.after
    return (
        f"{soaked.calls} calls, {soaked.crashes} crashes, {soaked.reloads} reloads",
        "",
        "| | before | after |",
        "|---|---|---|",
        f"| child processes | {before.children} | {after.children} |",
        f"| open descriptors | {before.descriptors} | {after.descriptors} |",
        f"| RSS of the gateway's part, MiB | {before.rss_mb:.1f} | {after.rss_mb:.1f} |",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--servers", type=int, default=5)
    parser.add_argument("--calls", type=int, default=200, help="to each server in each round")
    parser.add_argument("--hostile", action="store_true", help="beside peers that do harm")
    parser.add_argument(
        "--secs", type=float, default=600.0, help="of --hostile; default: %(default)g"
    )
    parser.add_argument(
        "kinds", nargs="*", metavar="KIND", help="of harm, with --hostile: only these"
    )
    options = parser.parse_args()
    if options.hostile:
        print("\n".join(hostile.table(asyncio.run(hostile.soak(options.secs, options.kinds)))))
        return
    logging.disable(logging.CRITICAL)  # every crash is told
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print("\n".join(table(runner.run(soak(options.rounds, options.servers, options.calls)))))


if __name__ == "__main__":
    main()
