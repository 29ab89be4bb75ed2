"""What a JSON Schema says in terms of types, as a tree that both languages can write. Pure.

Only what types can express: objects with named members, maps, arrays, enumerations, unions and the
plain types. Everything else is ``ANYTHING``: a stub that allows too much helps an editor, one that
allows too little is in the way.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from mcproxy.manifest.parameters import properties, required
from mcproxy.manifest.schema import pointed_at
from mcproxy.types import Json, JsonObject

MAX_DEPTH: Final = 8  # deeper in, nobody reads the types
MAX_TYPES: Final = 5_000  # of one schema: definitions that refer to each other are without end

PlainName: TypeAlias = Literal["string", "integer", "number", "boolean", "null", "anything"]


class Plain(msgspec.Struct, frozen=True):
    """A type without parts."""

    name: PlainName


class Choice(msgspec.Struct, frozen=True):
    """One of these strings, integers, booleans or null."""

    values: tuple[str | int | bool | None, ...]


class Array(msgspec.Struct, frozen=True):
    """A list of items of one type."""

    item: "Shape"


class Map(msgspec.Struct, frozen=True):
    """An object with any keys."""

    value: "Shape"


class Either(msgspec.Struct, frozen=True):
    """A union, without doubles."""

    options: tuple["Shape", ...]


class Member(msgspec.Struct, frozen=True):
    """One member of a record."""

    name: str
    shape: "Shape"
    required: bool
    description: str = ""


class Record(msgspec.Struct, frozen=True):
    """An object with named members, in the order declared."""

    members: tuple[Member, ...]


Shape: TypeAlias = Plain | Choice | Array | Map | Either | Record
ANYTHING = Plain("anything")
_PLAIN: Mapping[str, Plain] = {
    "string": Plain("string"),
    "integer": Plain("integer"),
    "number": Plain("number"),
    "boolean": Plain("boolean"),
    "null": Plain("null"),
}


class _Reading(msgspec.Struct):
    """A schema that is being read: references are to ``root``; ``left`` types are still made."""

    root: JsonObject
    left: int


def shape_of(schema: Json, most: int = MAX_TYPES) -> Shape:
    """The type that the schema describes, made of at most so many."""
    return _shape(schema, _Reading(schema if isinstance(schema, dict) else {}, most), MAX_DEPTH)


def record_of(schema: Json) -> Record:
    """The type of a tool's arguments: an object, whatever the schema says."""
    shape = shape_of(schema)
    return shape if isinstance(shape, Record) else Record(())


def _shape(schema: Json, reading: _Reading, depth: int) -> Shape:
    reading.left -= 1
    if not isinstance(schema, dict) or depth == 0 or reading.left < 0:
        return ANYTHING
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _shape(pointed_at(reading.root, reference), reading, depth - 1)
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list):
        return _choice(values)
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        if isinstance(options, list) and not properties(schema):
            return _either([_shape(option, reading, depth - 1) for option in options])
    return _typed(schema, reading, depth)


def _typed(schema: JsonObject, reading: _Reading, depth: int) -> Shape:
    declared = schema.get("type", "object" if properties(schema) else None)
    if isinstance(declared, list):
        return _either([_of_type(name, schema, reading, depth) for name in declared])
    return _of_type(declared, schema, reading, depth)


def _of_type(name: Json, schema: JsonObject, reading: _Reading, depth: int) -> Shape:
    if name == "array":
        return Array(_shape(schema.get("items"), reading, depth - 1))
    if name == "object":
        return _object(schema, reading, depth)
    return _PLAIN.get(name, ANYTHING) if isinstance(name, str) else ANYTHING


def _object(schema: JsonObject, reading: _Reading, depth: int) -> Shape:
    declared, demanded = properties(schema), required(schema)
    if not declared:
        return Map(_shape(schema.get("additionalProperties"), reading, depth - 1))
    return Record(
        tuple(
            Member(name, _shape(inner, reading, depth - 1), name in demanded, _description(inner))
            for name, inner in declared.items()
        )
    )


def _choice(values: list[Json]) -> Shape:
    fit = [value for value in values if value is None or isinstance(value, str | int)]
    if len(fit) != len(values) or not fit:
        return ANYTHING
    distinct = {(type(value), value): value for value in fit}  # true is not 1
    return Choice(tuple(distinct.values()))


def _either(options: list[Shape]) -> Shape:
    flat = [
        part
        for option in options
        for part in (option.options if isinstance(option, Either) else (option,))
    ]
    distinct = tuple(dict.fromkeys(flat))
    if not distinct or ANYTHING in distinct:
        return ANYTHING
    return distinct[0] if len(distinct) == 1 else Either(distinct)


def _description(schema: Json) -> str:
    text = schema.get("description") if isinstance(schema, dict) else None
    return text if isinstance(text, str) else ""
