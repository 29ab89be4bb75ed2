"""What is remembered of a server's definitions, and what a listing comes to by it. Pure.

Each tool's definition is remembered with the first time it was seen; the server's own words about
itself are one more definition, and its prompts have a record of their own. A later one that differs
is graded: one that is dangerous waits for a person, and until then the tool is held: it is there by
name, with the reason, and without any of its words; a prompt is not there. What was renamed is
known by its likeness to one that is gone.
"""

import difflib
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from mcproxy.config.model import Trust
from mcproxy.foreign_text import is_seen, label, one_line
from mcproxy.policy.definition_grade import Grade, grade
from mcproxy.policy.instructing import sentences
from mcproxy.types import Json, JsonObject, ServerView, Tool

ITSELF = ""  # stands for the server's own words, where a tool has its name
_PROMPTS = "/prompts"  # behind a server's name, which has no slash
MAX_GONE = 2_000  # tools that a server has no more; those unseen for longest are forgotten first
SEEN_SECS = 24 * 3600.0  # how exactly it is known when one was seen last
_MAX_COMPARED = 50  # tools that are gone, for one that is new
_MAX_COMPARED_CHARS = 1000
_HOLDING: frozenset[Trust] = frozenset({"hold", "strict"})
_LIKE = 0.9  # of two descriptions
_MAX_LABEL_CHARS = 100
_MAX_LINE_CHARS = 500  # of a difference; what is longer has several

_encode = msgspec.json.Encoder(order="sorted").encode
_object = msgspec.json.Decoder(dict[str, Json]).decode


class SeenDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One tool or prompt; times in seconds since 1970. ``accepted`` is the definition that counts,
    as JSON, None for one that nobody has accepted; ``waiting`` the one that is held, for these
    ``reasons``.
    """

    first_seen: float
    last_seen: float
    accepted: str | None = None
    waiting: str | None = None
    reasons: tuple[str, ...] = ()


Record = Mapping[str, SeenDefinition]
"""All of one source, by name. A source is a server with its tools, or its prompts alone."""
Definitions = Mapping[str, str]
"""What a source says now: JSON by name."""


class Rules(msgspec.Struct, frozen=True):
    """By what is judged: ``names`` gives for a tool's name another server that has it;
    ``by_annotation``: some namespace has ``read_only`` or ``ask_for``."""

    trust: Trust
    names: Mapping[str, str]
    now: float
    by_annotation: bool = False


class Judged(msgspec.Struct, frozen=True):
    """The record as it is now, the names that are held, and what is to be told: names with their
    grade, of those that changed."""

    record: Record
    held: frozenset[str]
    told: tuple[tuple[str, Grade], ...] = ()


def prompts_of(server: str) -> str:
    """The source that a server's prompts are."""
    return server + _PROMPTS


def server_of(source: str) -> str:
    """The server behind a source."""
    return source.removesuffix(_PROMPTS)


def of_server(view: ServerView) -> Definitions:
    """What a server says of its tools, and of itself."""
    listed = {tool.ref.tool: tool.definition for tool in reversed(view.tools)}
    itself: JsonObject = {"description": view.description}
    return _texts(listed | ({ITSELF: itself} if view.description else {}))


def of_prompts(prompts: Sequence[JsonObject]) -> Definitions:
    """What it says of its prompts."""
    return _texts({str(each.get("name")): each for each in reversed(prompts)})


def _texts(definitions: Mapping[str, Mapping[str, Json]]) -> Definitions:
    return {name: _encode(definition).decode() for name, definition in definitions.items()}


def judge(record: Record | None, texts: Definitions, rules: Rules) -> Judged:
    """Hold a listing against the record; None: the source was never seen."""
    known = record or {}
    now: dict[str, SeenDefinition] = {}
    told: list[tuple[str, Grade]] = []
    for name, definition in texts.items():
        seen = known.get(name)
        if seen and definition in (seen.accepted, seen.waiting):
            now[name] = _as_known(seen, definition, rules)
            continue
        found, now[name] = _graded(known, texts, name, rules)
        told += [(name, found)] if seen or found.level == "dangerous" else []
    gone = {name: seen for name, seen in known.items() if name not in now}
    kept = {**_bounded(gone), **now}
    changed = kept if kept != known else known
    waiting = frozenset(name for name in texts if changed[name].waiting is not None)
    return Judged(changed, waiting, tuple(told))


def _graded(
    known: Record, texts: Definitions, name: str, rules: Rules
) -> tuple[Grade, SeenDefinition]:
    """One that is new, or has changed. What nobody has accepted yet is graded as if it were new,
    however often it changes."""
    definition, seen = texts[name], known.get(name)
    counts = seen.accepted if seen else None
    before = counts or _renamed(known, texts, definition)
    shadowed = rules.names.get(name) if known and not counts else None
    loosens = rules.by_annotation
    found = grade(read_back(before), _object(definition), shadowed, by_annotation=loosens)
    waits = rules.trust in _HOLDING and found.level == "dangerous"
    if rules.trust == "strict" and known:
        waits = waits or found.level == "notable"
    first = seen.first_seen if seen else rules.now
    if not waits:
        return found, SeenDefinition(first, rules.now, definition)
    reasons = found.reasons or (("has changed",) if counts else ("is new",))
    return found, SeenDefinition(first, rules.now, before, definition, reasons)


def read_back(definition: str | None) -> JsonObject | None:
    """A definition as it was seen."""
    return None if definition is None else _object(definition)


def suspected(view: ServerView) -> Iterator[str]:
    """What of a server would be held if it were seen for the first time, with the reasons."""
    for name, definition in of_server(view).items():
        found = grade(None, _object(definition))
        if found.level == "dangerous":
            shown = label(name, _MAX_LABEL_CHARS) or "itself"
            yield f"{shown} {'; it '.join(found.reasons)}"


def held(record: Record) -> Mapping[str, SeenDefinition]:
    """Those that wait for a person."""
    return {name: seen for name, seen in record.items() if seen.waiting is not None}


def shown_as(seen: SeenDefinition) -> str:
    """Stands for what waits, as a person was shown it."""
    return hashlib.sha256((seen.waiting or "").encode()).hexdigest()


def accepted(record: Record, shown: Mapping[str, str]) -> Record:
    """The record once a person accepted these names, each as it was ``shown_as``: what waits by
    now, and is something else, still does."""
    return {
        name: replace(seen, accepted=seen.waiting, waiting=None, reasons=())
        if seen.waiting is not None and shown.get(name) == shown_as(seen)
        else seen
        for name, seen in record.items()
    }


def merged(stored: Record, ours: Record) -> Record:
    """Ours, but for what a person has accepted in the stored one meanwhile."""
    return {**stored, **{name: _newer(stored.get(name), seen) for name, seen in ours.items()}}


def name_of(source: str, name: str) -> str:
    """What was judged, for people."""
    server, shown = server_of(source), label(name, _MAX_LABEL_CHARS)
    if source != server:
        return f"{server}, its prompt {shown}"
    return f"{server}.{shown}" if name != ITSELF else f"{server}, its own description"


def _newer(stored: SeenDefinition | None, ours: SeenDefinition) -> SeenDefinition:
    was_accepted = stored is not None and ours.waiting is not None
    return stored if stored and was_accepted and stored.accepted == ours.waiting else ours


def _as_known(seen: SeenDefinition, definition: str, rules: Rules) -> SeenDefinition:
    """One that is as it was: accepted, or still waiting where things are held."""
    if rules.now - seen.last_seen > SEEN_SECS:
        seen = replace(seen, last_seen=rules.now)
    if seen.waiting is None:
        return seen
    if definition == seen.accepted or rules.trust not in _HOLDING:
        return replace(seen, accepted=definition, waiting=None, reasons=())
    return seen


def _renamed(known: Record, texts: Definitions, definition: str) -> str | None:
    """The definition of what this one was, under another name that is gone."""
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


def may_be_seen(view: ServerView, found: Judged) -> ServerView:
    """The server as it may be seen: of what is held the name and the reason."""
    if not found.held:
        return view
    tools = tuple(
        _held(tool, found.record[tool.ref.tool]) if tool.ref.tool in found.held else tool
        for tool in view.tools
    )
    return replace(view, tools=tools, description="" if ITSELF in found.held else view.description)


def _held(tool: Tool, seen: SeenDefinition) -> Tool:
    why = "; it ".join(seen.reasons)
    stub: JsonObject = {
        "name": tool.ref.tool,
        "description": f"Held: its definition {why}. It cannot be called until a person accepts "
        "it with `mcproxy trust`.",
        "inputSchema": {"type": "object", "additionalProperties": True},
    }
    return Tool(tool.ref, stub, held=why)


def names_of_others(records: Mapping[str, Record], source: str) -> Mapping[str, str]:
    """Each tool's name with its server, of the records of all sources but one."""
    servers = [name for name in records if name not in (source, prompts_of(server_of(name)))]
    return {tool: server for server in servers for tool in records[server] if tool != ITSELF}


@functools.lru_cache(maxsize=256)  # the page shows it anew whenever anything happens
def difference(seen: SeenDefinition) -> tuple[str, ...]:
    """What waits against what counts: the lines that are gone (``-``), new (``+``), and near."""
    before, now = (_lines(read_back(each)) for each in (seen.accepted, seen.waiting))
    found = list(difflib.unified_diff(before, now, lineterm="", n=1))[2:]
    return tuple(line for line in found if not line.startswith("@@"))


def _lines(definition: JsonObject | None) -> list[str]:
    """A definition as lines to be compared; what acts or hides is written out."""
    if definition is None:
        return []
    return [line for key in sorted(definition) for line in _member(key, definition[key])]


def _member(key: str, value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in sorted(value):
            yield from _member(f"{key}.{inner}", value[inner])
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        for piece in sentences(text) or [""]:
            shown = one_line(piece if is_seen(piece.strip()) else ascii(piece))
            for at in range(0, len(shown) or 1, _MAX_LINE_CHARS):  # a person is to see all of it
                yield f"{label(key, _MAX_LABEL_CHARS)}: {shown[at : at + _MAX_LINE_CHARS]}"
