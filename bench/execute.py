"""What one ``execute`` costs in the sandbox: latency, throughput, memory.

    python bench/execute.py [--level strict|hardened|seccomp] [--seconds N]

Everything is measured in one run beside a fresh ``python3 -I -c pass``: read the ratios, because
the machine is never quiet. Latency is that of ``Pool.run``, without HTTP and without an upstream.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import uvloop

from mcproxy.sandbox.jail.walls import Wall
from mcproxy.sandbox.pool import Pool, PoolSettings
from mcproxy.sandbox.profile import Profile
from mcproxy.types import Job, Json, Limits, ToolRef, ToolResult

ROUNDS = 60
CLIENTS = 4
SETTLE_SECS = 10.0
WITHHELD: Mapping[str, tuple[Wall, ...]] = {
    "strict": (),
    "hardened": ("namespaces",),
    "seccomp": ("namespaces", "landlock"),
}
NO_CALL = Job("result = 1 + 1", Limits())
ONE_CALL = Job('result = await api.call_tool("s", "t", {"x": 1})', Limits())


async def echo(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
    """A tool that costs nothing."""
    return ToolResult(b'{"content":[{"type":"text","text":"1"}]}')


async def main() -> None:
    """Print one table."""
    options = _options()
    withheld = WITHHELD[options.level]
    print(f"level {options.level}, {os.cpu_count()} processors, Python {sys.version.split()[0]}")
    _row("", ["p50 ms", "p95 ms"])
    _row("python3 -I -c pass, fresh", _percentiles(await _timed(_fresh, ROUNDS // 3)))
    settings = PoolSettings(min_level="seccomp", size=2, withhold=withheld)
    async with Pool(settings, {"": Profile()}) as pool:
        await pool.start()
        for name, job in (("no call", NO_CALL), ("1 call", ONE_CALL)):
            times = await _timed(partial(_execute, pool, job), ROUNDS, pool)
            _row(f"execute, {name}, worker ready", _percentiles(times))
        rate = await _rate(pool, options.seconds)
        await _until_ready(pool)
        sizes = [_proportional_mib(pid) for pid in sorted(_descendants(os.getpid()))]
    settings = PoolSettings(min_level="seccomp", size=0, withhold=withheld)
    async with Pool(settings, {"": Profile()}) as pool:
        await pool.start()
        times = await _timed(partial(_execute, pool, ONE_CALL), ROUNDS)
        _row("execute, 1 call, worker missing", _percentiles(times))
    print(f"{rate:.0f} executions a second ({CLIENTS} clients)")
    print("PSS, MiB:", ", ".join(f"{size:.1f}" for size in sizes if size))
    print("  in the order of their making: zygote (two processes in strict), then ready workers")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--level", choices=list(WITHHELD), default="strict")
    parser.add_argument("--seconds", type=float, default=2.0, help="of the throughput part")
    return parser.parse_args()


async def _fresh() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", "pass")
    await process.wait()


async def _execute(pool: Pool, job: Job) -> None:
    outcome = await pool.run(job, echo)
    assert outcome.error is None, outcome.error


async def _timed(
    work: Callable[[], Awaitable[None]], rounds: int, pool: Pool | None = None
) -> Sequence[float]:
    """Milliseconds of each round; with ``pool``, each begins with a worker ready."""
    times = []
    for _ in range(rounds):
        if pool:
            await _until_ready(pool)
        started = time.perf_counter()
        await work()
        times.append((time.perf_counter() - started) * 1000)
    return times


async def _until_ready(pool: Pool) -> None:
    async with asyncio.timeout(SETTLE_SECS):
        while pool.stats.ready < 2:  # noqa: ASYNC110 - a benchmark may look
            await asyncio.sleep(0.001)


async def _rate(pool: Pool, seconds: float) -> float:
    end = time.perf_counter() + seconds
    before = pool.stats.executions

    async def client() -> None:
        while time.perf_counter() < end:
            await _execute(pool, ONE_CALL)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CLIENTS):
            tasks.create_task(client())
    return (pool.stats.executions - before) / seconds


def _percentiles(times: Sequence[float]) -> list[str]:
    ranks = statistics.quantiles(times, n=20)
    return [f"{statistics.median(times):.2f}", f"{ranks[18]:.2f}"]


def _row(name: str, cells: Sequence[str]) -> None:
    print(f"{name:34}" + "".join(f"{cell:>10}" for cell in cells))


def _descendants(parent: int) -> list[int]:
    found = [int(child) for child in _read(f"/proc/{parent}/task/{parent}/children").split()]
    return found + [deeper for child in found for deeper in _descendants(child)]


def _proportional_mib(pid: int) -> float:
    lines = _read(f"/proc/{pid}/smaps_rollup").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _read(path: str) -> str:
    """Empty when the process has just ended."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    uvloop.run(main())
