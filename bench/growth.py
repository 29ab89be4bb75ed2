"""How cost grows: with the tools that there are, with the sessions that are open, with the servers.

Run: ``python -m bench measure growth``
"""

import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from bench.client import Load, Place, load
from bench.data import Cell, Table, rounded
from bench.processes import ECHO, SERVERS, Running, our_gateway, tools_there
from mcproxy.types import JsonObject

TOOLS = (10, 100, 1_000, 10_000)
SESSIONS = (1, 10, 100, 1_000)
BEHIND = (1, 4, 16, 64)
TOOLS_EACH = 1_000  # of one server at most, so that even the largest catalogue needs few processes
ECHO_TOOLS = 18
MANY = 100  # sessions: the memory of fewer is lost in what else is held
CLIENTS = 16
SECS = 1.5
SETTLE_SECS = 1.0
READY_SECS = 120.0
FILES = 8_192  # of this process: a connection for each session

_VERBS = (
    "list",
    "get",
    "create",
    "update",
    "delete",
    "search",
    "export",
    "import",
    "send",
    "count",
)
_NOUNS = (
    *("invoice", "ticket", "repository", "calendar", "contact", "photo", "message", "server"),
    *("payment", "document", "branch", "customer", "shipment", "playlist", "recipe", "flight"),
)


def measure(*, quick: bool) -> list[Table]:
    """The three tables."""
    secs = 0.2 if quick else SECS
    cut = 2 if quick else None
    return [
        asyncio.run(_tools(TOOLS[:cut], secs)),
        asyncio.run(_sessions(SESSIONS[:cut], secs)),
        asyncio.run(_servers(BEHIND[:cut], secs)),
    ]


async def _tools(sizes: Sequence[int], secs: float) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            servers = catalogue(Path(folder), size)
            async with our_gateway({"servers": servers}) as program:
                direct = Place(program.place.port, "/mcp?mode=direct")
                there = program.start_secs + await tools_there(direct, size, READY_SECS)
                search = await _asked(program.place, "search", {"query": "send an invoice"}, secs)
                script: JsonObject = {"code": 'api.server("c0").list_invoice_0(name="x")'}
                execute = await _asked(program.place, "execute", script, secs)
                call = await _asked(direct, "c0__list_invoice_0", {"name": "x"}, secs)
                held = program.used().own_mib
        rows.append((size, rounded(there), *_p50(search, execute, call), rounded(held)))
    columns = (
        "tools",
        "start to all tools, s",
        "search, ms",
        "execute, ms",
        "call, ms",
        "memory, MiB",
    )
    note = (
        f"Made-up tools with three parameters each, at most {TOOLS_EACH:,} a server. Times are "
        "p50 of one client; execute has one call."
    )
    return Table("tools", "How cost grows with tools", "measured", columns, tuple(rows), note)


async def _sessions(sizes: Sequence[int], secs: float) -> Table:
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    rows: list[tuple[Cell, ...]] = []
    async with our_gateway({"servers": {"echo": ECHO}}, "/mcp?mode=direct") as program:
        place = program.place
        await tools_there(place, ECHO_TOOLS)
        await _called(place, 1, secs)
        before = program.used().own_mib
        kept = []
        for opened, size in pairwise((0, *sizes)):
            begun = time.perf_counter()
            kept += [await place.connect() for _ in range(size - opened)]
            each = (time.perf_counter() - begun) / (size - opened)
            await asyncio.sleep(SETTLE_SECS)
            held = program.used().own_mib
            one, many = await _called(place, 1, secs), await _called(place, CLIENTS, secs)
            kib = rounded((held - before) * 1024 / size) if size >= MANY else None
            times = map(rounded, _times(one, many))
            rows.append((size, rounded(each * 1000), rounded(held), kib, *times))
        for session in kept:
            session.close()
    columns = (
        *("sessions open", "to open one, ms", "memory, MiB", "KiB a session"),
        *("call, p50 ms", f"calls a second ({CLIENTS} clients)"),
    )
    note = (
        "Each session has a connection of its own, open all the while; the calls come from others."
    )
    return Table("sessions", "How cost grows with sessions", "measured", columns, tuple(rows), note)


async def _servers(sizes: Sequence[int], secs: float) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for size in sizes:
        servers: JsonObject = {f"server{number}": ECHO for number in range(size)}
        async with our_gateway({"servers": servers}, "/mcp?mode=direct") as program:
            there = await tools_there(program.place, size * ECHO_TOOLS, READY_SECS)
            await asyncio.sleep(SETTLE_SECS)
            used = program.used()
            one, many = (
                await _spread(program, 1, size, secs),
                await _spread(program, CLIENTS, size, secs),
            )
            row = (program.start_secs + there, used.own_mib, used.servers_mib, *_times(one, many))
            rows.append((size, *map(rounded, row)))
    columns = (
        *("servers", "start to all tools, s", "memory, MiB", "the servers' own, MiB"),
        *("call, p50 ms", f"calls a second ({CLIENTS} clients)"),
    )
    note = "Calls go to all servers alike."
    return Table("servers", "How cost grows with servers", "measured", columns, tuple(rows), note)


async def _asked(place: Place, name: str, arguments: JsonObject, secs: float) -> Load:
    asked = await load(
        place.connect, lambda one: one.call(name, arguments), 1, secs, b"structuredContent"
    )
    assert not asked.failed, name
    return asked


async def _called(place: Place, clients: int, secs: float) -> Load:
    arguments: JsonObject = {"a": 1, "b": 2}
    return await load(
        place.connect, lambda one: one.call("echo__add", arguments), clients, secs, b"sum"
    )


async def _spread(program: Running, clients: int, servers: int, secs: float) -> Load:
    """Each client calls another server."""
    numbers = iter(range(clients))
    arguments: JsonObject = {"a": 1, "b": 2}
    return await load(
        program.place.connect,
        lambda one: one.call(f"server{next(numbers) % servers}__add", arguments),
        clients,
        secs,
        b"sum",
    )


def _p50(*loads: Load) -> tuple[float, ...]:
    return tuple(rounded(statistics.median(one.ms)) for one in loads)


def _times(one: Load, many: Load) -> tuple[float, float]:
    assert not one.failed + many.failed
    return statistics.median(one.ms), many.rate


def catalogue(folder: Path, size: int) -> JsonObject:
    """Servers with so many tools in all."""
    servers: JsonObject = {}
    for number, start in enumerate(range(0, size, TOOLS_EACH)):
        path = folder / f"{number}.json"
        tools = [_tool(index) for index in range(start, min(size, start + TOOLS_EACH))]
        path.write_text(json.dumps(tools), encoding="utf-8")
        program = str(SERVERS / "catalogue.py")
        servers[f"c{number}"] = {"command": sys.executable, "args": [program, str(path)]}
    return servers


def _tool(number: int) -> JsonObject:
    """A tool like those that there are: words that others have too, three parameters."""
    verb, noun = _VERBS[number % len(_VERBS)], _NOUNS[number // len(_VERBS) % len(_NOUNS)]
    text: JsonObject = {"type": "string", "description": f"The name of the {noun}"}
    properties: JsonObject = {
        "name": text,
        "limit": {"type": "integer", "description": "How many at most"},
        "verbose": {"type": "boolean", "description": "Whether all details are wanted"},
    }
    return {
        "name": f"{verb}_{noun}_{number // (len(_VERBS) * len(_NOUNS))}",
        "description": f"{verb.capitalize()} one {noun} or several, by name.",
        "inputSchema": {"type": "object", "properties": properties, "required": ["name"]},
    }
