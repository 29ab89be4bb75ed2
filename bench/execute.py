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
SLOW_SECS = 0.05
SCRIPTS: Mapping[str, str] = {
    "no call": "result = 1 + 1",
    "1 call": 'result = await api.call_tool("s", "t", {"x": 1})',
    "10 calls, one after the other": "for n in range(10): api.server('s').t(x=n)",
    "10 calls of 50 ms at once": "await api.parallel([api.server('s').slow() for n in range(10)])",
}
ONE_CALL = Job(SCRIPTS["1 call"], Limits())


async def tools(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
    """Tools that cost nothing, or time."""
    if ref.tool == "slow":
        await asyncio.sleep(SLOW_SECS)
    return ToolResult(b'{"content":[{"type":"text","text":"1"}]}')


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--level", choices=list(WITHHELD), default="strict")
    parser.add_argument("--seconds", type=float, default=2.0, help="of the throughput part")
    options = parser.parse_args(arguments)
    uvloop.run(_measure(options.level, options.seconds))


async def _measure(level: str, seconds: float) -> None:
    withheld = WITHHELD[level]
    print("| | p50 ms | p95 ms |\n|---|---|---|")
    _row("`python3 -I -c pass`, fresh", await _timed(_fresh, ROUNDS // 3))
    settings = PoolSettings(min_level="seccomp", size=2, withhold=withheld)
    async with Pool(settings, {"": Profile()}) as pool:
        await pool.start()
        for name, source in SCRIPTS.items():
            work = partial(_execute, pool, Job(source, Limits()))
            _row(f"execute, {name}, worker ready", await _timed(work, ROUNDS, pool))
        rate = await _rate(pool, seconds)
        await _until_ready(pool)
        # In the order of their making: the zygote (two processes in strict), then ready workers.
        *zygote, _, worker = map(_proportional_mib, sorted(_descendants(os.getpid())))
    settings = PoolSettings(min_level="seccomp", size=0, withhold=withheld)
    async with Pool(settings, {"": Profile()}) as pool:
        await pool.start()
        missing = partial(_execute, pool, ONE_CALL)
        _row("execute, 1 call, worker missing", await _timed(missing, ROUNDS))
    print(f"\nLevel {level}, {os.cpu_count()} processors, Python {sys.version.split()[0]}")
    print(f"Executions a second, {CLIENTS} clients: {rate:.0f}")
    print(f"Memory (PSS) in MiB: zygote {sum(zygote):.1f}, a ready worker {worker:.1f}")
    print(f"Load average: {os.getloadavg()[0]:.1f}")


async def _fresh() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", "pass")
    await process.wait()


async def _execute(pool: Pool, job: Job) -> None:
    outcome = await pool.run(job, tools)
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


def _row(name: str, times: Sequence[float]) -> None:
    ranks = statistics.quantiles(times, n=20)
    print(f"| {name} | {statistics.median(times):.2f} | {ranks[18]:.2f} |")


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
    main(sys.argv[1:])
