"""What the tests of the sandbox share: pools at a chosen level, and looking at processes."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcproxy.errors import SandboxUnavailable
from mcproxy.sandbox.pool import Pool, PoolSettings
from mcproxy.sandbox.profile import Profile
from mcproxy.types import Job, Json, Level, Limits, Outcome, SandboxReport, ToolRef, ToolResult
from tests.preloaded import program

LEVELS: tuple[Level, ...] = ("strict", "hardened", "seccomp")
SETTLE_SECS = 10.0
SMALL = Limits(timeout_secs=5, memory_mb=64)
CALL = "result = api.call_tool('s', 'wait')"


async def echo(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
    """Every tool answers with its own name."""
    return ToolResult(b'{"content":[{"type":"text","text":"%b"}]}' % ref.tool.encode())


class Meeting:
    """A tool that answers once it is told to; ``reached`` is set when it is called."""

    def __init__(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        self.reached.set()
        await self.go.wait()
        return await echo(ref, arguments)


def at(level: Level, size: int = 1) -> PoolSettings:
    """For a pool at this level: it tries no other, each of which takes a zygote of its own."""
    return PoolSettings(level, level, size)


async def started(pool: Pool) -> SandboxReport:
    """Start it; the test is skipped where the machine lacks its level."""
    try:
        return await pool.start()
    except SandboxUnavailable as reason:
        pytest.skip(str(reason))


@asynccontextmanager
async def pool_at(
    level: Level, profile: Profile | None = None, size: int = 1
) -> AsyncIterator[Pool]:
    """A started pool at exactly ``level``; the test is skipped where the machine lacks it."""
    async with Pool(at(level, size), {"": profile or Profile(limits=SMALL)}) as pool:
        await started(pool)
        await settles(lambda: pool.stats.ready == size)
        yield pool


async def run(pool: Pool, source: str, limits: Limits = SMALL) -> Outcome:
    return await pool.run(Job(source, limits), echo)


def is_running(pid: int) -> bool:
    """A process that has ended, and is not yet waited for by its parent, is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(*, dead: bool = False) -> set[int]:
    """The processes below this one, without what starts programs for tests; those that are dead and
    not waited for only where these count, too."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  looked at every few milliseconds
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb", buffering=0) as stat:  # noqa: PTH123
                    state, parent = stat.read().rpartition(b")")[2].split(None, 2)[:2]
            except OSError:
                continue
            if dead or state != b"Z":
                parents[int(name)] = int(parent)
    parents.pop(program.pid() or 0, None)
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


async def settles(condition: Callable[[], bool]) -> None:
    """Wait for something outside this event loop; TimeoutError if it does not come."""
    async with asyncio.timeout(SETTLE_SECS):
        while not condition():  # noqa: ASYNC110 - the kernel sends no event for it
            await asyncio.sleep(0.01)
