"""The gateway from outside: requests a second, processor time, start and memory.

Beside it, in the same run, what could not be less (``floors``): on a noisy machine the ratio to
these is what counts. ``python -m bench measure peers`` has the programs of others too.
"""

import asyncio
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from bench import floors
from bench.client import Load, Place, Session, load
from bench.processes import (
    ECHO,
    ECHO_COMMAND,
    Running,
    free_port,
    our_gateway,
    running,
    tools_there,
)
from mcproxy.types import Json, JsonObject

SECS, CLIENTS = 3.0, 16
ECHO_TOOLS = 18


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, where it is sent to, and what stands in each right reply."""

    name: str
    request: Callable[[Session], bytes]
    path: str = "/message"
    answer: bytes = b"result"


def _tool(name: str, tool: str, answer: bytes, path: str = "/message", **arguments: Json) -> Asked:
    return Asked(name, lambda one: one.call(tool, {**arguments}), path, answer)


PING = Asked("ping", lambda one: one.prepared("ping", {}))
DIRECT = _tool("direct mode, one call", "echo__add", b"sum", a=1, b=2)
ASKED = (
    PING,
    Asked("tools/list", lambda one: one.prepared("tools/list", {}), answer=b"tools"),
    DIRECT,
    _tool("the same at /mcp", "echo__add", b"sum", "/mcp", a=1, b=2),
    _tool("search", "search", b"echo", query="add two numbers"),
    _tool("execute, no call", "execute", b"success", code="1 + 1"),
    _tool("execute, one call", "execute", b"sum", code='api.server("echo").add(a=1, b=2)'),
)


async def _row(program: Running, asked: Asked, name: str = "") -> None:
    """One line of the table: 1 client, then 16; the processor time is that of the program with all
    that it starts, but for servers."""
    place = Place(program.place.port, asked.path, shakes=asked.path == "/mcp")
    one = await load(place.connect, asked.request, 1, SECS, asked.answer)
    before = program.used().cpu_ms
    many = await load(place.connect, asked.request, CLIENTS, SECS, asked.answer)
    cpu = (program.used().cpu_ms - before) / len(many.ms)
    assert not one.failed + many.failed, asked.name
    print(f"| {name or asked.name} | {_times(one)} | {_times(many)} | {cpu:.3f} |")


def _times(seen: Load) -> str:
    p99 = statistics.quantiles(seen.ms, n=100)[98]
    return f"{statistics.median(seen.ms):.2f} | {p99:.2f} | {seen.rate:.0f}"


async def _measured() -> None:
    print(
        "| request | p50 ms | p99 ms | a second | p50 ms (16) | p99 ms (16) | a second (16) "
        "| CPU ms |\n|---|---|---|---|---|---|---|---|"
    )
    for command, asked, name in (
        (floors.bare, PING, "bare ASGI application"),
        (lambda port: floors.least(port, ECHO_COMMAND), DIRECT, "least gateway, one call"),
    ):
        port = free_port()
        async with running(command(port), Place(port, shakes=False)) as program:
            await _row(program, asked, name)
    async with our_gateway({"servers": {}}) as program:
        start_secs, idle = program.start_secs, program.used().own_mib
    spaces: JsonObject = {"public": {"mode": "both", "servers": ["echo"]}}
    async with our_gateway({"servers": {"echo": ECHO}, "namespaces": spaces}) as program:
        await tools_there(program.place, ECHO_TOOLS)
        for asked in ASKED:
            await _row(program, asked)
        after = program.used().own_mib
    print(f"\nA call over a server's pipe: {await floors.pipe_ms(ECHO_COMMAND):.2f} ms")
    print(f"A fork of a small process, to its end: {floors.fork_ms():.2f} ms")
    print(f"Start to first answer without servers: {start_secs * 1000:.0f} ms")
    print(f"Memory (PSS) in MiB without servers: {idle:.0f}; after all this: {after:.0f}")
    print(f"Load average: {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Print the tables."""
    asyncio.run(_measured())
