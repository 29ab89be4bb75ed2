"""What is remembered of a server's definitions, and what a listing comes to by it. Pure.

Each tool's definition is remembered with the first time it was seen; the server's own words about
itself are one more definition. A later one that differs is graded: one that is dangerous waits for
a person, and until then the tool is held: it is there by name, with the reason, and without any of
its words. A tool that was renamed is known by its likeness to one that is gone.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import msgspec
from msgspec.structs import replace as altered

from mcproxy.config.model import Trust
from mcproxy.foreign_text import label, one_line
from mcproxy.policy.definition_grade import Grade, grade
from mcproxy.types import Json, JsonObject, ServerView, Tool

ITSELF = ""  # stands for the server's own words, where a tool has its name
MAX_GONE = 2_000  # tools that a server has no more; those unseen for longest are forgotten first
SEEN_SECS = 24 * 3600.0  # how exactly it is known when one was seen last
_MAX_COMPARED = 50  # tools that are gone, for one that is new
_MAX_COMPARED_CHARS = 1000
_LIKE = 0.9  # of two descriptions
_MAX_LABEL_CHARS = 100
_MAX_LINE_CHARS = 500  # of a difference

_encode = msgspec.json.Encoder(order="sorted").encode
_object = msgspec.json.Decoder(dict[str, Json]).decode


class SeenDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One tool; times in seconds since 1970. ``accepted`` is the definition that counts, as JSON,
    None for one that nobody has accepted; ``waiting`` the one that is held, for these ``reasons``.
    """

    first_seen: float
    last_seen: float
    accepted: str | None = None
    waiting: str | None = None
    reasons: tuple[str, ...] = ()


Record = Mapping[str, SeenDefinition]
"""All of one server, by the tool's name."""


@dataclass(frozen=True, slots=True)
class Rules:
    """By what is judged: ``names`` gives for a tool's name a server that has it."""

    trust: Trust
    names: Mapping[str, str]
    now: float


@dataclass(frozen=True, slots=True)
class Judged:
    """The record as it is now, what may be seen of the server, and what is to be told of it: names
    with their grade, of those that changed."""

    record: Record
    view: ServerView
    told: tuple[tuple[str, Grade], ...] = ()


def judge(record: Record | None, view: ServerView, rules: Rules) -> Judged:
    """Hold a listing against the record; None: the server was never seen."""
    known = record or {}
    listed = {tool.ref.tool: tool for tool in reversed(view.tools)}
    texts = {name: _encode(tool.definition).decode() for name, tool in listed.items()}
    if view.description:
        texts[ITSELF] = _encode({"description": view.description}).decode()
    now: dict[str, SeenDefinition] = {}
    told: list[tuple[str, Grade]] = []
    for name, definition in texts.items():
        seen = known.get(name)
        if seen is None or definition not in (seen.accepted, seen.waiting):
            before = seen.accepted if seen else _renamed(known, texts, definition)
            shadowed = rules.names.get(name) if known and not seen else None
            found = grade(read_back(before), _object(definition), shadowed)
            told += [(name, found)] if seen or found.level == "dangerous" else []
            now[name] = _noted(seen, definition, found, rules)
        else:
            now[name] = _as_known(seen, definition, rules)
    gone = {name: seen for name, seen in known.items() if name not in now}
    kept = {**_bounded(gone), **now}
    changed = kept if kept != known else known
    held = {name for name in texts if changed[name].waiting is not None}
    return Judged(changed, _shown(view, changed, held), tuple(told))


def read_back(definition: str | None) -> JsonObject | None:
    """A definition as it was seen."""
    return None if definition is None else _object(definition)


def suspected(view: ServerView) -> Iterator[str]:
    """What of a server would be held if it were seen for the first time, with the reasons."""
    texts = {tool.ref.tool: tool.definition for tool in view.tools}
    if view.description:
        texts[ITSELF] = {"description": view.description}
    for name, definition in texts.items():
        found = grade(None, definition)
        if found.level == "dangerous":
            shown = label(name, _MAX_LABEL_CHARS) or "itself"
            yield f"{shown} {'; it '.join(found.reasons)}"


def held(record: Record) -> Mapping[str, SeenDefinition]:
    """Those that wait for a person."""
    return {name: seen for name, seen in record.items() if seen.waiting is not None}


def accepted(record: Record, names: frozenset[str]) -> Record:
    """The record once a person accepted these, as they wait."""
    return {
        name: altered(seen, accepted=seen.waiting, waiting=None, reasons=())
        if name in names and seen.waiting is not None
        else seen
        for name, seen in record.items()
    }


def merged(stored: Record, ours: Record) -> Record:
    """Ours, but for what a person has accepted in the stored one meanwhile."""
    return {**stored, **{name: _newer(stored.get(name), seen) for name, seen in ours.items()}}


def name_of(server: str, tool: str) -> str:
    """What was judged, for people."""
    shown = label(tool, _MAX_LABEL_CHARS)
    return f"{server}.{shown}" if tool != ITSELF else f"{server}, its own description"


def _newer(stored: SeenDefinition | None, ours: SeenDefinition) -> SeenDefinition:
    was_accepted = stored is not None and ours.waiting is not None
    return stored if stored and was_accepted and stored.accepted == ours.waiting else ours


def _noted(
    seen: SeenDefinition | None, definition: str, found: Grade, rules: Rules
) -> SeenDefinition:
    first = seen.first_seen if seen else rules.now
    if found.level == "dangerous" and rules.trust == "hold":
        before = seen.accepted if seen else None
        return SeenDefinition(first, rules.now, before, definition, found.reasons)
    return SeenDefinition(first, rules.now, definition)


def _as_known(seen: SeenDefinition, definition: str, rules: Rules) -> SeenDefinition:
    """One that is as it was: accepted, or still waiting where things are held."""
    if rules.now - seen.last_seen > SEEN_SECS:
        seen = altered(seen, last_seen=rules.now)
    if seen.waiting is None:
        return seen
    if definition == seen.accepted or rules.trust != "hold":
        return altered(seen, accepted=definition, waiting=None, reasons=())
    return seen


def _renamed(known: Record, texts: Mapping[str, str], definition: str) -> str | None:
    """The definition of the tool that this one was, under another name that is gone."""
    new = _object(definition)
    text = str(new.get("description", ""))[:_MAX_COMPARED_CHARS]
    gone = [seen.accepted for name, seen in known.items() if name not in texts and seen.accepted]
    for was in gone[:_MAX_COMPARED]:
        old = _object(was)
        before = str(old.get("description", ""))[:_MAX_COMPARED_CHARS]
        alike = difflib.SequenceMatcher(None, before, text, False)
        same = old.get("inputSchema") == new.get("inputSchema")
        if text and same and alike.real_quick_ratio() > _LIKE and alike.ratio() > _LIKE:
            return was
    return None


def _bounded(gone: Record) -> Record:
    newest = sorted(gone, key=lambda name: -gone[name].last_seen)[:MAX_GONE]
    return gone if len(newest) == len(gone) else {name: gone[name] for name in newest}


def _shown(view: ServerView, record: Record, held: set[str]) -> ServerView:
    """What may be seen of the server: of what is held the name and the reason."""
    if not held:
        return view
    tools = tuple(
        _held(tool, record[tool.ref.tool]) if tool.ref.tool in held else tool for tool in view.tools
    )
    return replace(view, tools=tools, description="" if ITSELF in held else view.description)


def _held(tool: Tool, seen: SeenDefinition) -> Tool:
    why = "; it ".join(seen.reasons)
    stub: JsonObject = {
        "name": tool.ref.tool,
        "description": f"Held: its definition {why}. It cannot be called until a person accepts "
        "it with `mcproxy trust`.",
        "inputSchema": {"type": "object", "additionalProperties": True},
    }
    return Tool(tool.ref, stub, held=why)


def names_in_use(views: Mapping[str, Record]) -> Iterator[tuple[str, str]]:
    """Each tool's name with its server, of the records of all servers."""
    for server, record in views.items():
        yield from ((name, server) for name in record if name != ITSELF)


def difference(seen: SeenDefinition) -> list[str]:
    """What waits against what counts: the lines that are gone (``-``), new (``+``), and near."""
    before, now = (_lines(read_back(each)) for each in (seen.accepted, seen.waiting))
    found = list(difflib.unified_diff(before, now, lineterm="", n=1))[2:]
    return [line for line in found if not line.startswith("@@")]


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
