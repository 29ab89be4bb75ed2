"""``mcproxy trust``: what servers say of their tools and prompts now and did not before, and
accepting it. What is accepted is what was shown, whatever a server says meanwhile."""

from collections.abc import Iterator, Mapping

from mcproxy.commands.decisions import Decide, Decisions, Held
from mcproxy.commands.report import PROBLEMS, CommandReport
from mcproxy.policy.definition_records import (
    ITSELF,
    SeenDefinition,
    difference,
    name_of,
    read_back,
    server_of,
    shown_as,
)
from mcproxy.types import JsonObject

ALSO_ITSELF = "description"  # how the server's own words are named


def trust(server: str | None, name: str | None, *, only_show: bool) -> Decide:
    """Show what is held, of all servers, of one, or one tool or prompt; accept what was named."""

    async def decide(decisions: Decisions) -> CommandReport:
        waiting = _chosen(await decisions.held(), server, name)
        facts: JsonObject = {"held": {source: _facts(each) for source, each in waiting.items()}}
        lines = [line for source, each in waiting.items() for line in _told(source, each)]
        if server is None or only_show:
            return CommandReport((*lines, *_end(waiting)), facts=facts)
        if not waiting:
            named = server if name is None else f"{server}.{name}"
            return CommandReport((f"nothing of {named} is held",), PROBLEMS, facts=facts)
        for source, each in waiting.items():
            await decisions.accept(source, {one: shown_as(seen) for one, seen in each.items()})
            lines += [f"{name_of(source, one)} is accepted" for one in each]
        return CommandReport(tuple(lines), facts={**facts, "accepted": True})

    return decide


def _chosen(waiting: Held, server: str | None, name: str | None) -> Held:
    wanted = (name, ITSELF) if name == ALSO_ITSELF else (name,)
    found = {
        source: {one: seen for one, seen in each.items() if name is None or one in wanted}
        for source, each in waiting.items()
        if server in (None, server_of(source))
    }
    return {source: each for source, each in found.items() if each}


def _end(waiting: Held) -> tuple[str, ...]:
    if not waiting:
        return ("nothing is held",)
    return ("`mcproxy trust SERVER [NAME]` accepts what is held",)


def _facts(waiting: Mapping[str, SeenDefinition]) -> JsonObject:
    return {
        name or ALSO_ITSELF: {
            "reasons": list(seen.reasons),
            "before": read_back(seen.accepted),
            "now": read_back(seen.waiting),
        }
        for name, seen in waiting.items()
    }


def _told(source: str, waiting: Mapping[str, SeenDefinition]) -> Iterator[str]:
    for name, seen in waiting.items():
        yield f"{name_of(source, name)} is held: its definition {'; it '.join(seen.reasons)}"
        yield from (f"  {line}" for line in difference(seen))
