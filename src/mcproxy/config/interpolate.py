"""``${VAR}`` and ``${VAR:-default}`` in string values. Pure: the variables are passed in.

As in a shell, the default also replaces a variable that is empty; ``$${VAR}`` stands for the text
``${VAR}``. A variable that is missing stays as it is written and is reported, since what that means
depends on the place, which this file does not know.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from mcproxy.config.jsonc import Steps
from mcproxy.config.secrets import is_secret
from mcproxy.types import Json, JsonObject

_VARIABLE = re.compile(
    r"\$(?P<escape>\$)?\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}"
)
_OTHER_FORM = re.compile(r"(?<!\$)\$\{[^}]*\}")


class FoundVariable(msgspec.Struct, frozen=True):
    """Something that stays as it is written: a missing variable's name, or an unknown ``${…}``."""

    steps: Steps
    text: str


class Filled(msgspec.Struct, frozen=True):
    """A document with its variables filled in.

    ``secrets`` are the values that came from variables, to be hidden in logs; ``unread`` are the
    ``${…}`` of another form, for example ``${input:token}``.
    """

    document: JsonObject
    missing: tuple[FoundVariable, ...]
    unread: tuple[FoundVariable, ...]
    secrets: frozenset[str]


def fill(document: JsonObject, variables: Mapping[str, str]) -> Filled:
    """Replace the variables in every string value of ``document``; keys are left alone."""
    texts = tuple(_texts(document, ()))
    wanted = [(steps, match) for steps, text in texts for match in _variables(text)]
    missing = tuple(
        FoundVariable(steps, match["name"])
        for steps, match in wanted
        if match["default"] is None and match["name"] not in variables
    )
    unread = tuple(
        FoundVariable(steps, form)
        for steps, text in texts
        for form in _OTHER_FORM.findall(text)
        if not _VARIABLE.fullmatch(form)
    )
    values = {variables.get(match["name"], "") for _, match in wanted}
    secrets = frozenset(filter(is_secret, values))
    filled = {key: _filled(value, variables) for key, value in document.items()}
    return Filled(filled, missing, unread, secrets)


def fill_text(text: str, variables: Mapping[str, str]) -> str:
    """Replace the variables in one string, except the missing ones."""

    def replacement(match: re.Match[str]) -> str:
        if match["escape"]:
            return match[0][1:]
        if match["default"] is None:
            return variables.get(match["name"], match[0])
        return variables.get(match["name"]) or match["default"]

    return _VARIABLE.sub(replacement, text)


def _filled(value: Json, variables: Mapping[str, str]) -> Json:
    if isinstance(value, str):
        return fill_text(value, variables)
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    return value


def _variables(text: str) -> Iterator[re.Match[str]]:
    return (match for match in _VARIABLE.finditer(text) if not match["escape"])


def _texts(value: Json, steps: Steps) -> Iterator[tuple[Steps, str]]:
    if isinstance(value, str):
        yield steps, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*steps, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*steps, key))
