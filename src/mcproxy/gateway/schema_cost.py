"""How much work it is to hold a value against a schema, found out before it is done. Pure.

Schemas come from servers, values from scripts, and the engine that compares them cannot be stopped:
forty definitions that refer to the next one twice each would keep it, and with it the gateway,
busy for years. So the comparison is walked through first, without its assertions, up to a bound.
"""

from collections.abc import Iterator
from itertools import chain, islice
from typing import TypeAlias
from urllib.parse import unquote

from mcproxy.types import Json, JsonObject

_Pair: TypeAlias = tuple[Json, Json]
"""A schema, and the value that it is for."""

# Keywords by what their schemas are for (JSON Schema 2020-12 core, section 10; draft 7's too).
_SAME = ("not", "if", "then", "else")
_SAME_LISTS = ("allOf", "anyOf", "oneOf")
_SAME_BY_NAME = ("dependentSchemas", "dependencies")
_REST = ("additionalProperties", "unevaluatedProperties")
_EACH_ITEM = ("items", "contains", "additionalItems", "unevaluatedItems")
_LISTED = ("required", "enum", "prefixItems")  # each entry is looked at
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_NAMES = frozenset({"$id", "id"})  # below the root: references inside mean another schema
_MAX_DIGITS = 9  # of an index in a pointer


def effort(schema: JsonObject, value: Json, most: int) -> int:
    """The steps of a comparison, or ``most`` where it takes as many or nobody can tell: a cycle, a
    reference by a name (``$anchor``), or a schema of a name of its own within (``$id``)."""
    steps = 0
    waiting: list[_Pair] = [(schema, value)]
    while waiting and steps + len(waiting) < most:  # each that waits takes a step at least
        each, part = waiting.pop()
        if not isinstance(each, dict):
            steps += 1
            continue
        if each is not schema and _NAMES & each.keys():
            return most
        steps += 1 + sum(_length(each.get(keyword)) for keyword in _LISTED)
        for reference in (each[keyword] for keyword in _REFERENCES if keyword in each):
            found = _target(schema, reference)
            if found is None:
                return most
            waiting.append((found, part))
        inner = chain(_of_the_same(each, part), _of_members(each, part), _of_items(each, part))
        waiting += islice(inner, most)
    return min(steps + len(waiting), most)


def _of_the_same(schema: JsonObject, value: Json) -> Iterator[_Pair]:
    yield from ((schema[keyword], value) for keyword in _SAME if keyword in schema)
    for keyword in _SAME_LISTS:
        yield from ((inner, value) for inner in _list(schema.get(keyword)))
    for keyword in _SAME_BY_NAME:
        yield from ((inner, value) for inner in _dict(schema.get(keyword)).values())


def _of_members(schema: JsonObject, value: Json) -> Iterator[_Pair]:
    declared, patterns = _dict(schema.get("properties")), _dict(schema.get("patternProperties"))
    for name, member in _dict(value).items():
        if name in declared:
            yield declared[name], member
        yield from ((inner, member) for inner in patterns.values())
        yield from ((schema[keyword], member) for keyword in _REST if keyword in schema)
        if "propertyNames" in schema:
            yield schema["propertyNames"], name


def _of_items(schema: JsonObject, value: Json) -> Iterator[_Pair]:
    tuples = [*_list(schema.get("prefixItems")), *_list(schema.get("items"))]
    for number, item in enumerate(_list(value)):
        if number < len(tuples):
            yield tuples[number], item
        yield from ((schema[keyword], item) for keyword in _EACH_ITEM if keyword in schema)


def _target(root: JsonObject, reference: Json) -> Json:
    """What a JSON pointer in the schema itself names (RFC 6901, section 6); None for any other."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: Json = root
    for step in unquote(reference[1:]).split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        found = _item(found, key) if isinstance(found, list) else _dict(found).get(key)
    return found if reference in ("#", "#/") or reference.startswith("#/") else None


def _item(listed: list[Json], key: str) -> Json:
    readable = key.isdecimal() and len(key) <= _MAX_DIGITS
    return listed[int(key)] if readable and int(key) < len(listed) else None


def _length(value: Json) -> int:
    return len(value) if isinstance(value, list) else 0


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _dict(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}
