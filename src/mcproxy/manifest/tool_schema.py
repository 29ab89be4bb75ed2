"""A tool's schemas, made ready once for all its calls: whether arguments fit, and whether results
are wrapped. Pure.

Schemas come from servers, values from scripts, and the engine that compares them cannot be stopped:
forty definitions that refer to the next one twice each would keep it, and with it the gateway,
busy for years. So the comparison is walked through first, without its assertions, up to a bound:
how much work it is, is found out before it is done. Most schemas are so small that this needs no
walk: their weight, found out once, is enough.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from itertools import chain, islice
from keyword import iskeyword
from typing import TypeAlias, TypeVar

import jsonschema_rs
import msgspec

from mcproxy import mcp
from mcproxy.foreign_text import bounded, clean
from mcproxy.manifest.parameters import (
    properties,
    required,
    unknown_parameters,
    without_defaults_required,
)
from mcproxy.manifest.results import value_schema, wrapping, written_type
from mcproxy.manifest.schema import pointed_at
from mcproxy.types import Json, JsonObject, Wrapping

T = TypeVar("T")
MAX_STEPS = 10_000  # of a comparison with a schema, some 0.1 s; a call has some tens
MAX_STEPS_FOR_ALL = 2_000  # to find all faults takes much longer than to find one
MAX_WEIGHT = 1_000  # steps for one value; of a heavier schema each comparison is walked through
_MAX_FAULTS, _MAX_FAULT_CHARS = 10, 300
_MAX_BRANCH_DEPTH = 4  # of alternatives within alternatives that are told of
_PATTERNS = jsonschema_rs.RegexOptions()  # linear time: schemas come from servers we do not trust

_Pair: TypeAlias = tuple[Json, Json]
"""A schema, and the value that it is for."""

# Keywords by what their schemas are for (JSON Schema 2020-12 core, section 10; draft 7's too).
_SAME = ("not", "if", "then", "else")
_SAME_LISTS = ("allOf", "anyOf", "oneOf")
_SAME_BY_NAME = ("dependentSchemas", "dependencies")
_REST = ("additionalProperties", "unevaluatedProperties")
_EACH_ITEM = ("items", "contains", "additionalItems", "unevaluatedItems")
_LISTED = ("required", "enum", "prefixItems")  # each entry is looked at
_ONE = (*_SAME, *_REST, *_EACH_ITEM, "propertyNames")
_SEVERAL = (*_SAME_LISTS, "prefixItems", "items")
_BY_NAME = (*_SAME_BY_NAME, "properties", "patternProperties")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_NAMES = frozenset({"$id", "id"})  # below the root: references inside mean another schema


class ToolSchema:
    """The schemas of one tool's definition; they are compiled at the first call."""

    def __init__(self, definition: Mapping[str, Json]) -> None:
        self._definition = definition

    @cached_property
    def wrapping(self) -> Wrapping:
        """Whether its results are wrapped."""
        return wrapping(self._definition.get("outputSchema"))

    @cached_property
    def repeatable(self) -> bool:
        """Whether a call of it may be done twice, as its annotations say."""
        return mcp.is_repeatable(self._definition.get("annotations"))

    @cached_property
    def returns(self) -> str:
        """The type of its results in short, as it is declared; empty where it is not."""
        return written_type(value_schema(self._definition.get("outputSchema")))

    @cached_property
    def properties(self) -> Mapping[str, Json]:
        """The parameters that it declares, see ``parameters``."""
        return properties(self._definition.get("inputSchema"))

    @cached_property
    def required(self) -> frozenset[str]:
        """Those that have to be given, see ``parameters``."""
        return required(self._definition.get("inputSchema"))

    def respelled(self, arguments: Mapping[str, T]) -> Mapping[str, T]:
        """Arguments whose names are words of Python, so that a script has written ``from_`` for
        ``from`` (PEP 8, "Function and Method Arguments"), by the names that the tool has."""
        known = self.properties
        words = {f"{word}_": word for word in known if iskeyword(word)}
        meant = words.keys() - known.keys()
        return {
            words[name] if name in meant and words[name] not in arguments else name: value
            for name, value in arguments.items()
        }

    def unknown(self, arguments: Collection[str]) -> list[str]:
        """What is to be said of arguments that the tool does not have, see ``parameters``."""
        if self.properties.keys() >= set(arguments):
            return []
        return unknown_parameters(self._definition.get("inputSchema"), arguments)

    def faults(self, arguments: JsonObject, sent: bytes) -> list[str]:
        """What is wrong with arguments, whose JSON is ``sent``: all faults (with one, where the
        arguments are large).

        What would take the gateway's time is left to the server to judge.
        """
        schema, validator = self._definition.get("inputSchema"), self._validator
        if validator is None or not isinstance(schema, dict):
            return []
        perhaps_long = self._weight * most_values(sent) >= MAX_STEPS
        if perhaps_long and effort(schema, arguments, MAX_STEPS) >= MAX_STEPS:
            return []
        if validator.is_valid(arguments):
            return []
        if effort(schema, arguments, MAX_STEPS) > MAX_STEPS_FOR_ALL:
            return [_first_fault(validator, arguments)]
        errors = validator.iter_errors(arguments)
        told = chain.from_iterable(_faults(error, schema) for error in errors)
        return list(islice(told, _MAX_FAULTS))

    @cached_property
    def _weight(self) -> int:
        """See ``weight``; MAX_STEPS for one that is too heavy to know."""
        schema = self._definition.get("inputSchema")
        found = weight(schema, MAX_WEIGHT) if isinstance(schema, dict) else 1
        return found if found < MAX_WEIGHT else MAX_STEPS

    @cached_property
    def _validator(self) -> jsonschema_rs.Validator | None:
        """The compiled schema of arguments; None for one that does not compile: its server will
        judge itself."""
        schema = self._definition.get("inputSchema")
        if not isinstance(schema, dict):
            return None
        try:
            loose = without_defaults_required(schema)
            text = msgspec.json.encode(loose).decode()
            return jsonschema_rs.validator_for(
                text, pattern_options=_PATTERNS, retriever=_refuse_to_fetch
            )
        except (ValueError, jsonschema_rs.ReferencingError):
            return None


def _refuse_to_fetch(uri: str) -> Json:
    """A server's schema must not make the gateway read files or addresses."""
    raise LookupError(uri)


def _first_fault(validator: jsonschema_rs.Validator, arguments: JsonObject) -> str:
    try:
        validator.validate(arguments)
    except jsonschema_rs.ValidationError as error:
        return f"{_fault(error)} (there may be more faults in these large arguments)"
    return ""


def _fault(error: jsonschema_rs.ValidationError) -> str:
    return _at(error, clean(bounded(error.message, _MAX_FAULT_CHARS)))


def _at(error: jsonschema_rs.ValidationError, message: str) -> str:
    where = ".".join(str(step) for step in error.instance_path)
    return f"{where}: {message}" if where else message


def _faults(
    error: jsonschema_rs.ValidationError, root: JsonObject, depth: int = _MAX_BRANCH_DEPTH
) -> Iterator[str]:
    """The fault in words. Where none of several schemas fits, those of the schema that is nearest,
    and that schema: what is wrong with all others helps nobody."""
    branches: list[list[jsonschema_rs.ValidationError]] = getattr(error.kind, "context", None) or []
    wanted = [_type_wanted(error, branch) for branch in branches]
    if not (branches and all(branches) and depth):
        yield _fault(error)
    elif all(wanted):
        types = " or ".join(dict.fromkeys(wanted))
        yield _at(error, f"has to be {types}, not {_shown(error.instance)}")
    else:
        schemas = [_branch(error, number, root) for number in range(len(branches))]
        nearest = min(
            range(len(branches)), key=lambda n: _distance(error, branches[n], schemas[n], wanted[n])
        )
        for inner in branches[nearest]:
            yield from _faults(inner, root, depth - 1)
        yield f"nearest of {len(branches)} that fit: {_shown(schemas[nearest])}"


def _type_wanted(
    error: jsonschema_rs.ValidationError, branch: list[jsonschema_rs.ValidationError]
) -> str:
    """The type that a branch wants, where that is all that is wrong; else nothing."""
    if len(branch) != 1 or branch[0].instance_path != error.instance_path:
        return ""
    return (
        branch[0].message.rpartition(" is not of type ")[2] if branch[0].kind.name == "type" else ""
    )


def _distance(
    error: jsonschema_rs.ValidationError,
    branch: list[jsonschema_rs.ValidationError],
    schema: Json,
    wanted: str,
) -> tuple[bool, int, int]:
    """How far a value is from a branch: of another type, few of its members, many faults."""
    members = error.instance if isinstance(error.instance, dict) else {}
    shared = members.keys() & _dict(_dict(schema).get("properties")).keys()
    return bool(wanted), -len(shared), len(branch)


def _branch(error: jsonschema_rs.ValidationError, number: int, root: JsonObject) -> Json:
    path = "/".join(
        str(step).replace("~", "~0").replace("/", "~1") for step in (*error.schema_path, number)
    )
    found = pointed_at(root, f"#/{path}")
    reference = _dict(found).get("$ref")
    return found if reference is None else pointed_at(root, reference)


def _shown(value: object) -> str:
    return clean(bounded(msgspec.json.encode(value).decode(), _MAX_FAULT_CHARS))


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
            found = pointed_at(schema, reference)
            if found is None:
                return most
            waiting.append((found, part))
        inner = chain(_of_the_same(each, part), _of_members(each, part), _of_items(each, part))
        waiting += islice(inner, most)
    return min(steps + len(waiting), most)


def weight(schema: JsonObject, most: int) -> int:
    """The steps that one value costs at most, whatever it is, or ``most`` where they are as many or
    nobody can tell: a comparison has at most so many for each of its values and names."""
    steps = 0
    waiting: list[Json] = [schema]
    while waiting and steps + len(waiting) < most:
        each = waiting.pop()
        steps += 1
        if not isinstance(each, dict):
            continue
        references = [pointed_at(schema, each[word]) for word in _REFERENCES if word in each]
        if None in references or (each is not schema and _NAMES & each.keys()):
            return most
        steps += sum(_length(each.get(keyword)) for keyword in _LISTED)
        waiting += chain(references, islice(_parts(each), most))
    return min(steps + len(waiting), most)


def _parts(schema: JsonObject) -> Iterator[Json]:
    """The schemas within one, whatever they are for."""
    yield from (schema[keyword] for keyword in _ONE if keyword in schema)
    for keyword in _SEVERAL:
        yield from _list(schema.get(keyword))
    for keyword in _BY_NAME:
        yield from _dict(schema.get(keyword)).values()


def most_values(sent: bytes) -> int:
    """How many values and names JSON has at most: each but the first stands behind one of these."""
    return 1 + 2 * (sent.count(b",") + sent.count(b"[") + sent.count(b"{"))


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


def _length(value: Json) -> int:
    return len(value) if isinstance(value, list) else 0


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _dict(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}
