"""From a request in somebody's words to knowing how to call the tool: what a model reads for it.

Ours says with the tool how it is called. In fastmcp's code mode the parameters are asked for, with
the name that the search gave. All requests are those that nobody looked at, whose tools
are there.
"""

import statistics
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias, cast

from bench import catalogues
from bench.client import Place, Session, result, text
from bench.data import Cell, Table
from bench.flows import visible
from bench.peers import programs
from bench.processes import free_port, our_gateway, running, servers_ready, tools_there
from mcproxy.types import JsonObject
from tests.tokens import count

PEER = "fastmcp code mode (Monty)"
READY_SECS = 120.0

Request: TypeAlias = tuple[Sequence[str], str]
"""The tools that serve it, and its words."""
Reader: TypeAlias = Callable[[Session, Request], Awaitable[tuple[int, bool]]]
"""Asks for what a request needs: the tokens of the replies, whether a right tool was among them."""


async def asking_for(within: Mapping[str, Sequence[JsonObject]], most: int) -> Table:
    """Tokens and luck, ours and those of the peer where it is installed."""
    names = {f"{server}.{tool['name']}" for server, tools in within.items() for tool in tools}
    asked = [one for one in catalogues.requests() if names.issuperset(one[0])][:most]
    rows = [("MCProxy", *await _ours_found(within, asked))]
    peers = [peer for peer in programs.others() if peer.name == PEER]
    rows += [(peer.name, *await _theirs_found(peer, within, asked)) for peer in peers]
    columns = (
        *("program", "tools/list, tokens", "requests", "found"),
        *("to know how to call, tokens", "largest, tokens"),
    )
    note = (
        f"Over {len(names):,} tools of {len(within)} servers, one search each with default "
        "arguments. Found: a right tool stands in the reply. To know how to call: the search's "
        "reply and, in code mode, that of get_schema for the right tool where it was found; the "
        "median. The requests were written for this project."
    )
    title = "From a request to the tool's parameters"
    return Table("asking", title, "measured", columns, tuple(rows), note)


async def _ours_found(
    within: Mapping[str, Sequence[JsonObject]], asked: Sequence[Request]
) -> tuple[Cell, ...]:
    with tempfile.TemporaryDirectory() as folder:
        servers = catalogues.served(Path(folder), within)
        async with our_gateway({"servers": servers}) as program:
            await servers_ready(program.place.port, READY_SECS)
            return await _found(program.place, asked, _ours)


async def _theirs_found(
    peer: programs.Program,
    within: Mapping[str, Sequence[JsonObject]],
    asked: Sequence[Request],
) -> tuple[Cell, ...]:
    """All tools are of one server here, named as several would name them: one process to ask."""
    tools = [
        {**tool, "name": f"{server}_{tool['name']}"}
        for server, listed in within.items()
        for tool in listed
    ]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        command = peer.command(port, folder, catalogues.served(folder, {"all": tools}))
        await stack.enter_async_context(running(command, peer.place(port)))
        await tools_there(peer.place(port), 1, READY_SECS)
        return await _found(peer.place(port), asked, _theirs)


async def _found(place: Place, asked: Sequence[Request], read: Reader) -> tuple[Cell, ...]:
    costs, found = [], 0
    for one in asked:
        session = await place.connect()  # anew: a slow reply may outlast what a connection may idle
        cost, shown = await read(session, one)
        session.close()
        costs.append(cost)
        found += shown
    before = await catalogues.shown_tokens(place)
    return before, len(asked), found, round(statistics.median(costs)), max(costs)


async def _ours(session: Session, request: Request) -> tuple[int, bool]:
    refs, query = request
    found = await _called(session, "search", {"query": query})
    seen = visible(cast("JsonObject", found["structuredContent"]))
    return count(text(found)), not {".".join(one) for one in seen}.isdisjoint(refs)


async def _theirs(session: Session, request: Request) -> tuple[int, bool]:
    refs, query = request
    told = text(await _called(session, "search", {"query": query}))
    lines = {line.removeprefix("- ").partition(":")[0] for line in told.splitlines()}
    right = [name for ref in refs if (name := ref.replace(".", "_", 1)) in lines]
    if not right:
        return count(told), False
    schema = text(await _called(session, "get_schema", {"tools": [right[0]]}))
    return count(told) + count(schema), True


async def _called(session: Session, name: str, arguments: JsonObject) -> JsonObject:
    _, body = await session.exchange(session.call(name, arguments))
    return result(body)
