"""What tools cost a model before and while it works, in tokens (o200k), on real catalogues.

Run: ``python -m bench measure tokens``; ``bench.asking`` has searches, ``bench.flows`` whole tasks.
"""

import asyncio
import math
import random
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from bench import catalogues, flows
from bench.asking import asking_for
from bench.client import Place
from bench.data import Cell, Table, rounded
from bench.processes import our_gateway, servers_ready
from mcproxy.types import JsonObject
from tests.tokens import count

SIZES = (1, 2, 5, 10, 20, 40)  # servers
SCRIPT = '{"code":"await api.server(\\"github\\").get_issue(owner=\\"o\\", repo=\\"r\\", issue=1)"}'
CALL = '{"name":"github__get_issue","arguments":{"owner":"o","repo":"r","issue":1}}'
"""The same call as a model writes it, in both modes."""
ASKED = 10  # servers whose tools are searched
REQUESTS = 50  # at most: others take seconds for one
SEED = 11
READY_SECS = 120.0


def measure(*, quick: bool) -> list[Table]:
    """The tables; none without the catalogues."""
    if not catalogues.there():
        raise FileNotFoundError(
            "the catalogues are not there: MCPROXY_CATALOGUES names their folder"
        )
    return asyncio.run(_measured(quick))


async def _measured(quick: bool) -> list[Table]:
    found = catalogues.collected()
    names = sorted(found)
    random.Random(SEED).shuffle(names)  # noqa: S311  which come first
    sizes = [min(size, len(names)) for size in SIZES[: 2 if quick else None]]
    within = {name: found[name] for name in names[: sizes[-1]]}
    with tempfile.TemporaryDirectory() as folder:
        servers = catalogues.served(Path(folder), within)
        lists = await _lists(servers, within, sizes)
    asking = await asking_for(
        {name: found[name] for name in names[:ASKED]}, 3 if quick else REQUESTS
    )
    whole = await flows.measure(quick)
    return [lists, _break_even(found, lists, asking), asking, *whole]


async def _lists(
    servers: JsonObject, within: Mapping[str, Sequence[JsonObject]], sizes: Sequence[int]
) -> Table:
    """What clients of namespaces with so many servers are shown, in both modes."""
    names = list(within)
    spaces: JsonObject = {f"n{size}": {"servers": [*names[:size]]} for size in sizes}
    rows: list[tuple[Cell, ...]] = []
    async with our_gateway({"servers": servers, "namespaces": spaces}) as program:
        await servers_ready(program.place.port, READY_SECS)
        for size in sizes:
            tools = sum(len(within[name]) for name in names[:size])
            path = f"/mcp/n{size}"
            direct = await catalogues.shown_tokens(Place(program.place.port, f"{path}?mode=direct"))
            two = await catalogues.shown_tokens(Place(program.place.port, path))
            rows.append((size, tools, direct, two, rounded(direct / two)))
    columns = ("servers", "tools", "direct MCP, tokens", "MCProxy, tokens", "ratio")
    note = (
        "Instructions and tools/list as a client gets them over HTTP; of each tool name, "
        "description and inputSchema count. Servers in a random order, each with those before it."
    )
    return Table(
        "lists", "Before any work: what a model is shown", "measured", columns, tuple(rows), note
    )


def _break_even(found: Mapping[str, Sequence[JsonObject]], lists: Table, asking: Table) -> Table:
    """From how many tools on two tools cost less than all."""
    costs = [catalogues.tokens([tool]) for tools in found.values() for tool in tools]
    ours = statistics.median(cast("list[int]", lists.column("MCProxy, tokens")))
    more = asking.number("MCProxy", "to know how to call, tokens") + count(SCRIPT) - count(CALL)
    dearer = sum(catalogues.tokens(tools) > ours for tools in found.values())
    cost = {
        "only the lists count": ours,
        "one call is made: context in the end": ours + more,
        # Two turns of direct MCP: call, answer; three of ours: search, script, answer.
        "one call is made: input over its turns": (3 * ours + 2 * more) / 2,
    }
    median, mean = statistics.median(costs), statistics.mean(costs)
    rows = tuple(
        (when, math.ceil(ours / median), math.ceil(ours / mean)) for when, ours in cost.items()
    )
    note = (
        f"How many tools of median size ({median:.0f} tokens) or of mean size ({mean:.0f}) cost as "
        "much as MCProxy's two and, for a call, one search's reply and a script of one line; "
        "from the tables of lists and of requests. With fewer tools direct mode is cheaper. "
        f"Of {len(found)} servers the tools of {dearer} alone cost more than the two."
    )
    columns = ("when", "tools of median size", "tools of mean size")
    return Table("break_even", "From how many tools on it pays", "computed", columns, rows, note)
