"""The part of JSON Schema 2020-12 that the demo servers use: short builders, and the check.

A small check of our own instead of a library keeps start-up fast and lets each message tell a model
how to mend its call. It knows the keywords that the builders write and ignores all others.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from math import isfinite
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"


def text(description: str, **keywords: Json) -> JsonObject:
    """Build the schema of a string; ``keywords`` are further keywords, such as ``maxLength``."""
    return {"type": "string", "description": description, **keywords}


def integer(description: str, **keywords: Json) -> JsonObject:
    """Build the schema of an integer."""
    return {"type": "integer", "description": description, **keywords}


def number(description: str, **keywords: Json) -> JsonObject:
    """Build the schema of a number."""
    return {"type": "number", "description": description, **keywords}


def array(description: str, items: JsonObject, **keywords: Json) -> JsonObject:
    """Build the schema of a list whose entries all follow ``items``."""
    return {"type": "array", "description": description, "items": items, **keywords}


def record(properties: Mapping[str, JsonObject], required: Sequence[str] = ()) -> JsonObject:
    """Build the schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def full_record(**properties: JsonObject) -> JsonObject:
    """Build the schema of an object that always has all of these properties: a result."""
    return record(properties, tuple(properties))


class BadArguments(Exception):
    """Arguments that break their schema, with every problem at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


def accept(schema: JsonObject, arguments: JsonObject) -> JsonObject:
    """Return ``arguments`` with integers such as ``3.0`` as ``3``.

    Raises BadArguments with all problems, each naming the argument and the cure.
    """
    if problems := list(_object_problems("", schema, arguments)):
        raise BadArguments(problems)
    properties = _properties(schema)
    whole = {name for name, property_ in properties.items() if property_["type"] == "integer"}
    return {
        name: int(value) if isinstance(value, float) and name in whole else value
        for name, value in arguments.items()
    }


def _problems(path: str, schema: JsonObject, value: Json) -> Iterator[str]:
    wanted = str(schema["type"])
    if not _is(wanted, value):
        yield f"{path} must be {_NAMES[wanted]}, not {_shown(value)}"
        return
    choices = schema.get("enum")
    if isinstance(choices, list) and value not in choices:
        yield f"{path} must be one of {', '.join(map(_shown, choices))}, not {_shown(value)}"
    match value:
        case str():
            yield from _string_problems(path, schema, value)
        case list():
            yield from _bounds(path, schema, len(value), ("minItems", "maxItems", " entries long"))
            for index, entry in enumerate(value):
                yield from _problems(f"{path}[{index}]", _as_object(schema["items"]), entry)
        case dict():
            yield from _object_problems(f"{path}.", schema, value)
        case int() | float():
            yield from _bounds(path, schema, value, ("minimum", "maximum", ""))


def _string_problems(path: str, schema: JsonObject, value: str) -> Iterator[str]:
    if any("\ud800" <= character <= "\udfff" for character in value):
        yield f"{path} must be valid Unicode, without unpaired surrogates"
    yield from _bounds(path, schema, len(value), ("minLength", "maxLength", " characters long"))


def _object_problems(prefix: str, schema: JsonObject, value: JsonObject) -> Iterator[str]:
    properties = _properties(schema)
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if name not in value:
            yield f"{prefix}{name} is missing ({properties[str(name)].get('description')})"
    for name, entry in value.items():
        if name in properties:
            yield from _problems(f"{prefix}{name}", properties[name], entry)
        elif schema.get("additionalProperties") is False:
            yield f"{prefix}{name} is not an argument{_did_you_mean(name, properties)}"


def _bounds(
    path: str, schema: JsonObject, size: float, words: tuple[str, str, str]
) -> Iterator[str]:
    least, most, unit = words
    low, high = schema.get(least), schema.get(most)
    if isinstance(low, int | float) and size < low:
        yield f"{path} must be at least {low:g}{unit}, not {_shown(size)}"
    if isinstance(high, int | float) and size > high:
        yield f"{path} must be at most {high:g}{unit}, not {_shown(size)}"


_NAMES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a finite number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def _is(wanted: str, value: Json) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    if isinstance(value, float) and (not isfinite(value) or (wanted == "integer" and value % 1)):
        return False
    return isinstance(value, _TYPES[wanted])


def _shown(value: Json, longest: int = 40) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= longest else shown[:longest] + "…"


def _did_you_mean(name: str, known: Mapping[str, JsonObject]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(known) or 'none'}"


def _properties(schema: JsonObject) -> dict[str, JsonObject]:
    return {name: _as_object(value) for name, value in _as_object(schema["properties"]).items()}


def _as_object(value: Json) -> JsonObject:
    if not isinstance(value, dict):
        raise TypeError(f"a schema must be an object, not {value!r}")
    return value
