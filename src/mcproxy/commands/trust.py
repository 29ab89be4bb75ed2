"""``mcproxy trust``: what servers say of their tools now and did not before, and accepting it.

Works on the state directory, as ``approvals`` does.
"""

import asyncio
import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from mcproxy.commands.report import PROBLEMS, CommandReport
from mcproxy.foreign_text import one_line
from mcproxy.gateway.definition_ledger import accept, remembered
from mcproxy.policy.definition_records import ITSELF, SeenDefinition, held, name_of, read_back
from mcproxy.store.interface import DECISIONS_BOUNDS, DECISIONS_FILE
from mcproxy.store.local_store import LocalStore
from mcproxy.types import Json, JsonObject

Waiting = Mapping[str, Mapping[str, SeenDefinition]]
_MAX_LINE_CHARS = 500
ALSO_ITSELF = "description"  # how the server's own words are named


def run(state: Path, server: str | None, tool: str | None, *, only_show: bool) -> CommandReport:
    """Show what is held, of all servers, of one, or one tool; accept what was named."""
    return asyncio.run(_run(state, server, tool, only_show=only_show))


async def _run(
    state: Path, server: str | None, tool: str | None, *, only_show: bool
) -> CommandReport:
    async with LocalStore(state / DECISIONS_FILE, DECISIONS_BOUNDS) as store:
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
        before, now = (_lines(read_back(each)) for each in (seen.accepted, seen.waiting))
        for line in list(difflib.unified_diff(before, now, lineterm="", n=1))[2:]:
            if not line.startswith("@@"):
                yield f"  {line}"


def _lines(definition: JsonObject | None) -> list[str]:
    """A definition as lines to be compared; what acts or hides is written out."""
    if definition is None:
        return []
    return [line for key in sorted(definition) for line in _member(key, definition[key])]


def _member(key: str, value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in sorted(value):
            yield from _member(f"{key}.{inner}", value[inner])
    elif isinstance(value, str):
        for piece in value.splitlines() or [""]:
            yield _cut(f"{key}: {piece if piece.isprintable() else ascii(piece)}")
    else:
        yield _cut(f"{key}: {json.dumps(value)}")


def _cut(line: str) -> str:
    return one_line(line, _MAX_LINE_CHARS)
