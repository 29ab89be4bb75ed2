"""Does a client notice that others do harm? ``python -m bench.soak --hostile`` runs this.

A gateway with two good servers and five that do harm (``hostile_server.py``); one client calls one
of the good servers without pause, which nobody else calls: first alone, without those that do harm,
then beside clients and scripts that do harm (``hostile_clients.py``). What counts is how much
longer its calls take then, whether any is lost, and how much memory the gateway takes.
"""

import asyncio
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.client import Place, Session
from bench.hostile_server import HARMS
from mcproxy.types import JsonObject

ROOT = Path(__file__).parents[1]
START_SECS = 30.0
STOP_SECS = 10.0
REPLY_SECS = 10.0  # a call that takes longer is lost
LOOK_SECS = 0.25
ALONE = 5  # of the time, one part in so many is for the client alone
MIB = 1 << 20
SUM = b'"sum":3'


@dataclass(frozen=True, slots=True)
class Measured:
    """Calls of the good client: their times in ms, and how many were lost."""

    times: Sequence[float]
    lost: int

    @property
    def p50(self) -> float:
        return statistics.median(self.times)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.times, n=100)[98]


@dataclass(frozen=True, slots=True)
class Withstood:
    """Alone and under attack; the most memory of the gateway; its end; what was done to it."""

    alone: Measured
    attacked: Measured
    rss_mb: float
    status: int
    stop_secs: float
    done: JsonObject


async def soak(secs: float, kinds: Sequence[str] = ()) -> Withstood:
    """Measure for so many seconds, most of them under attack, by these kinds of servers and
    clients; by all, where none is named."""
    servers = [kind for kind in HARMS if kind in kinds or not kinds]
    alone_secs = secs / ALONE
    async with _gateway(()) as (_, port):
        alone = await _calls(port, alone_secs)
    async with _gateway(servers) as (process, port):
        attackers = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.hostile_clients"),
            *(str(port), str(secs - alone_secs), *kinds),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        memory: list[float] = []
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(_look(process.pid, memory))
            attacked = await _calls(port, secs - alone_secs)
            told, _ = await attackers.communicate()
            looking.cancel()
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        async with asyncio.timeout(2 * STOP_SECS):
            status = await process.wait()
        stop_secs = time.monotonic() - started
    return Withstood(alone, attacked, max(memory), status, stop_secs, json.loads(told))


@asynccontextmanager
async def _gateway(
    servers: Sequence[str],
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """The gateway's process, and its port; with so many servers that do harm."""
    with tempfile.TemporaryDirectory() as directory:
        async with _serving(Path(directory), _configuration(servers)) as served:
            yield served


def _configuration(servers: Sequence[str]) -> JsonObject:
    echo: JsonObject = {"command": sys.executable, "args": [str(ROOT / "tests/servers/echo.py")]}
    hostile: JsonObject = {
        f"hostile_{harm}": {
            "command": sys.executable,
            "args": [str(ROOT / "bench/hostile_server.py"), harm],
            "namespace": "bad",
        }
        for harm in servers
    }
    network: JsonObject = {"enabled": True, "allowed_hosts": ["example.org"]}
    return {
        "servers": {"echo": echo, "large": echo, **hostile},
        "namespaces": {
            "public": {"mode": "both", "servers": ["echo", "large"]},
            "bad": {},
            "open": {"extends": "public", "sandbox": {"network": network}},
        },
        "manifests": {"startup_dwell_secs": 5},
    }


@asynccontextmanager
async def _serving(
    directory: Path, config: JsonObject
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    (directory / "mcproxy.json").write_text(json.dumps(config))
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "main.py"), "--port", "0"),
            cwd=directory,
            env={**os.environ, "XDG_STATE_HOME": str(directory)},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=log,
        )
    try:
        yield process, await _port(directory / "log")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _port(log: Path) -> int:
    """Where the gateway listens, once it says so."""
    until = time.monotonic() + START_SECS
    while not (found := re.search(r"listening on http://[^:]+:(\d+)", _said(log))):
        if time.monotonic() > until:
            raise RuntimeError(f"the gateway did not start:\n{_said(log)[-2000:]}")
        await asyncio.sleep(LOOK_SECS)
    return int(found[1])


def _said(log: Path) -> str:
    return log.read_text("utf-8", "replace")


async def _calls(port: int, secs: float) -> Measured:
    """Call without pause, on one connection as long as it lasts."""
    times: list[float] = []
    lost = 0
    place = Place(port, "/message", shakes=False)
    until = time.perf_counter() + secs
    session: Session | None = None
    while time.perf_counter() < until:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(REPLY_SECS):
                session = session or await place.connect()
                _, body = await session.exchange(session.call("echo__add", {"a": 1, "b": 2}))
                good = SUM in body.replace(b" ", b"")
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            good = False
            if session:
                session.close()
            session = None
        if good:
            times.append((time.perf_counter() - started) * 1000)
        else:
            lost += 1
    if session:
        session.close()
    return Measured(times, lost)


async def _look(guardian: int, memory: list[float]) -> None:
    """What the gateway's process takes, in MiB, until cancelled."""
    (gateway,) = psutil.Process(guardian).children()
    while True:
        memory.append(gateway.memory_info().rss / MIB)
        await asyncio.sleep(LOOK_SECS)


def table(soaked: Withstood) -> Sequence[str]:
    """The result as lines of a Markdown table."""
    alone, attacked = soaked.alone, soaked.attacked
    done = ", ".join(f"{name} {times}" for name, times in soaked.done.items())
    return (
        "| one client's calls | calls | lost | p50 ms | p99 ms |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {len(one.times)} | {one.lost} | {one.p50:.1f} | {one.p99:.1f} |"
            for name, one in (("alone", alone), ("under attack", attacked))
        ),
        f"| ratio | | | {attacked.p50 / alone.p50:.1f} | {attacked.p99 / alone.p99:.1f} |",
        "",
        f"RSS of the gateway at most: {soaked.rss_mb:.0f} MiB",
        f"Stopped with status {soaked.status} after {soaked.stop_secs:.1f} s",
        f"Rounds of harm: {done}",
    )
