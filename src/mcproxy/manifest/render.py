"""What a search reply shows at each depth, made to fit its budget.

Owns the form of an entry and what goes first when it does not fit: prose before names, the worst
tools before the best. Gets groups that are already ranked; knows no query and no score formula.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import repeat, takewhile

import msgspec

from mcproxy.manifest.bounds import (
    BYTES_OF_NAMES,
    CLEAR_DROP,
    DESCRIPTION_BYTES,
    FEW_TOOLS,
    MAX_LIMIT,
    MIN_CUT_BYTES,
    NAMES,
    READING_BYTES,
    SCHEMAS,
    SERVERS,
    SHORT_DESCRIPTION_BYTES,
    SUMMARY_BYTES,
    TOOLS,
    TRUNCATED_BYTES,
)
from mcproxy.manifest.find import EXACT, FoundTool, Hit
from mcproxy.manifest.learned import Returns
from mcproxy.manifest.model import ServerPart
from mcproxy.manifest.names import call_line
from mcproxy.manifest.reply_text import ALSO, heading, line
from mcproxy.manifest.results import value_schema
from mcproxy.manifest.text import brief, first_sentence
from mcproxy.manifest.truncate import cut_schema, size
from mcproxy.types import Json, JsonObject, ServerState

# States in which a call goes straight through; a server in any other is marked.
SOUND_STATES = frozenset({"ready", "idle"})

HINTS = {
    NAMES: "use a query",
    SERVERS: "use a query",
    TOOLS: "not all tools fit into one reply; a narrower query shows the others",
    SCHEMAS: "not all fits into one reply; a narrower query shows other tools, "
    'api.schema("server", "tool") in execute gives one definition whole',
}


class Detail(msgspec.Struct, frozen=True):
    """How much a server's entry says. ``None`` leaves the member out."""

    description: int | None = None  # bytes
    categories: int = 0
    state: bool = True


class Shown(msgspec.Struct, frozen=True):
    """The entries that fit, and of how many: servers at depth 0 and 1, else tools."""

    entries: list[Json]
    shown: int
    total: int
    cut: bool = False

    def truncated(self, depth: int) -> JsonObject:
        """The member ``truncated``, empty when all is there."""
        if self.shown >= self.total and not self.cut:
            return {}
        report: JsonObject = {"shown": self.shown, "total": self.total, "hint": HINTS[depth]}
        return {"truncated": report}


BARE = Detail()
BARE_UNMARKED = Detail(state=False)
LEAN = Detail(0, 0)
EMPTY: JsonObject = {"matched_tools": []}
MEMBER_BYTES = size(EMPTY)  # what an entry without the member grows by
USUAL = Detail(60, 2)
RICH_FIRST = (Detail(240, 3), Detail(160, 3), Detail(100, 3), USUAL, Detail(50, 2), Detail(25, 1))


def show_servers(parts: Sequence[ServerPart], depth: int, room: int) -> Shown:
    """Depth 0 and 1: every server, said in as many words as fit."""
    levels = (BARE, BARE_UNMARKED) if depth == NAMES else (*RICH_FIRST, LEAN)
    heads: list[Json] = []
    for detail in levels:
        heads = [_head(part, detail) for part in parts]
        if size(heads) <= room + TRUNCATED_BYTES[depth]:
            return Shown(heads, len(heads), len(heads))
    kept = fitting(heads, room)
    return Shown(kept, len(kept), len(heads))


def show_names(parts: Sequence[ServerPart], room: int) -> Shown:
    """Depth 2 without a query: every server, and as many tool names as fit, evenly."""
    names: list[list[Json]] = [
        [{"name": tool.ref.tool} for tool in part.view.tools] for part in parts
    ]
    total = sum(map(len, names))
    all_names = size([*names])
    for detail in (USUAL, Detail(40, 1), LEAN):
        heads = [_head(part, detail) for part in parts]
        if size(_with_tools(heads, repeat([]))) + all_names <= room:
            return Shown(_with_tools(heads, names), total, total)
    kept = _empty_heads(parts, room)
    opening = MEMBER_BYTES if kept and "matched_tools" not in kept[0] else 0
    shares = _even_shares(names[: len(kept)], room - size([*kept]), opening)
    shown = [own[:share] for own, share in zip(names, shares, strict=False)]
    entries: list[Json] = [
        {**head, "matched_tools": own} if own else head
        for head, own in zip(kept, shown, strict=True)
    ]
    return Shown(entries, sum(shares), total, cut=len(kept) < len(parts))


def show_tools(found: FoundTool, depth: int, room: int, returns: Returns) -> Shown:
    """Depth 2 and 3: the best tools that fit, under their servers; the very best in any case.

    Servers that were named and have no tools come last, where there is room.
    """
    heads: dict[str, JsonObject] = {}
    tools: dict[str, list[Json]] = {}
    shown, cut = 0, False
    for hit in found.hits:
        name = hit.part.view.name
        head = {} if name in heads else {**_head(hit.part, USUAL), "matched_tools": []}
        entry = _full_entry(hit, depth, returns)
        cut = cut or _is_shortened(entry, hit)
        free = room - size(head) - 2  # the commas
        if size(entry) > free and not shown and depth == SCHEMAS:
            entry, cut = _cut_entry(entry, free), True
        if size(entry) <= free:
            room = free - size(entry)
            heads.setdefault(name, head)
            tools.setdefault(name, []).append(entry)
            shown += 1
    entries = _with_tools(list(heads.values()), tools.values())
    bare = _with_tools([_head(part, USUAL) for part in found.bare], repeat([]))
    return Shown([*entries, *fitting(bare, room)], shown, len(found.hits), cut)


def worth_reading(
    hits: Sequence[Hit], depth: int, returns: Returns
) -> tuple[Sequence[Hit], JsonObject]:
    """Where no limit is given: the hits to show whole, best first and one in any case, and those
    to name alone, by server."""
    near = _near(hits)
    if depth != TOOLS:
        return near[:FEW_TOOLS], {}
    ends = _ends_of_lines(near, returns)
    if len(ends) == len(near) and max(ends, default=0) <= READING_BYTES:
        return near, {}
    lines = max(bisect_right(ends, READING_BYTES - BYTES_OF_NAMES), 1)
    return near[:lines], _by_name(near[lines:])


def _near(hits: Sequence[Hit]) -> Sequence[Hit]:
    """Those that are not far behind the best; a name that was asked for is no measure."""
    best = next((hit.score for hit in hits if hit.score < EXACT), 0.0)
    least = best * CLEAR_DROP
    return tuple(takewhile(lambda hit: hit.score >= least, hits))


def _ends_of_lines(hits: Sequence[Hit], returns: Returns) -> list[int]:
    """How many bytes a text has with so many hits, a line each and their servers' headings; of
    those only that a reply can have room for."""
    servers: set[str] = set()
    ends: list[int] = []
    end = 0
    for hit in hits[:MAX_LIMIT]:
        server = hit.part.view.name
        read = line(server, _full_entry(hit, TOOLS, returns))
        above = "" if server in servers else f"{heading(server, _state(hit.part))}\n"
        servers.add(server)
        end += len(f"{above}{read}\n".encode(errors="replace"))
        ends.append(end)
        if end > READING_BYTES:
            break
    return ends


def _by_name(hits: Sequence[Hit]) -> JsonObject:
    """As many names as fit into ``BYTES_OF_NAMES`` of text: by server, best first."""
    room = BYTES_OF_NAMES - len(ALSO)
    found: dict[str, list[Json]] = {}
    for hit in hits:
        name, server = hit.tool.ref.tool, hit.part.view.name
        written = name if server in found else f"{server}: {name}"
        room -= len(written.encode(errors="replace")) + len(", ")
        if room < 0:
            break
        found.setdefault(server, []).append(name)
    return {**found}


def _state(part: ServerPart) -> ServerState | None:
    """The state of a server that is not well."""
    return None if part.view.state in SOUND_STATES else part.view.state


def _head(part: ServerPart, detail: Detail) -> JsonObject:
    head: JsonObject = {"server": part.view.name}
    if detail.state and (state := _state(part)):
        head["state"] = state
    if detail.description is not None:
        head["description"] = brief(part.about, detail.description)
        head["tools"] = len(part.view.tools)
        head["categories"] = list(part.categories[: detail.categories])
    return head


def _empty_heads(parts: Sequence[ServerPart], room: int) -> list[JsonObject]:
    """Entries without tool names yet, said so shortly that all servers fit if that is possible."""
    heads: list[JsonObject] = []
    for detail, tools in ((LEAN, EMPTY), (BARE, EMPTY), (BARE, {})):
        heads = [{**_head(part, detail), **tools} for part in parts]
        if size([*heads]) <= room:
            return heads
    return heads[: len(fitting(heads, room))]


def _full_entry(hit: Hit, depth: int, returns: Returns) -> JsonObject:
    """The entry with what the tool returns, as it declares or as was learned."""
    entry = _entry(hit, depth)
    learned = None if "outputSchema" in hit.tool.definition else returns(hit.tool)
    told = learned.brief if learned else hit.part.schemas[hit.tool.ref.tool].returns
    if told:
        entry["call"] = f"{entry['call']} -> {told}"
    if depth == SCHEMAS and learned:
        entry["returns"] = learned.told
    return entry


def _entry(hit: Hit, depth: int) -> JsonObject:
    definition = hit.tool.definition
    text = _description(hit)
    entry: JsonObject = {
        "name": hit.tool.ref.tool,
        "score": round(hit.score, 2),
        "summary": brief(first_sentence(text), SUMMARY_BYTES),
        "call": call_line(hit.tool),
    }
    if hit.tool.held:
        entry |= {"state": "held", "summary": f"held: {hit.tool.held}", "call": ""}
    if depth == SCHEMAS:
        entry["description"] = brief(text, DESCRIPTION_BYTES)
        entry["inputSchema"] = definition.get("inputSchema", {})
        if "outputSchema" in definition:
            entry["outputSchema"] = value_schema(definition["outputSchema"])
    return entry


def _is_shortened(entry: JsonObject, hit: Hit) -> bool:
    return "description" in entry and entry["description"] != _description(hit)


def _description(hit: Hit) -> str:
    definition = hit.tool.definition
    said = definition.get("description") or definition.get("title")
    return said if isinstance(said, str) else ""


def _cut_entry(entry: JsonObject, free: int) -> JsonObject:
    """An entry that alone is too large: what it gives back is cut first, then what it takes."""
    entry = {**entry, "description": brief(str(entry["description"]), SHORT_DESCRIPTION_BYTES)}
    for member in ("returns", "outputSchema", "inputSchema"):
        schema = entry.get(member)
        over = size(entry) - free
        if over > 0 and isinstance(schema, dict):
            left = max(size(schema) - over, MIN_CUT_BYTES)
            entry[member] = cut_schema(schema, left)
    return entry


def _with_tools(heads: Sequence[JsonObject], tools: Iterable[list[Json]]) -> list[Json]:
    return [{**head, "matched_tools": own} for head, own in zip(heads, tools, strict=False)]


def fitting(entries: Iterable[Json], room: int) -> list[Json]:
    """The first entries that fit, as a list, into ``room`` bytes."""
    kept = []
    room -= 2  # the brackets
    for entry in entries:
        room -= size(entry) + 1
        if room < 0:
            break
        kept.append(entry)
    return kept


def _even_shares(names: Sequence[Sequence[Json]], room: int, opening: int) -> list[int]:
    """How many of its names each server may show: in turns, one more of each, while they fit.

    ``opening``: what a server's first name costs beside itself.
    """
    shares = [0] * len(names)
    for turn in range(max(map(len, names), default=0)):
        before = room
        for at, own in enumerate(names):
            if shares[at] == turn < len(own):
                cost = size(own[turn]) + 1 + (0 if turn else opening)
                shares[at] += cost <= room
                room -= cost if cost <= room else 0
        if room == before:
            break
    return shares
