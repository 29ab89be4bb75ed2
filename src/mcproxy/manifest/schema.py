"""Tool definitions as servers send them: read leniently, mended where a client would choke.

Owns what is done about odd definitions (MCP ``Tool``; the odd ones were seen in real servers).
Rule: the tool stays usable and vendor fields stay; only a tool that nobody could name or call as it
is meant is set aside, and never its server. Pure; nothing is changed in place.

No text that acts or hides reaches a model. It is taken out of what is only read; a default, an
example or a pattern that has it is left out, since it would be another one. What a call repeats
(parameters, choices) cannot be changed at all: a tool that hides something there is set aside.
"""

from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from mcproxy import mcp
from mcproxy.foreign_text import bounded, clean, hides, imitated, is_seen, label
from mcproxy.manifest.parameters import REPEATED, properties, strings
from mcproxy.types import Json, JsonObject

# No real schema nests this deep; beyond it anything is accepted, which bounds the recursion.
MAX_DEPTH = 40
MAX_NAME_CHARS = 128  # MCP 2025-11-25, server/tools, "Tool Names"
# The longest real description has 13,000; more is not for reading.
MAX_TEXT_CHARS = 20_000
_MAX_REASON_CHARS = 200  # a server's own words
_MAX_DIGITS = 9  # of an index in a pointer

_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_MISNAMED_TYPES = {
    "bool": "boolean",
    "dict": "object",
    "double": "number",
    "float": "number",
    "int": "integer",
    "list": "array",
    "map": "object",
    "none": "null",
    "str": "string",
    "text": "string",
    "tuple": "array",
}
# Where a schema holds other schemas (JSON Schema 2020-12 core, section 10; draft 7's too).
_ONE = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "contains",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_BY_NAME = frozenset(
    {
        "$defs",
        "definitions",
        "dependentSchemas",
        "patternProperties",
        "properties",
    }
)
_SEVERAL = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMAS = _ONE | _BY_NAME | _SEVERAL
_TEXTS = frozenset({"description", "title"})
# Not for models: what a client keeps, and pictures; schemas are mended on their own.
_APART = frozenset({"_meta", "icons", "inputSchema", "name", "outputSchema"})


_CONTAINS_TEXT = (str, list, dict)
_HIDDEN = "control or invisible characters"


class _Case(msgspec.Struct):
    """One definition under repair: what was wrong so far, whether ``items`` may be a list, and
    whether a call would have to repeat what hides."""

    tuples: bool
    faults: list[str] = msgspec.field(default_factory=list)
    unrepeatable: bool = False


def repair(definition: Mapping[str, Json]) -> tuple[JsonObject | None, str | None]:
    """A definition that clients can read, and what was wrong with it (None: nothing).

    None instead of a definition: the tool is set aside.
    """
    fault = _fault_of_name(definition.get("name")) or _own_reason(definition.get("_meta"))
    if fault:
        return None, f"left out: {fault}"
    case = _Case(tuples=_has_tuples(definition.get("inputSchema")))
    mended = _with_clean_texts(definition, case, _APART)
    mended["inputSchema"] = _arguments(definition.get("inputSchema"), case)
    output = mended.pop("outputSchema", None)
    if isinstance(output, dict):
        mended["outputSchema"] = _schema(output, case, 0)
    elif output is not None:
        case.faults.append("outputSchema is no object")
    if case.unrepeatable:
        return None, f"left out: {_HIDDEN} in a parameter or a choice"
    return mended, "; ".join(dict.fromkeys(case.faults)) or None


def _fault_of_name(name: Json) -> str:
    """Why nobody can use a tool of this name; empty where everybody can."""
    if not isinstance(name, str) or not name.strip():
        return f"a tool needs a name, this one has {name!r}"
    if len(name) > MAX_NAME_CHARS:
        return f"its name has {len(name)} characters, over {MAX_NAME_CHARS}"
    if not is_seen(name):
        return f"{_HIDDEN} in its name"
    imitation = imitated(name)
    return f"its name looks like {imitation!r} and is spelt with other letters" if imitation else ""


def _own_reason(meta: Json) -> str:
    """Why its server does not offer it; empty where it does."""
    reason = meta.get(mcp.META_LEFT_OUT) if isinstance(meta, dict) else None
    return label(reason, _MAX_REASON_CHARS) if isinstance(reason, str) else ""


def _arguments(schema: Json, case: _Case) -> JsonObject:
    """A tool's arguments are an object, whatever its schema says (MCP ``Tool.inputSchema``)."""
    if not isinstance(schema, dict):
        case.faults.append(
            "inputSchema is missing" if schema is None else "inputSchema is no object"
        )
        return {"type": "object"}
    mended = _schema(schema, case, 0)
    declared = mended.get("type", "object")
    if declared != "object" and not (isinstance(declared, list) and "object" in declared):
        case.faults.append(f"inputSchema has the type {declared!r}")
        return {"type": "object"}
    return {**mended, "type": "object"}


def _has_tuples(schema: Json) -> bool:
    """Whether the schema says that it is of a draft before 2020-12, which is the default."""
    draft = schema.get("$schema") if isinstance(schema, dict) else None
    return isinstance(draft, str) and "2020-12" not in draft


def _schema(schema: Json, case: _Case, depth: int) -> JsonObject:
    if isinstance(schema, str):  # {"owner": "string"}
        schema = {"type": schema}
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        case.faults.append(
            "a schema is no object" if depth <= MAX_DEPTH else "schemas nest too deep"
        )
        return {}
    mended = _with_clean_texts(schema, case, _SCHEMAS)
    for keyword, value in schema.items():
        if keyword in _SCHEMAS:
            inner = _inner(keyword, value, case, depth)
            if inner is None:
                case.faults.append(f"{keyword} has the wrong shape")
                del mended[keyword]
            else:
                mended[keyword] = inner
    _mend_type(mended, case)
    _mend_required(mended, schema, case)
    return mended


def _inner(keyword: str, value: Json, case: _Case, depth: int) -> Json:
    """The schemas under one keyword, mended; None where the value cannot hold schemas."""
    if keyword in _BY_NAME:
        if not isinstance(value, dict):
            return None
        case.unrepeatable = case.unrepeatable or any(map(hides, value))
        return {name: _or_bool(schema, case, depth) for name, schema in value.items()}
    if keyword in _SEVERAL or (keyword == "items" and case.tuples and isinstance(value, list)):
        if not isinstance(value, list) or not value:
            return None
        return [_or_bool(schema, case, depth) for schema in value]
    return _or_bool(value, case, depth) if isinstance(value, dict | bool | str) else None


def _or_bool(schema: Json, case: _Case, depth: int) -> Json:
    return schema if isinstance(schema, bool) else _schema(schema, case, depth + 1)


def _mend_type(schema: JsonObject, case: _Case) -> None:
    if "type" not in schema:
        return
    declared = schema["type"]
    names = strings(declared if isinstance(declared, list) else [declared])
    known = [
        name if name in _TYPES else _MISNAMED_TYPES[name.lower()]
        for name in names
        if name in _TYPES or name.lower() in _MISNAMED_TYPES
    ]
    mended: Json = list(dict.fromkeys(known)) if isinstance(declared, list) else "".join(known)
    if mended == declared and mended:
        return
    case.faults.append(f"type {declared!r} is none of JSON Schema's")
    if mended:
        schema["type"] = mended
    else:
        del schema["type"]


def _mend_required(mended: JsonObject, schema: JsonObject, case: _Case) -> None:
    """``required`` is a list beside ``properties``; draft 3 had a boolean inside of each."""
    declared = schema.get("required")
    names = strings(declared) if isinstance(declared, list) else []
    inside = [
        name
        for name, inner in properties(schema).items()
        if isinstance(inner, dict) and inner.get("required") is True
    ]
    together: list[Json] = list(dict.fromkeys(names + inside))
    if "required" in schema and not isinstance(declared, list):
        case.faults.append("required is no list")
        del mended["required"]
    if isinstance(declared, list) and len(dict.fromkeys(names)) != len(declared):
        case.faults.append("required lists more than names")
    if together or isinstance(declared, list):
        mended["required"] = together


def _with_clean_texts(value: Mapping[str, Json], case: _Case, apart: frozenset[str]) -> JsonObject:
    """A copy whose texts are text, in which nothing acts or hides but under the keys ``apart``."""
    copy = dict(value)
    for key, inner in value.items():
        if key in apart:
            continue
        if key in _TEXTS and isinstance(inner, str):
            copy[key] = _cleaned(inner, case)
        elif key in _TEXTS:
            case.faults.append(f"{key} is no text")
            del copy[key]
        elif hides(key) or (isinstance(inner, _CONTAINS_TEXT) and _hides_within(inner)):
            case.faults.append(f"{_HIDDEN} under {label(key, MAX_NAME_CHARS)}")
            case.unrepeatable = case.unrepeatable or key in REPEATED
            del copy[key]
    return copy


def _hides_within(value: Json) -> bool:
    """Does anything in the value hide? Beyond MAX_DEPTH something may."""
    if isinstance(value, str):
        return hides(value)
    level: list[Json] = [value]
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        inner: list[Json] = []
        for one in level:
            if isinstance(one, str) and hides(one):
                return True
            if isinstance(one, list):
                inner += one
            elif isinstance(one, dict):
                inner += [*one, *one.values()]
        level = inner
    return bool(level)


def _cleaned(text: str, case: _Case) -> str:
    if not hides(text) and "\r" not in text and len(text) <= MAX_TEXT_CHARS:
        return text
    if hides(text):
        case.faults.append(f"{_HIDDEN} in a text")
    if len(text) > MAX_TEXT_CHARS:
        case.faults.append(f"a text has over {MAX_TEXT_CHARS} characters")
    return bounded(clean(text), MAX_TEXT_CHARS)


def pointed_at(schema: Json, reference: Json) -> Json:
    """What a JSON pointer within the schema names (RFC 6901, section 6); None for any other
    reference, and where nothing is."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    found = schema
    for step in unquote(reference[1:]).split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            readable = key.isdecimal() and len(key) <= _MAX_DIGITS
            found = found[int(key)] if readable and int(key) < len(found) else None
        else:
            found = found.get(key) if isinstance(found, dict) else None
    return found
