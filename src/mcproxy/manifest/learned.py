"""What the results of a tool look like, learned from those that it gave. Pure.

A ``ResultShape`` says for each place in a result (``/[]/title``: the title of each item) which
types of value stood there, and how often; never which values, except a few words where a member's
name says that it is a choice. Shapes of different results are merged place by place by operations
that know no order, and of all places the first so many are kept, those near the root first: so a
shape is the same whatever the order in which results came, it is never larger than its bound, and
what was once seen to be possible stays so.

A name of a member may be data itself (the members of ``{"alice@example.com": 3}``). Names that do
not look like names are never kept: what stands under them is learned as that of any name. The
others are forgotten when a schema is made, where an object has so many that they must be data.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec

from mcproxy.manifest.results import written_type
from mcproxy.manifest.text import parts
from mcproxy.types import Json, JsonObject, Tool

MAX_PLACES = 300  # of a shape: some 20 kB, and more than a reader reads
MAX_DEPTH = 8  # as deep as stubs write types
MAX_VALUES = 3_000  # looked at in one result: some milliseconds
MAX_ITEMS, MAX_MEMBERS = 40, 100  # looked at in one list, in one object
MAX_CHOICES, MAX_CHOICE_CHARS = 8, 24
OFTEN = 20  # texts in one place, before they are said to be all that there are
REPEATED = 4  # … and times that each was seen, on average
MANY_MEMBERS = 16  # of which most are seldom there: their names are data

ITEM, ANY_NAME = "[]", "{}"  # steps of a path that are no names
Kind: TypeAlias = Literal["array", "boolean", "integer", "null", "number", "object", "string"]
_KINDS: Mapping[type, Kind] = {
    list: "array",
    bool: "boolean",
    int: "integer",
    type(None): "null",
    float: "number",
    dict: "object",
    str: "string",
}
# One word, with few digits: no address, no date, no number of anything.
_NAME = re.compile(r"(?!(?:\D*\d){4})[@$]?[^\W\d][\w-]{0,39}")
_CHOICE = re.compile(r"[^\W\d_]+\d{0,3}(?:[ _-][^\W\d_]+\d{0,3}){0,2}")
# The last word of a member's name that says: this is one of a few words, and nobody's own.
_CHOICE_WORDS = (
    "access action availability category conclusion currency direction effect encoding event "
    "format frequency importance impact kind level method mode operation operator outcome "
    "permission phase priority protocol result role scale scope severity shape side stage state "
    "status strategy tier trend type unit units urgency verdict visibility weekday"
)
_CHOICE_NAMES = frozenset(_CHOICE_WORDS.split())

Harmless: TypeAlias = Callable[[str], bool]
"""Whether a text may be kept: it does not look like a secret."""


class PlaceInShape(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stood in one place: how many values of each type, and how many of the objects were
    looked into. ``choices`` are the texts that stood there, sorted; None: no few words."""

    kinds: dict[Kind, int] = {}
    opened: int = 0
    choices: tuple[str, ...] | None = ()


class ResultShape(msgspec.Struct, frozen=True, omit_defaults=True):
    """``seen`` results, by paths: the root is ``""``, each step below it begins with ``/``."""

    seen: int = 0
    places: dict[str, PlaceInShape] = {}


class Learned(msgspec.Struct, frozen=True):
    """What is told of a shape of so many results: as a JSON Schema, which all of them satisfy, and
    as a type in a few words, as ``written_type`` writes it."""

    results_seen: int
    schema: JsonObject
    brief: str

    @property
    def told(self) -> JsonObject:
        """What is told beside a tool's definition."""
        return {"results_seen": self.results_seen, "schema": self.schema}


Returns: TypeAlias = Callable[[Tool], Learned | None]
"""What was learned of a tool's results; asked where it declares nothing of them."""


def unlearned(_: Tool) -> None:
    """Nothing was learned of any tool."""


def observed(value: Json, harmless: Harmless) -> ResultShape:
    """The shape of one result. Of what is large the head is looked at."""
    tallies: dict[str, _Tally] = {}
    waiting = deque([("", value)])
    _count(tallies, [("", value)], harmless)
    left = MAX_VALUES
    while waiting and left > 0:
        path, outer = waiting.popleft()
        if path.count("/") >= MAX_DEPTH:
            continue
        found = _opened(path, outer, harmless)
        if isinstance(outer, dict):
            tallies[path].opened += 1
        _count(tallies, found, harmless)
        waiting.extend(each for each in found if isinstance(each[1], dict | list))
        left -= len(found)
    return ResultShape(1, _first({path: tally.place() for path, tally in tallies.items()}))


def merged(one: ResultShape, other: ResultShape) -> ResultShape:
    """The shape of the results of both."""
    paths = one.places.keys() | other.places.keys()
    empty = PlaceInShape()
    places = {
        path: _both(one.places.get(path, empty), other.places.get(path, empty)) for path in paths
    }
    return ResultShape(one.seen + other.seen, _first(places))


def learned_from(shape: ResultShape) -> Learned:
    """The shape as it is told."""
    places = _without_data_names(shape.places)
    inner: dict[str, list[str]] = {}
    for path in sorted(places):
        inner.setdefault(_outer(path), []).append(path)
    schema = _schema("", places, inner)
    return Learned(shape.seen, schema, written_type(schema))


class _Tally(msgspec.Struct):
    """A place while one result is looked at."""

    kinds: Counter[Kind] = msgspec.field(default_factory=Counter)
    opened: int = 0
    texts: set[str] | None = msgspec.field(default_factory=set)

    def place(self) -> PlaceInShape:
        choices = None if self.texts is None else tuple(sorted(self.texts))
        return PlaceInShape(dict(sorted(self.kinds.items())), self.opened, choices)


def _opened(path: str, outer: Json, harmless: Harmless) -> list[tuple[str, Json]]:
    """What stands within a list or an object, by its path."""
    if isinstance(outer, list):
        return [(f"{path}/{ITEM}", item) for item in outer[:MAX_ITEMS]]
    if not isinstance(outer, dict):
        return []
    return [
        (f"{path}/{name if _NAME.fullmatch(name) and harmless(name) else ANY_NAME}", outer[name])
        for name in sorted(outer)[:MAX_MEMBERS]
    ]


def _count(
    tallies: dict[str, _Tally], found: Iterable[tuple[str, Json]], harmless: Harmless
) -> None:
    for path, value in found:
        tally = tallies.setdefault(path, _Tally())
        tally.kinds[_KINDS[type(value)]] += 1
        if isinstance(value, str) and tally.texts is not None:
            tally.texts.add(value)
            if len(tally.texts) > MAX_CHOICES or not _may_be_kept(path, value, harmless):
                tally.texts = None


def _may_be_kept(path: str, text: str, harmless: Harmless) -> bool:
    words = parts(path.rpartition("/")[2])
    named = bool(words) and words[-1] in _CHOICE_NAMES
    short = len(text) <= MAX_CHOICE_CHARS and _CHOICE.fullmatch(text) is not None
    return named and short and harmless(text)


def _both(one: PlaceInShape, other: PlaceInShape) -> PlaceInShape:
    kinds = {
        kind: one.kinds.get(kind, 0) + other.kinds.get(kind, 0)
        for kind in sorted(one.kinds.keys() | other.kinds.keys())
    }
    choices = None
    if one.choices is not None and other.choices is not None:
        union = sorted({*one.choices, *other.choices})
        choices = tuple(union) if len(union) <= MAX_CHOICES else None
    return PlaceInShape(kinds, one.opened + other.opened, choices)


def _first(places: Mapping[str, PlaceInShape]) -> dict[str, PlaceInShape]:
    """Those that are kept. What stands around a place always comes before it."""
    kept = sorted(places, key=lambda path: (path.count("/"), path))[:MAX_PLACES]
    return {path: places[path] for path in kept}


def _outer(path: str) -> str:
    """The place around this one; that of the root is none."""
    return path.rpartition("/")[0] if path else "none"


def _without_data_names(places: Mapping[str, PlaceInShape]) -> Mapping[str, PlaceInShape]:
    """The places where the names of members that are data are any name, outer ones first."""
    for path in sorted(places, key=lambda path: path.count("/")):
        names = [each for each in places if each and _outer(each) == path]
        seldom = sum(_total(places[name]) < places[path].opened for name in names)
        if path in places and len(names) > MANY_MEMBERS and seldom > len(names) // 2:
            places = _under_any_name(places, path)
    return places


def _under_any_name(places: Mapping[str, PlaceInShape], outer: str) -> Mapping[str, PlaceInShape]:
    renamed: dict[str, PlaceInShape] = {}
    within = re.compile(rf"{re.escape(outer)}/[^/]+")
    for path, place in places.items():
        told = within.sub(f"{outer}/{ANY_NAME}", path, count=1) if within.match(path) else path
        renamed[told] = _both(renamed[told], place) if told in renamed else place
    return renamed


def _total(place: PlaceInShape) -> int:
    return sum(place.kinds.values())


def _schema(
    path: str, places: Mapping[str, PlaceInShape], inner: Mapping[str, list[str]]
) -> JsonObject:
    place = places.get(path, PlaceInShape())
    kinds: list[Json] = [
        kind for kind in place.kinds if not (kind == "integer" and "number" in place.kinds)
    ]
    schema: JsonObject = {"type": kinds[0] if len(kinds) == 1 else kinds} if kinds else {}
    if _is_choice(place):
        schema["enum"] = [*(place.choices or ()), *([None] if "null" in place.kinds else [])]
    below = {step.rpartition("/")[2]: step for step in inner.get(path, ())}
    within = {step: _schema(at, places, inner) for step, at in below.items()}
    if ITEM in within:
        schema["items"] = within.pop(ITEM)
    if ANY_NAME in within:
        schema["additionalProperties"] = within.pop(ANY_NAME)
    if within:
        schema["properties"] = dict(within)
        schema["required"] = [
            name for name in within if _total(places[below[name]]) >= place.opened
        ]
    return schema


def _is_choice(place: PlaceInShape) -> bool:
    texts = place.kinds.get("string", 0)
    only_texts = place.kinds.keys() <= {"string", "null"}
    few = bool(place.choices) and texts >= max(OFTEN, REPEATED * len(place.choices or ()))
    return only_texts and few
