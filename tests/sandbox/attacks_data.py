"""Reads ``attacks/*.txt``: scripts with what must become of each.

A file is one class of attack: an introduction, then sections ``=== name: expected`` with a script
each; ``prelude`` goes before every script of the file. ``$words`` are filled in.
``expected`` is one outcome for every level, or ``level=outcome`` for each; several may be allowed:
``a|b``. An outcome is ``refused`` (an OSError), the name of another error type, the script's result
(``contained``, ``ok``), ``value`` (any result) or ``any`` (only what follows counts).
"""

import builtins
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from mcproxy.types import Outcome

FOLDER = Path(__file__).parent / "attacks"
_SECTION = re.compile(r"^=== (?P<name>\w+)(?:: (?P<expected>.+))?$", re.M)
_OS_ERRORS = {
    *(
        name
        for name, it in vars(builtins).items()
        if isinstance(it, type) and issubclass(it, OSError)
    ),
    *("URLError", "gaierror"),
}


@dataclass(frozen=True)
class Script:
    """One script of the set."""

    kind: str
    name: str
    expected: str
    source: str

    def expected_at(self, level: str) -> frozenset[str]:
        by_level = dict(part.split("=") for part in self.expected.split() if "=" in part)
        return frozenset(by_level.get(level, self.expected).split("|"))


def scripts(kind: str) -> list[Script]:
    """All scripts of one file."""
    return list(_sections(kind, (FOLDER / f"{kind}.txt").read_text()))


def filled(script: Script, words: Mapping[str, object]) -> str:
    return Template(script.source).safe_substitute(words)


def seen(outcome: Outcome) -> frozenset[str]:
    """The names under which a script's end may be expected."""
    if outcome.error is None:
        value = outcome.value if isinstance(outcome.value, str) else ""
        return frozenset({value, "value", "any"})
    kind = outcome.error.type
    return frozenset({kind, "any", *(["refused"] if kind in _OS_ERRORS else [])})


def _sections(kind: str, text: str) -> Iterator[Script]:
    prelude = ""
    marks = list(_SECTION.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=True):
        body = text[mark.end() : end].strip() + "\n"
        if mark["name"] == "prelude":
            prelude = body
        else:
            yield Script(kind, mark["name"], mark["expected"], prelude + body)
