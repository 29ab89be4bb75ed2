"""The gateway from outside: time to its first answer, requests a second, processor time, memory.

Beside it, in the same run, what could not be less (``floors``): on a noisy machine the ratio to
these is what counts.
"""

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench import floors
from mcproxy.types import Json, JsonObject

ROOT = Path(__file__).parents[1]
HOST, PORT = "127.0.0.1", 12019
SECONDS = 3.0
START_SECS = 20.0


def request(method: str, params: JsonObject, path: str = "/message") -> bytes:
    """One HTTP request, as bytes on a kept connection."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def tool(name: str, **arguments: Json) -> bytes:
    """A call of a meta-tool."""
    return request("tools/call", {"name": name, "arguments": {**arguments}})


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send one request, read its reply."""
    writer.write(data)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    await reader.readexactly(length)


async def client(data: bytes, until: float, times: list[float]) -> None:
    """One client that calls without pause."""
    reader, writer = await asyncio.open_connection(HOST, PORT, limit=1 << 24)
    while time.perf_counter() < until:
        started = time.perf_counter()
        await exchange(reader, writer, data)
        times.append(time.perf_counter() - started)
    writer.close()


async def load(data: bytes, clients: int) -> tuple[float, float, float]:
    """p50 and p99 in ms, and requests a second."""
    times: list[float] = []
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(client(data, started + SECONDS, times))
    wall = time.perf_counter() - started
    cuts = statistics.quantiles(times, n=100)
    return statistics.median(times) * 1000, cuts[98] * 1000, len(times) / wall


@contextmanager
def serving(*command: str, cwd: str) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A server on PORT, and the seconds from its start to its first answer."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        asyncio.run(first_answer())
        try:
            yield process, time.perf_counter() - started
        finally:
            process.send_signal(signal.SIGTERM)


async def first_answer() -> None:
    """Return when the server has answered."""
    async with asyncio.timeout(START_SECS):
        while True:
            try:
                reader, writer = await asyncio.open_connection(HOST, PORT)
                await exchange(reader, writer, request("ping", {}))
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


def memory(pid: int) -> str:
    """PSS in MiB: the gateway, and its guardian and sandbox beside it."""
    guardian = psutil.Process(pid)
    (gateway,) = guardian.children()
    rest = [guardian, *gateway.children(recursive=True)]
    beside = sum(process.memory_full_info().pss for process in rest)
    return f"{gateway.memory_full_info().pss / 2**20:.0f} + {beside / 2**20:.0f}"


def used_ms(pid: int) -> float:
    """Processor time that a process has used."""
    used = psutil.Process(pid).cpu_times()
    return (used.user + used.system) * 1000


def row(name: str, data: bytes, pid: int) -> None:
    """One line of the table: 1 client, then 16; the processor time is that of the process."""
    one = asyncio.run(load(data, 1))
    before = used_ms(pid)
    many = asyncio.run(load(data, 16))
    cpu = (used_ms(pid) - before) / (many[2] * SECONDS)
    print(
        f"| {name} | {one[0]:.2f} | {one[1]:.2f} | {one[2]:.0f} "
        f"| {many[0]:.2f} | {many[1]:.2f} | {many[2]:.0f} | {cpu:.3f} |"
    )


def gateway_pid(guardian: subprocess.Popen[bytes]) -> int:
    """The process that answers."""
    (gateway,) = psutil.Process(guardian.pid).children()
    return gateway.pid


def main() -> None:
    """Print the tables."""
    python, entry = sys.executable, str(ROOT / "main.py")
    command = [python, str(ROOT / "tests/servers/echo.py")]
    direct = tool("echo__add", a=1, b=2)
    with tempfile.TemporaryDirectory() as cwd:
        config = Path(cwd, "mcproxy.json")
        echo: JsonObject = {"command": command[0], "args": [*command[1:]]}
        print(
            "| request | p50 ms | p99 ms | a second | p50 ms (16) | p99 ms (16) | a second (16) "
            "| CPU ms |"
        )
        print("|---|---|---|---|---|---|---|---|")
        with serving(*floors.bare(PORT), cwd=cwd) as (process, _):
            row("bare ASGI application", request("ping", {}), process.pid)
        with serving(*floors.least(PORT, command), cwd=cwd) as (process, _):
            row("least gateway, one call", direct, process.pid)
        config.write_text("{}")
        with serving(python, entry, "--port", str(PORT), cwd=cwd) as (process, empty_secs):
            idle = memory(process.pid)
        public: JsonObject = {"mode": "both", "servers": ["echo"]}
        config.write_text(json.dumps({"servers": {"echo": echo}, "namespaces": {"public": public}}))
        with serving(python, entry, "--port", str(PORT), cwd=cwd) as (process, _):
            gateway = gateway_pid(process)
            row("ping", request("ping", {}), gateway)
            row("tools/list", request("tools/list", {}), gateway)
            row("direct mode, one call", direct, gateway)
            row("the same at /mcp", direct.replace(b"/message", b"/mcp", 1), gateway)
            row("search", tool("search", query="add two numbers"), gateway)
            row("execute, no call", tool("execute", code="1 + 1"), gateway)
            row(
                "execute, one call",
                tool("execute", code='api.server("echo").add(a=1, b=2)'),
                gateway,
            )
            after = memory(process.pid)
    print(f"\nA call over a server's pipe: {asyncio.run(floors.pipe_ms(command)):.2f} ms")
    print(f"A fork of a small process, to its end: {floors.fork_ms():.2f} ms")
    print(f"Start to first answer without servers: {empty_secs * 1000:.0f} ms")
    print(f"Memory (PSS) in MiB, gateway + guardian, sandbox, servers: {idle}; loaded: {after}")
    print(f"Load average: {os.getloadavg()[0]:.1f}")
