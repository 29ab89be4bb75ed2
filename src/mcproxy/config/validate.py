"""A document against the model and the rules across sections: all problems in one go. Pure.

Where the model refuses a document, the parts at fault are taken out and the rest is read again, so
that one slip in a key does not hide an unknown server three sections further down.
"""

from collections.abc import Collection, Iterable

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mcproxy.config import checks
from mcproxy.config.jsonc import Step, Steps, written
from mcproxy.config.model import Config
from mcproxy.config.validation_messages import is_key_fault, place, problem_of
from mcproxy.errors import Problem
from mcproxy.types import Json, JsonObject

_NAMED_SECTIONS = ("servers", "namespaces", "groups")


class Validated(msgspec.Struct, frozen=True):
    """The configuration, None when not even a part of it could be read, and all problems."""

    config: Config | None
    problems: tuple[Problem, ...]


def validate(
    document: JsonObject, excused: Collection[Steps] = (), unconfigured: Collection[str] = ()
) -> Validated:
    """Read ``document``.

    ``excused`` are the places of missing variables: their values are not known and cannot be wrong.
    ``unconfigured`` are the servers that have such a place.
    """
    config, faults = _read(document)
    if faults:
        config, _ = _read(_readable_part(document, faults))
    counted = [fault for fault in faults if place(fault) not in excused]
    problems = [problem_of(fault) for fault in counted]
    if config is not None and not any(_hides_a_section(fault, document) for fault in faults):
        known = {*map(written, excused), *_within([place(fault) for fault in faults])}
        found = checks.problems(config, unconfigured)
        problems += [problem for problem in found if problem.path not in known]
    return Validated(config, tuple(problems))


def _read(document: JsonObject) -> tuple[Config | None, list[ErrorDetails]]:
    try:
        return Config.model_validate(document), []
    except ValidationError as error:
        return None, error.errors()


def _hides_a_section(fault: ErrorDetails, document: JsonObject) -> bool:
    """Would all names of a section seem unknown, as its own name or kind is wrong?"""
    if len(place(fault)) > 1:
        return False
    return fault["type"] != "extra_forbidden" or not document.keys() >= {"servers", "namespaces"}


def _readable_part(document: JsonObject, faults: Iterable[ErrorDetails]) -> JsonObject:
    part = document
    for fault in faults:
        steps = place(fault)
        part = _without(part, steps[:-1] if fault["type"] == "missing" else steps)
    bad_names = {place(fault) for fault in faults if is_key_fault(fault)}
    for section in _NAMED_SECTIONS:
        named, left = document.get(section), part.get(section)
        if isinstance(named, dict) and isinstance(left, dict):
            # A definition that cannot be read still exists: others may refer to it.
            empty: JsonObject = {name: {} for name in named if (section, name) not in bad_names}
            part = {**part, section: {**empty, **left}}
    return part


def _without(members: JsonObject, steps: Steps) -> JsonObject:
    """``members`` without what is at ``steps``; a list goes as a whole, so that no index moves."""
    first, rest = str(steps[0]), steps[1:]
    inner: Json = members.get(first)
    if rest and isinstance(inner, dict):
        return {**members, first: _without(inner, rest)}
    return {key: value for key, value in members.items() if key != first}


def _within(places: Iterable[Steps]) -> set[str]:
    """The written form of every place and of all that it lies in."""
    prefixes: set[tuple[Step, ...]] = {
        steps[:length] for steps in places for length in range(1, len(steps) + 1)
    }
    return set(map(written, prefixes))
