"""``mcproxy trust``: what servers say of their tools now and did not before, and accepting it.

Works on the gateway's store, as ``approvals`` does.
"""

import asyncio
from collections.abc import Iterator, Mapping

from mcproxy.commands.report import PROBLEMS, CommandReport
from mcproxy.gateway.definition_ledger import accept, remembered
from mcproxy.policy.definition_records import (
    ITSELF,
    SeenDefinition,
    difference,
    held,
    name_of,
    read_back,
)
from mcproxy.store.opening import OpenedStore
from mcproxy.types import JsonObject

Waiting = Mapping[str, Mapping[str, SeenDefinition]]
ALSO_ITSELF = "description"  # how the server's own words are named


def run(
    decisions: OpenedStore, server: str | None, tool: str | None, *, only_show: bool
) -> CommandReport:
    """Show what is held, of all servers, of one, or one tool; accept what was named."""
    return asyncio.run(_run(decisions, server, tool, only_show=only_show))


async def _run(
    decisions: OpenedStore, server: str | None, tool: str | None, *, only_show: bool
) -> CommandReport:
    async with decisions as store:
        waiting = _chosen(await remembered(store), server, tool)
        facts: JsonObject = {"held": {name: _facts(each) for name, each in waiting.items()}}
        lines = [line for name, each in waiting.items() for line in _told(name, each)]
        if server is None or only_show:
            return CommandReport((*lines, *_end(waiting)), facts=facts)
        if not waiting:
            named = server if tool is None else f"{server}.{tool}"
            return CommandReport((f"nothing of {named} is held",), PROBLEMS, facts=facts)
        for name, each in waiting.items():
            await accept(store, name, frozenset(each))
            lines += [f"{name_of(name, one)} is accepted" for one in each]
        return CommandReport(tuple(lines), facts={**facts, "accepted": True})


def _chosen(
    records: Mapping[str, Mapping[str, SeenDefinition]], server: str | None, tool: str | None
) -> Waiting:
    wanted = ITSELF if tool == ALSO_ITSELF else tool
    found = {
        name: {
            one: seen for one, seen in held(record).items() if tool is None or one in (tool, wanted)
        }
        for name, record in records.items()
        if server in (None, name)
    }
    return {name: each for name, each in found.items() if each}


def _end(waiting: Waiting) -> tuple[str, ...]:
    if not waiting:
        return ("nothing is held",)
    return ("`mcproxy trust SERVER [TOOL]` accepts what is held",)


def _facts(waiting: Mapping[str, SeenDefinition]) -> JsonObject:
    return {
        name or ALSO_ITSELF: {
            "reasons": list(seen.reasons),
            "before": read_back(seen.accepted),
            "now": read_back(seen.waiting),
        }
        for name, seen in waiting.items()
    }


def _told(server: str, waiting: Mapping[str, SeenDefinition]) -> Iterator[str]:
    for name, seen in waiting.items():
        yield f"{name_of(server, name)} is held: its definition {'; it '.join(seen.reasons)}"
        yield from (f"  {line}" for line in difference(seen))
