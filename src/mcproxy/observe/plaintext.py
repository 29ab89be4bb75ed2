"""Finds secrets that stand in a configuration in plain text, of ours or of another program. Pure.

A value is one for the name that it is under (``GITHUB_TOKEN``, ``--api-key``), or for its form. One
that has a ``${VAR}`` is not: its writer knows the way.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mcproxy.config.paths import Steps
from mcproxy.observe.secret_shapes import holds_secret, looks_random, names_a_secret, secret_within
from mcproxy.types import Json

_SCHEME = re.compile(r"(?i:bearer|basic|token)\s+(?=\S)")
# NAME=value, --name=value, Name: value
_ASSIGNED = re.compile(r"(?P<name>-{0,2}[A-Za-z][A-Za-z0-9_.-]*)(?:=|:\s+)(?P<value>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Plaintext:
    """A secret, the place of its value, and a name for it.

    ``sure`` is false where only its looks speak for it: it may be an identifier as well.
    """

    steps: Steps
    name: str
    secret: str = field(repr=False)
    sure: bool = True


def plaintexts(value: Json, steps: Steps = ()) -> Iterator[Plaintext]:
    """All secrets of the document, in its order."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from plaintexts(inner, (*steps, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            option = _option_before(value, index)
            if isinstance(inner, str):
                yield from _in_text(inner, option, (*steps, index))
            else:
                yield from plaintexts(inner, (*steps, index))
    elif isinstance(value, str) and steps:
        yield from _in_text(value, str(steps[-1]), steps)


def _option_before(items: Sequence[Json], index: int) -> str:
    """``--api-key`` for what follows it in a list of arguments."""
    before = items[index - 1] if index else None
    return before if isinstance(before, str) and before.startswith("-") else ""


def _in_text(text: str, name: str, steps: Steps) -> Iterator[Plaintext]:
    if "${" in text:
        return
    assigned = _ASSIGNED.fullmatch(text)
    if assigned and names_a_secret(assigned["name"]) and not names_a_secret(name):
        name, text = assigned["name"], assigned["value"]
    if holds_secret(name, text):
        yield Plaintext(steps, name, _SCHEME.sub("", text, count=1))
        return
    shaped = secret_within(text)
    if shaped:
        yield Plaintext(steps, name, shaped)
    elif looks_random(text):
        yield Plaintext(steps, name, text, sure=False)
