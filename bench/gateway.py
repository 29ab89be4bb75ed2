"""The gateway from outside: time to its first answer, requests a second, memory.

Beside it, in the same run, a bare Starlette answer on the same server: on a noisy machine the ratio
between the two is what counts.
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

from mcproxy.types import Json, JsonObject

ROOT = Path(__file__).parents[1]
HOST, PORT = "127.0.0.1", 12019
SECONDS = 3.0
START_SECS = 20.0

BARE = """
import asyncio, sys, uvicorn, uvloop
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
async def answer(request):
    await request.body()
    return Response(b'{"jsonrpc":"2.0","id":1,"result":{}}', media_type="application/json")
app = Starlette(routes=[Route("/message", answer, methods=["POST"])])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False,
            lifespan="off", loop="uvloop", http="httptools")
"""


def request(method: str, params: JsonObject) -> bytes:
    """One HTTP request, as bytes on a kept connection."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    head = f"POST /message HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n"
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
    """p50 and p95 in ms, and requests a second."""
    times: list[float] = []
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(client(data, started + SECONDS, times))
    wall = time.perf_counter() - started
    cuts = statistics.quantiles(times, n=20)
    return statistics.median(times) * 1000, cuts[18] * 1000, len(times) / wall


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


def row(name: str, data: bytes) -> None:
    """One line of the table: 1 client, then 16."""
    one = asyncio.run(load(data, 1))
    many = asyncio.run(load(data, 16))
    print(
        f"| {name} | {one[0]:.2f} | {one[1]:.2f} | {one[2]:.0f} "
        f"| {many[0]:.2f} | {many[1]:.2f} | {many[2]:.0f} |"
    )


def main() -> None:
    """Print the tables."""
    python, entry = sys.executable, str(ROOT / "main.py")
    with tempfile.TemporaryDirectory() as cwd:
        config = Path(cwd, "mcproxy.json")
        echo = {"command": python, "args": [str(ROOT / "tests/servers/echo.py")]}
        print(
            "| request | p50 ms | p95 ms | a second | p50 ms (16) | p95 ms (16) | a second (16) |"
        )
        print("|---|---|---|---|---|---|---|")
        with serving(python, "-c", BARE, str(PORT), cwd=cwd):
            row("bare Starlette", request("ping", {}))
        config.write_text("{}")
        with serving(python, entry, "--port", str(PORT), cwd=cwd) as (process, empty_secs):
            idle = memory(process.pid)
        public: JsonObject = {"mode": "both", "servers": ["echo"]}
        config.write_text(json.dumps({"servers": {"echo": echo}, "namespaces": {"public": public}}))
        with serving(python, entry, "--port", str(PORT), cwd=cwd) as (process, _):
            row("ping", request("ping", {}))
            row("tools/list", request("tools/list", {}))
            row("direct mode, one call", tool("echo__add", a=1, b=2))
            row("search", tool("search", query="add two numbers"))
            row("execute, no call", tool("execute", code="1 + 1"))
            row("execute, one call", tool("execute", code='api.server("echo").add(a=1, b=2)'))
            after = memory(process.pid)
        print(f"\nStart to first answer without servers: {empty_secs * 1000:.0f} ms")
        print(f"Memory (PSS) in MiB, gateway + guardian, sandbox, servers: {idle}; loaded: {after}")
        print(f"Load average: {os.getloadavg()[0]:.1f}")
