"""What the program takes to start, and what it holds: alone, and in front of 20 and 60 servers.

Run: ``python -m bench measure start``
"""

import asyncio
import statistics

from bench.client import Place, load
from bench.data import Cell, Table, rounded
from bench.processes import ECHO, Running, Used, our_gateway, tools_there
from mcproxy.types import JsonObject

SERVERS = (0, 20, 60)
ECHO_TOOLS = 18
SETTLE_SECS = 2.0  # what a start left to do is done, and garbage of it gone
LOADED_SECS = 2.0
CLIENTS = 4


def measure(*, quick: bool) -> list[Table]:
    """The table: medians of several starts."""
    starts = 1 if quick else 3
    return [asyncio.run(_table((0, 2) if quick else SERVERS, starts))]


async def _table(sizes: tuple[int, ...], starts: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for size in sizes:
        found = [await _start(size) for _ in range(starts)]
        rows.append(
            (size, *(rounded(statistics.median(each)) for each in zip(*found, strict=True)))
        )
    columns = (
        *("servers", "first answer, s", "all tools there, s"),
        *("memory idle, MiB", "after load, MiB", "the servers' own, MiB"),
    )
    note = (
        f"Medians of {starts} starts. Each server is a Python process of {ECHO_TOOLS} tools. "
        "Memory is PSS of guardian, gateway, zygotes and ready workers; the load is one script "
        f"with one call after the other by {CLIENTS} clients."
    )
    return Table("start", "Start and memory", "measured", columns, tuple(rows), note)


async def _start(size: int) -> tuple[float, ...]:
    """Seconds to the first answer and to all tools; memory idle, after load, and the servers'."""
    servers: JsonObject = {f"server{number}": ECHO for number in range(size)}
    async with our_gateway({"servers": servers}) as program:
        place = Place(program.place.port, "/mcp?mode=direct")
        there = program.start_secs + await tools_there(place, size * ECHO_TOOLS)
        await asyncio.sleep(SETTLE_SECS)
        idle = program.used()
        after = await _loaded(program, bool(size))
    return program.start_secs, there, idle.own_mib, after.own_mib, idle.servers_mib


async def _loaded(program: Running, has_servers: bool) -> Used:
    code = "api.server('server0').add(a=1, b=2)" if has_servers else "1 + 1"
    arguments: JsonObject = {"code": code}
    await load(
        program.place.connect, lambda one: one.call("execute", arguments), CLIENTS, LOADED_SECS
    )
    await asyncio.sleep(SETTLE_SECS)
    return program.used()
