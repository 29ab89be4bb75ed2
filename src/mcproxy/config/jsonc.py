"""JSON with comments and trailing commas, the format of the configuration, and how a place in it is
written: ``servers.github.args[0]``, with keys that would read wrongly in that form (server names
may contain dots) quoted: ``servers["my.server"].command``. Pure.

The text is first brought to plain JSON of the same length: what JSON lacks is overwritten with
spaces, so that line and column of an error are those of the file. The standard decoder does the
rest. Knows nothing of what the document means.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import NoReturn, TypeAlias

import msgspec

from mcproxy.errors import Problem
from mcproxy.types import Json

Step: TypeAlias = str | int
Steps: TypeAlias = tuple[Step, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$-]+")


def written(steps: Steps) -> str:
    """Write the steps from the top of the document as one path; no steps give ``""``."""
    return "".join(map(_part, steps)).removeprefix(".")


def _part(step: Step) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if _PLAIN_KEY.fullmatch(step):
        return f".{step}"
    return f"[{json.dumps(step, ensure_ascii=False)}]"


# Far above any real configuration, far below what recursive readers of it can take.
MAX_DEPTH = 40

_STRING = r'"(?:\\.|[^"\\\n])*"'
_COMMENT = re.compile(rf"(?P<keep>{_STRING})|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(
    rf"(?P<before>(?:{_STRING}|[\w\]}}])\s*),(?=\s*[\]}}])|(?P<keep>{_STRING})"
)

_HALF = re.compile("[\ud800-\udfff]")
_HINTS = {
    "Expecting property name": 'keys stand in double quotes: {"key": "value"}',
    "Expecting ',' delimiter": "a comma or a closing bracket is missing before this place",
    "Expecting ':' delimiter": "a key is followed by a colon and its value",
    "Expecting value": "a string in double quotes, a number, true, false, null, [ or { goes here",
    "Invalid control character": "close the string, or write a line break inside it as \\n",
    "Unterminated string": "close the string with a double quote",
    "Extra data": "the document ends before this place; a bracket may be closed too early",
    "Invalid \\escape": "write a backslash as \\\\",
}


class Parsed(msgspec.Struct, frozen=True):
    """The document and its problems; ``value`` is None when the syntax is broken."""

    value: Json
    problems: tuple[Problem, ...] = ()


def parse(text: str) -> Parsed:
    """Read JSON with comments; report a syntax error, or every key that stands twice."""
    try:
        value: Json = json.loads(
            plain(text), object_pairs_hook=_Object, parse_constant=_no_such_constant
        )
    except json.JSONDecodeError as error:
        hint = next((hint for start, hint in _HINTS.items() if error.msg.startswith(start)), "")
        place = f"line {error.lineno}, column {error.colno}"
        return Parsed(None, (Problem(place, f"not valid JSON: {error.msg}", hint),))
    except (ValueError, RecursionError) as error:
        return Parsed(None, (Problem("", f"not valid JSON: {error}"),))
    return Parsed(value, tuple(_doubtful(value, ())))


def plain(text: str) -> str:
    """Overwrite comments and trailing commas with spaces; length and line breaks stay."""
    return _TRAILING_COMMA.sub(_without_comma, _COMMENT.sub(_blank, text))


def _blank(match: re.Match[str]) -> str:
    return match["keep"] or re.sub(r"[^\r\n]", " ", match[0])


def _without_comma(match: re.Match[str]) -> str:
    return match["keep"] or f"{match['before']} "


class _Object(dict[str, Json]):
    """An object of the document that remembers which keys stood in it more than once."""

    def __init__(self, pairs: list[tuple[str, Json]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs)
        self.doubled = tuple(key for key, count in counts.items() if count > 1)


def _no_such_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value; write a number or null")


def _doubtful(value: Json, steps: Steps) -> Iterator[Problem]:
    if len(steps) > MAX_DEPTH:
        yield Problem(written(steps), f"nested deeper than {MAX_DEPTH} levels")
        return
    texts = value if isinstance(value, _Object) else [value] if isinstance(value, str) else ()
    if any(_HALF.search(text) for text in texts):
        # JSON can write it, and neither UTF-8 nor a command line can carry it.
        yield Problem(written(steps), "a text has half of a surrogate pair", "write it anew")
    if isinstance(value, _Object):
        for key in value.doubled:
            yield Problem(written((*steps, key)), "this key stands twice", "keep one of the two")
    items = enumerate(value) if isinstance(value, list) else ()
    members = value.items() if isinstance(value, dict) else ()
    for step, inner in (*items, *members):
        yield from _doubtful(inner, (*steps, step))
