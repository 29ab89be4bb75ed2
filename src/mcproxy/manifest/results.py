"""What a tool gives back, as a script gets it. Pure.

Structured content has to be an object (MCP, server/tools), so that frameworks put a value of any
other type into one with the single member ``result``. A script gets the value itself; so what it is
told of the tool's result is the schema of the value.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import product

from mcproxy.manifest.parameters import properties
from mcproxy.manifest.stubs.shapes import (
    ANYTHING,
    Array,
    Choice,
    Either,
    Map,
    Plain,
    PlainName,
    Record,
    Shape,
    shape_of,
)
from mcproxy.types import Json, JsonObject, Wrapping

_WRAPPED = "x-fastmcp-wrap-result"
_DEFINITIONS = ("$defs", "definitions")

MAX_TYPE_CHARS = 120  # of a type that is told in short: it shares a line with the call
MAX_CHOICE_CHARS = 50  # of all choices of a member; else its type alone is told
_MOST_TYPES = 500  # looked at for it
_LEVELS, _MEMBERS = (4, 3, 2, 1), (12, 8, 5, 3)  # what is left out of a long one, by and by
PYTHON_TYPES: Mapping[PlainName, str] = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
    "anything": "Any",
}


def wrapping(schema: Json) -> Wrapping:
    """Whether results with this output schema are wrapped: ``always`` where the schema says so,
    ``perhaps`` where it has no other property than ``result``."""
    if not isinstance(schema, dict) or properties(schema).keys() != {"result"}:
        return "never"
    return "always" if schema.get(_WRAPPED) is True else "perhaps"


def value_schema(schema: Json) -> Json:
    """The schema of the value that a script gets for results with this output schema.

    The official SDK leaves out the mark, but calls the wrapping of the function ``f`` ``fOutput``.
    """
    kind = wrapping(schema)
    if kind == "never" or not isinstance(schema, dict):
        return schema
    if kind == "perhaps" and not str(schema.get("title", "")).endswith("Output"):
        return schema
    inner = properties(schema)["result"]
    if not isinstance(inner, dict):
        return inner
    kept: JsonObject = {key: schema[key] for key in _DEFINITIONS if key in schema}
    return {**inner, **kept}


def for_script(definition: Mapping[str, Json]) -> JsonObject:
    """A tool's definition as it is told to whoever writes scripts."""
    told = dict(definition)
    if "outputSchema" in told:
        told["outputSchema"] = value_schema(told["outputSchema"])
    return told


def written_type(schema: Json) -> str:
    """The schema as a type, short enough to be read in passing; empty where it says nothing::

        list[{number: int, title: str, state: "open"|"closed", labels?: list[str]}]

    ``?`` marks members that are not always there. Where it would be long, inner types are left
    out, and then members, those first that are not always there.
    """
    shape = shape_of(schema, _MOST_TYPES)
    if shape == ANYTHING:
        return ""
    tries = (_written(shape, levels, members) for members, levels in product(_MEMBERS, _LEVELS))
    return next((text for text in tries if len(text) <= MAX_TYPE_CHARS), _kind(shape))


def _written(shape: Shape, levels: int, members: int) -> str:
    match shape:
        case Choice(values) if len(told := "|".join(map(_value, values))) <= MAX_CHOICE_CHARS:
            return told
        case Either(options):
            return "|".join(dict.fromkeys(_written(each, levels, members) for each in options))
        case Array(item) if item != ANYTHING and (levels or isinstance(item, Plain)):
            return f"list[{_written(item, levels, members)}]"
        case Map(value) if value != ANYTHING and levels:
            return f"dict[str, {_written(value, levels - 1, members)}]"
        case Record() if levels:
            return f"{{{', '.join(_members(shape, levels - 1, members))}}}"
    return _kind(shape)


def _members(record: Record, levels: int, most: int) -> Iterator[str]:
    there_first = sorted(record.members, key=lambda member: not member.required)
    for member in there_first[:most]:
        name = member.name if member.name.isidentifier() else json.dumps(member.name)
        told = _written(member.shape, levels, most)
        yield f"{name}{'' if member.required else '?'}: {told}"
    if len(there_first) > most:
        yield "…"


def _kind(shape: Shape) -> str:
    """The type alone, without what is in it."""
    match shape:
        case Array():
            return "list"
        case Record() | Map():
            return "dict"
        case Either(options):
            return "|".join(dict.fromkeys(map(_kind, options)))
        case Choice(values):
            return "|".join(dict.fromkeys(type(value).__name__ for value in values))
        case Plain(name):
            return PYTHON_TYPES[name]


def _value(value: str | int | bool | None) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
