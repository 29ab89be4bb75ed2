"""Turns the faults that pydantic finds into problems that say what to do. Pure.

The wording is ours, so that a value of the wrong kind reads the same everywhere, and no value of a
string is shown unless it is one of a few allowed words: it could be a secret.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from mcproxy.config.fields import MAX_NAME_CHARS
from mcproxy.config.jsonc import Steps, written
from mcproxy.config.model import Config
from mcproxy.errors import Problem

# What people write who know another program's configuration.
SYNONYMS = {
    "mcpServers": "servers",
    "type": "transport",
    "timeout": "timeout_secs",
    "disabled": "enabled",
    "environment": "env",
    "working_dir": "cwd",
    "parents": "extends",
    "inherits": "extends",
}

MAX_NAMES_SHOWN = 20

_KINDS = {
    "string": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "mapping": "an object",
    "dict": "an object",
    "model": "an object",
}
_BOUNDS = {
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "finite_number": "must be a finite number",
    "missing": "is missing",
}
_UNITS = {"secs": "the unit is seconds", "mb": "the unit is MiB"}
_KEY = "[key]"  # pydantic's mark of a fault in a key instead of its value


def problem_of(fault: ErrorDetails) -> Problem:
    """Describe one fault: where it is, what was wrong, what to do."""
    message, hint = _explained(fault)
    return Problem(written(place(fault)), message, hint)


def place(fault: ErrorDetails) -> Steps:
    """Where the fault is; a bad key is at the place of its value."""
    steps = fault["loc"]
    return steps[:-1] if is_key_fault(fault) else steps


def is_key_fault(fault: ErrorDetails) -> bool:
    """Is a name at fault, and not what it stands for?"""
    return fault["loc"][-1:] == (_KEY,)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a word that is none of ``known``: the nearest one, else all of them."""
    names = sorted(known)
    near = _nearest(word, names)
    if near:
        return f"did you mean {near!r}?"
    more = ", …" if len(names) > MAX_NAMES_SHOWN else ""
    return f"known: {', '.join(names[:MAX_NAMES_SHOWN])}{more}" if names else ""


def unknown(path: str, kind: str, name: str, known: Iterable[str]) -> Problem:
    """The problem of a name that must exist and does not."""
    return Problem(path, f"there is no {kind} {name!r}", did_you_mean(name, known))


def _nearest(word: str, names: Sequence[str]) -> str | None:
    near = get_close_matches(word, names, n=1) or get_close_matches(word.lower(), names, n=1)
    return near[0] if near else None


def _explained(fault: ErrorDetails) -> tuple[str, str]:
    """Message and hint."""
    kind, facts = fault["type"], fault.get("ctx", {})
    if kind in _BOUNDS and not is_key_fault(fault):
        unit = str(fault["loc"][-1]).rpartition("_")[2]
        return _BOUNDS[kind].format_map(facts), _UNITS.get(unit, "")
    match kind:
        case "refused":
            explained = facts["message"], facts["hint"]
        case "extra_forbidden":
            explained = _unknown_key(fault["loc"])
        case "literal_error":
            explained = _wrong_word(fault["input"], facts["expected"])
        case "string_pattern_mismatch" | "string_too_long" | "string_too_short":
            explained = _bad_name(fault["loc"])
        case _:
            explained = _wrong_kind(fault)
    return explained


def _unknown_key(steps: Steps) -> tuple[str, str]:
    section, key = _section(steps[:-1]), str(steps[-1])
    known = [field.alias or name for name, field in section.model_fields.items()]
    meant = SYNONYMS.get(key)
    hint = f"did you mean {meant!r}?" if meant in known else did_you_mean(key, known)
    return "unknown key", hint


def _wrong_word(found: object, expected: str) -> tuple[str, str]:
    words = re.findall(r"'([^']*)'", expected)
    near = _nearest(str(found), words)
    shown = repr(found) if isinstance(found, str) else _kind_of(found)
    hint = f"did you mean {near!r}?" if near else ""
    return f"must be {expected}, found {shown}", hint


def _bad_name(steps: Steps) -> tuple[str, str]:
    if "packages" in steps:
        return "is not a package requirement", "write for example 'pandas' or 'pandas==2.3.3'"
    return (
        "is not a valid name",
        f"letters, digits, '_', '.' and '-', first a letter or digit, at most {MAX_NAME_CHARS}",
    )


def _wrong_kind(fault: ErrorDetails) -> tuple[str, str]:
    wanted, found = _KINDS.get(fault["type"].partition("_")[0]), fault["input"]
    if wanted is None:
        return fault["msg"], ""
    hint = ""
    if wanted == "a string" and isinstance(found, int | float):
        hint = f'write it in quotes: "{str(found).lower()}"'
    elif wanted == "a list" and isinstance(found, str):
        hint = "put it in brackets: [ … ]"
    return f"must be {wanted}, found {_kind_of(found)}", hint


def _kind_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return "a string" if value else "an empty string"
    return "a list" if isinstance(value, list | tuple) else "an object"


def _section(steps: Steps) -> type[BaseModel]:
    """The section of the configuration that stands at ``steps``."""
    section: type[BaseModel] = Config
    is_key = False  # the step is a name or an index, not a field
    for step in steps:
        if is_key:
            is_key = False
            continue
        annotation = section.model_fields[str(step)].annotation
        section = _first_section(annotation) or section
        is_key = get_origin(annotation) in (Mapping, tuple)
    return section


def _first_section(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_first_section(argument) for argument in get_args(annotation))
    return next((section for section in found if section), None)
