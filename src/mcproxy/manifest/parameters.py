"""What an input schema says of a tool's parameters: their names, and which have to be given. Pure.

A property that is listed as required and has a default may be left out all the same: generators of
schemas list it, and servers fill it in.
"""

import itertools
from collections.abc import Iterable, Mapping

from mcproxy.manifest.spelling import MAX_NEAR_CHARS, near
from mcproxy.types import Json, JsonObject

# Where a schema may name parameters other than in its own properties.
_ELSEWHERE = frozenset(
    {
        "$dynamicRef",
        "$ref",
        "allOf",
        "anyOf",
        "dependentSchemas",
        "else",
        "if",
        "oneOf",
        "patternProperties",
        "then",
        "unevaluatedProperties",
    }
)
_MAX_UNKNOWN = 10
# Keywords whose values a call has to repeat as they are.
REPEATED = frozenset({"const", "dependentRequired", "enum", "required"})


def properties(schema: Json) -> Mapping[str, Json]:
    """The parameters that an input schema declares; none where it is odd."""
    declared = schema.get("properties") if isinstance(schema, dict) else None
    return declared if isinstance(declared, dict) else {}


def required(schema: Json) -> frozenset[str]:
    """The parameters that have to be given; none where the schema is odd. One that has a default
    may be left out, also where the schema lists it: its server fills it in."""
    names = schema.get("required") if isinstance(schema, dict) else None
    declared = properties(schema)
    demanded = strings(names) if isinstance(names, list) else []
    return frozenset(name for name in demanded if not _has_default(declared.get(name)))


def unknown_parameters(schema: Json, names: Iterable[str]) -> list[str]:
    """What is to be said of arguments that the schema does not name, where it does not allow others
    in words (JSON Schema allows them by default). A schema whose parameters stand elsewhere (under
    ``anyOf``, ``$ref`` …) may name any. Of very many, the first are told: each takes time."""
    if not isinstance(schema, dict) or "properties" not in schema or _ELSEWHERE & schema.keys():
        return []
    if schema.get("additionalProperties", False) is not False:
        return []
    declared = properties(schema)
    unknown = (name for name in names if name not in declared)
    return [_unknown(name, declared) for name in itertools.islice(unknown, _MAX_UNKNOWN)]


def _unknown(name: str, declared: Iterable[str]) -> str:
    close = near(name, declared, 1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    return f"no parameter {name[:MAX_NEAR_CHARS]!r}{hint}"


def without_defaults_required(schema: Json) -> Json:
    """The schema as arguments are held against it: nothing that has a default is required."""
    if isinstance(schema, list):
        return [without_defaults_required(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    loose: JsonObject = {
        key: value if key in REPEATED else without_defaults_required(value)
        for key, value in schema.items()
    }
    names = schema.get("required")
    if isinstance(names, list):
        declared = properties(schema)
        loose["required"] = [name for name in names if not _has_default(declared.get(str(name)))]
    return loose


def _has_default(schema: Json) -> bool:
    return isinstance(schema, dict) and "default" in schema


def strings(values: list[Json]) -> list[str]:
    """Those of the values that are text."""
    return [value for value in values if isinstance(value, str)]
