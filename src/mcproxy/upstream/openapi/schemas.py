"""The schemas of a description as JSON Schema 2020-12 that stands by itself: what a reference leads
to comes along in ``$defs``, up to a bound, beyond which anything is accepted.

Keywords are taken by name, so that nothing else gets through: ``$id`` would change what references
mean, ``x-…`` and examples cost tokens. Each schema of a document is translated once, however often
it is referred to: that bounds the work for a hostile one. Pure.
"""

from collections.abc import Iterator, Mapping

import msgspec

from mcproxy.types import Json, JsonObject
from mcproxy.upstream.openapi.document import MAX_DEPTH, Document, Unusable, text

INPUT_BYTES = 24 << 10  # of a tool's arguments as JSON; real ones have some hundred to 10,000
OUTPUT_BYTES = 6 << 10  # only its type is told to models, in 120 characters
MAX_DEFINITIONS = 100  # in one tool's schema
MAX_CHOICES = 256  # of an enum: all countries are 250
MAX_TEXT_CHARS = 300  # of what is said of one parameter

# Where a schema holds other schemas (JSON Schema 2020-12 core, section 10).
_ONE = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_BY_NAME = frozenset({"properties", "patternProperties", "dependentSchemas"})
_TYPES = frozenset({"type", "enum", "const", "required", "format"})
_SAID = frozenset({"description", "default", "deprecated", "contentEncoding", "contentMediaType"})
_BOUNDS = frozenset(
    {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "dependentRequired",
    }
)
_EXCLUSIVE = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))

_encode = msgspec.json.Encoder().encode


class Translated(msgspec.Struct, frozen=True):
    """A schema, the references in it, and its size in bytes."""

    schema: JsonObject
    references: tuple[str, ...]
    size: int


class Schemas:
    """The schemas of one document: those of arguments, or those of results (``results``), which are
    told with their types alone and bind nobody to more than these."""

    def __init__(self, document: Document, *, results: bool = False) -> None:
        self._document = document
        self._results = results
        self._kept = _TYPES if results else _TYPES | _SAID | _BOUNDS
        self._limit = OUTPUT_BYTES if results else INPUT_BYTES
        self._done: dict[int, tuple[Json, Translated]] = {}  # the source too: an id is its own
        self._names: dict[str, str] = {}  # by reference, and the other way round
        self._referred: dict[str, str] = {}

    def alone(self, schema: JsonObject) -> JsonObject:
        """A schema, already translated, with all that it refers to. Raises Unusable where it is too
        large without."""
        return self._with_definitions(_translated(schema))

    def translated(self, schema: Json) -> JsonObject:
        """A schema as it is part of another; it still refers to the rest."""
        return self._translate(schema).schema

    def _with_definitions(self, root: Translated) -> JsonObject:
        if root.size > self._limit:
            raise Unusable(f"its schema has {root.size} bytes, the limit is {self._limit}")
        definitions: JsonObject = {}
        wanted, left = list(root.references), self._limit - root.size
        for name in wanted:  # the nearest first, since it grows while it is walked
            if name in definitions:
                continue
            found = self._definition(name)
            if found.size > left or len(definitions) >= MAX_DEFINITIONS:
                found = _ANYTHING
            definitions[name] = found.schema
            left -= found.size + len(name)
            wanted += found.references
        return {**root.schema, "$defs": definitions} if definitions else root.schema

    def _definition(self, name: str) -> Translated:
        try:
            return self._translate(self._document.at(self._referred[name]))
        except Unusable:
            return _ANYTHING

    def _translate(self, schema: Json) -> Translated:
        known = self._done.get(id(schema))
        if known is None:
            known = (schema, _translated(self._schema(schema, 0)))
            if isinstance(schema, dict):
                self._done[id(schema)] = known
        return known[1]

    def _schema(self, schema: Json, depth: int) -> JsonObject:
        if not isinstance(schema, dict) or depth > MAX_DEPTH:
            return {"not": {}} if schema is False else {}
        if isinstance(schema.get("$ref"), str):
            return self._reference(schema)
        inner = {key: self._inner(key, value, depth + 1) for key, value in schema.items()}
        made: JsonObject = {key: value for key, value in inner.items() if value is not None}
        if self._results:
            return _nullable(_loose(made), schema)
        return _nullable(_shortened(_exclusive(made)), schema)

    def _inner(self, key: str, value: Json, depth: int) -> Json:
        """What becomes of a keyword; None where nothing does."""
        if key in self._kept:
            return value
        if key in _ONE:
            whole = isinstance(value, bool) and key == "additionalProperties"
            return value if whole else self._schema(value, depth)
        if key in _LISTS and isinstance(value, list):
            return [self._schema(each, depth) for each in value]
        if key in _BY_NAME and isinstance(value, dict):
            return {name: self._schema(each, depth) for name, each in value.items()}
        return None

    def _reference(self, schema: JsonObject) -> JsonObject:
        name = self._name(text(schema["$ref"]))
        said = text(schema.get("description")) if not self._results else ""
        made: JsonObject = {"$ref": f"#/$defs/{name}"}
        return _shortened({**made, "description": said}) if said else made

    def _name(self, reference: str) -> str:
        """What a reference is called in ``$defs``: its last step, made a word."""
        name = self._names.get(reference)
        if name is None:
            last = reference.rpartition("/")[2]
            name = "".join(char if char.isalnum() else "_" for char in last)[:60] or "schema"
            while name in self._referred:
                name = f"{name[:60]}_{len(self._referred)}"
            self._names[reference], self._referred[name] = name, reference
        return name


def _translated(schema: JsonObject) -> Translated:
    found = dict.fromkeys(_references(schema))
    return Translated(schema, tuple(found), len(_encode(schema)))


def _references(schema: Json) -> list[str]:
    """The names that a translated schema refers to; what only looks so (in a default, as the name
    of a property) is none."""
    if not isinstance(schema, dict):
        return []
    own = schema.get("$ref")
    if isinstance(own, str):
        return [own.removeprefix("#/$defs/")]
    return [name for inner in _schemas_in(schema) for name in _references(inner)]


def _schemas_in(schema: JsonObject) -> Iterator[Json]:
    for key, value in schema.items():
        if key in _ONE:
            yield value
        elif key in _LISTS and isinstance(value, list):
            yield from value
        elif key in _BY_NAME and isinstance(value, dict):
            yield from value.values()


_ANYTHING = Translated({}, (), 2)


def _loose(made: JsonObject) -> JsonObject:
    """A result's schema: an API that grows breaks no promise of what it has besides."""
    if made.get("additionalProperties") is False:
        del made["additionalProperties"]
    alternatives = made.pop("oneOf", None)
    return {**made, "anyOf": alternatives} if alternatives and "anyOf" not in made else made


def _exclusive(made: JsonObject) -> JsonObject:
    """Bounds as of 3.0, where ``exclusiveMinimum`` says of ``minimum`` what it is."""
    for bound, exclusive in _EXCLUSIVE:
        if isinstance(made.get(exclusive), bool):
            is_exclusive = made.pop(exclusive)
            if is_exclusive and bound in made:
                made[exclusive] = made.pop(bound)
    return made


def _shortened(made: JsonObject) -> JsonObject:
    said, choices = text(made.get("description")), made.get("enum")
    if isinstance(choices, list) and len(choices) > MAX_CHOICES:
        del made["enum"]
        first = ", ".join(map(str, choices[:3]))
        said = f"One of {len(choices)}: {first[:100]}, … {said}"
    if said:
        made["description"] = shortened(said, MAX_TEXT_CHARS)
    return made


def shortened(said: str, limit: int) -> str:
    """A text of at most so many characters, cut between words."""
    words = said.strip()
    return words if len(words) <= limit else f"{words[: limit - 1].rpartition(' ')[0]}…"


def _nullable(made: JsonObject, source: Mapping[str, Json]) -> JsonObject:
    """As of 3.0, where ``nullable`` says that null is a value too."""
    kind, choices = made.get("type"), made.get("enum")
    if kind == "file":  # of version 2
        made["type"] = "string"
    if source.get("nullable") is not True and source.get("x-nullable") is not True:
        return made
    if isinstance(choices, list) and None not in choices:
        made["enum"] = [*choices, None]
    if isinstance(kind, str) and kind != "null":
        made["type"] = [kind, "null"]
    elif kind is None and made:
        made = {"anyOf": [made, {"type": "null"}]}
    return made
