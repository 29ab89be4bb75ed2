"""Whole tasks, as far as they go without a model: what each way costs in tokens until the work is
done.

The tasks, their steps and the tools that solve them are LiveMCPBench's. A flow is scripted: with
direct MCP the tools are called one by one; with MCProxy each step is searched, then one script
calls the tools that the replies showed. All of it goes over HTTP through the running program to
servers that have the real definitions and repeat their arguments, the plainest that their schemas
admit. No model takes part: whether one would choose these tools is not measured, nor are results,
which are as short as can be both ways.
"""

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bench import catalogues, search
from bench.client import Place, Session, argument, result, text
from bench.data import Table
from bench.processes import our_gateway, servers_ready
from mcproxy.gateway.names import Item, aliases
from mcproxy.types import JsonObject
from tests.tokens import count

READY_SECS = 180.0


@dataclass(frozen=True, slots=True)
class Turns:
    """What a model reads and writes, in tokens: the input of a turn is all before it."""

    before: int  # tools and instructions
    turns: tuple[int, ...]  # each the model's call and its reply

    @property
    def context(self) -> int:
        """In the end."""
        return self.before + sum(self.turns)

    @property
    def read(self) -> int:
        """The input of all turns, the last of which is the answer."""
        done = [sum(self.turns[:number]) for number in range(len(self.turns) + 1)]
        return sum(self.before + one for one in done)


@dataclass(frozen=True, slots=True)
class Flow:
    """One task: by each way, whether all its tools were shown, and whether their script ran."""

    singly: Turns
    at_once: Turns
    scripted: Turns
    shown: bool
    ran: bool


async def measure(quick: bool) -> list[Table]:
    """The table of flows."""
    tasks = [
        search.read_task(cast("JsonObject", json.loads(line))) for line in search.lines(search.LIVE)
    ][: 3 if quick else None]
    servers = catalogues.live()
    with tempfile.TemporaryDirectory() as folder:
        document: JsonObject = {"servers": catalogues.served(Path(folder), servers)}
        async with our_gateway(document) as program:
            await servers_ready(program.place.port, READY_SECS)
            direct = Place(program.place.port, "/mcp?mode=direct")
            flows = await _flows(
                await program.place.connect(), await direct.connect(), servers, tasks
            )
    return [_table(flows, sum(map(len, servers.values())), len(servers))]


async def _flows(
    two: Session,
    direct: Session,
    servers: Mapping[str, Sequence[JsonObject]],
    tasks: Sequence[search.Task],
) -> list[Flow]:
    before_direct = catalogues.tokens(await direct.tools()) + _instructions(direct)
    before_two = catalogues.tokens(await two.tools()) + _instructions(two)
    definitions = {
        (server, str(tool["name"])): tool for server, tools in servers.items() for tool in tools
    }
    names = {item: name for name, item in aliases(definitions).items()}
    return [
        await _flow(_Task(two, direct, names, definitions, task), before_direct, before_two)
        for task in tasks
    ]


def _instructions(session: Session) -> int:
    return count(str(session.welcome.get("instructions", "")))


@dataclass(frozen=True, slots=True)
class _Task:
    """One task, where it is done, and the tools that there are: their names and definitions."""

    two: Session
    direct: Session
    names: Mapping[Item, str]
    definitions: Mapping[Item, JsonObject]
    task: search.Task

    @property
    def gold(self) -> list[Item]:
        """One tool of each of those that serve equally well."""
        first = [min(equal) for equal in self.task.gold]
        return [(catalogues.slug(server), tool) for server, tool in first]

    def arguments(self, item: Item) -> JsonObject:
        """The plainest that the tool's schema admits."""
        schema = cast("JsonObject", self.definitions[item].get("inputSchema", {}))
        properties = cast("JsonObject", schema.get("properties", {}))
        required = cast("list[str]", schema.get("required", []))
        return {key: argument(properties.get(key)) for key in required}


async def _flow(at: _Task, before_direct: int, before_two: int) -> Flow:
    calls = [await _call(at.direct, at.names[item], at.arguments(item)) for item in at.gold]
    seen: set[Item] = set()
    searches = 0
    for step in at.task.steps:
        _, body = await at.two.exchange(at.two.call("search", {"query": step}))
        found = result(body)
        searches += count(catalogues.compact({"query": step})) + count(text(found))
        seen |= visible(cast("JsonObject", found["structuredContent"]))
    shown = [item for item in at.gold if item in seen]
    lines = [f"await api.call_tool{(*item, at.arguments(item))!r}" for item in shown]
    script, ran = await _script(at.two, "\n".join(lines) or "None")
    return Flow(
        Turns(before_direct, tuple(calls)),
        Turns(before_direct, (sum(calls),)),
        Turns(before_two, (searches, script)),
        len(shown) == len(at.gold),
        ran and len(shown) == len(at.gold),
    )


def visible(reply: JsonObject) -> set[Item]:
    """(server, tool) of all that a reply of search shows, with a line or by name."""
    seen = {
        (str(server["server"]), str(tool["name"]))
        for server in search.objects(reply["results"])
        for tool in search.objects(server["matched_tools"])
    }
    also = cast("dict[str, list[str]]", reply.get("also", {}))
    return seen | {(server, name) for server, names in also.items() for name in names}


async def _call(session: Session, name: str, arguments: JsonObject) -> int:
    """The tokens of a call and its reply."""
    _, body = await session.exchange(session.call(name, arguments))
    found = result(body)
    told = text(found) or catalogues.compact(cast("JsonObject", found["structuredContent"]))
    return count(catalogues.compact({"name": name, "arguments": arguments})) + count(told)


async def _script(session: Session, code: str) -> tuple[int, bool]:
    """The tokens of a script and its reply, and whether it ran."""
    _, body = await session.exchange(session.call("execute", {"code": code}))
    found = result(body)
    tokens = count(catalogues.compact({"code": code})) + count(text(found))
    return tokens, not found.get("isError")


def _table(flows: Sequence[Flow], tools: int, servers: int) -> Table:
    ways = {
        "direct MCP, a call a turn": [flow.singly for flow in flows],
        "direct MCP, all calls in one turn": [flow.at_once for flow in flows],
        "MCProxy: searches, then one script": [flow.scripted for flow in flows],
    }
    shown = sum(flow.shown for flow in flows)
    ran = sum(flow.ran for flow in flows)
    rows = tuple(
        (
            name,
            round(statistics.median(one.context for one in turns)),
            round(statistics.median(one.read for one in turns)),
            round(statistics.median(len(one.turns) + 1 for one in turns)),
            shown if "MCProxy" in name else len(flows),
            ran if "MCProxy" in name else None,
        )
        for name, turns in ways.items()
    )
    columns = (
        *("way", "context in the end", "input over all turns", "turns"),
        *("tasks with all tools shown", "scripts that ran"),
    )
    note = (
        f"Medians over the {len(flows)} tasks of LiveMCPBench with {tools} tools of {servers} "
        "servers; tokens. Scripted flows, no model: of direct MCP all tools are always in sight, "
        "which says nothing about choosing the right ones of that many. Results of tools are as "
        "short as can be both ways. The steps that are searched are those of the benchmark; "
        "search was tuned on them."
    )
    return Table("flows", "Whole tasks", "measured", columns, rows, note)
