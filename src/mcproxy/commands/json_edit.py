"""Changes in the text of a JSON document with comments: members are set and taken out, and all else
stays as it stands. Pure.

Positions are those of the plain JSON of the same length (``config.jsonc``). What results is read
again; where it is not the document that was meant, as comments may stand anywhere, the document is
laid out anew, without comments.
"""

import json
import re
from collections.abc import Iterator, Mapping

import msgspec

from mcproxy.commands.layout import indent_of, layout
from mcproxy.config import jsonc
from mcproxy.types import Json, JsonObject

_BLANK = re.compile(r"\s*")
_DECODER = json.JSONDecoder()
_REST_OF_LINE = re.compile(r"[^\n]*\n?")

Keys = tuple[str, ...]


class MemberSpan(msgspec.Struct, frozen=True):
    """Where a member of an object stands: from its key, and from its value, to its end."""

    key: str
    start: int
    value: int
    end: int


def members(plain: str, at: int) -> Iterator[MemberSpan]:
    """The members of the object whose brace stands at ``at``; ``plain`` is good JSON."""
    at = _skip(plain, at + 1)
    while plain[at] == '"':
        key, colon = _DECODER.raw_decode(plain, at)
        value = _skip(plain, _skip(plain, colon) + 1)
        _, end = _DECODER.raw_decode(plain, value)
        yield MemberSpan(key, at, value, end)
        at = _skip(plain, end)
        if plain[at] == ",":
            at = _skip(plain, at + 1)


def find(text: str, keys: Keys) -> MemberSpan | None:
    """The member to which the keys lead, from the top of the document."""
    plain = jsonc.plain(text)
    at, found = _skip(plain, 0), None
    for key in keys:
        if plain[at : at + 1] != "{":
            return None
        found = next((each for each in members(plain, at) if each.key == key), None)
        if found is None:
            return None
        at = found.value
    return found


def with_members(text: str, keys: Keys, added: Mapping[str, Json]) -> str:
    """The document with these members in the object to which the keys lead.

    Those that are there get the new value in place; objects on the way are made where there are
    none. Raises TypeError where something else stands on the way.
    """
    document = _document(text)
    for key, value in added.items():
        wanted = _set(document, (*keys, key), value)
        candidates = _setting(text, (*keys, key), value)
        text, document = _first_good(candidates, wanted, text), wanted
    return text


def without(text: str, keys: Keys) -> str:
    """The document without the member to which the keys lead; as it is where there is none."""
    found = find(text, keys)
    if found is None:
        return text
    wanted = _removed(_document(text), keys)
    return _first_good(_removing(text, found), wanted, text)


def _first_good(candidates: Iterator[str], wanted: JsonObject, text: str) -> str:
    good = (each for each in candidates if jsonc.parse(each) == jsonc.Parsed(wanted))
    return next(good, layout(wanted, indent_of(text)) + "\n")


def _setting(text: str, keys: Keys, value: Json) -> Iterator[str]:
    if not text.strip():
        return
    indent, newline = indent_of(text), "\r\n" if "\r\n" in text else "\n"
    found = find(text, keys)
    if found:
        written = layout(value, indent, len(keys)).replace("\n", newline)
        yield text[: found.value] + written + text[found.end :]
        return
    depth = len(keys) - 1
    while depth and find(text, keys[:depth]) is None:
        depth -= 1
    for key in reversed(keys[depth + 1 :]):
        value = {key: value}
    plain = jsonc.plain(text)
    parent = find(text, keys[:depth]) if depth else None
    at = parent.value if parent else _skip(plain, 0)
    line = f"{_quoted(keys[depth])}: {layout(value, indent, depth + 1)}"
    yield from _appending(text, at, line.replace("\n", newline), (indent, newline, depth))


def _appending(text: str, brace: int, line: str, shape: tuple[str, str, int]) -> Iterator[str]:
    """The text with one more member in the object at ``brace``, at its end."""
    indent, newline, depth = shape
    plain = jsonc.plain(text)
    _, end = _DECODER.raw_decode(plain, brace)
    before = text[: end - 1].rstrip(" \t\r\n")
    added = f"{newline}{indent * (depth + 1)}{line}"
    closed = f"{newline}{indent * depth}{text[end - 1 :]}"
    # After a comma that is there already, or in an empty object. First: behind a comment, a second
    # comma would be of the comment.
    yield f"{before}{added}{closed}"
    yield f"{before},{added}{closed}"
    # The last line may end with a comment, behind which a comma would be lost.
    last = len(plain[: end - 1].rstrip())
    yield f"{text[:last]},{before[last:]}{added}{closed}"


def _removing(text: str, found: MemberSpan) -> Iterator[str]:
    plain = jsonc.plain(text)
    line = text.rfind("\n", 0, found.start) + 1
    start = line if not text[line : found.start].strip() else found.start
    after = _skip(plain, found.end)
    if plain[after] == ",":
        yield text[:start] + text[_end_of_line(text, plain, after + 1) :]
        return
    end = _end_of_line(text, plain, found.end)
    # A comma behind the last member is blank in the plain text; the one before it has to go.
    comma = plain.rfind(",", 0, found.start)
    yield text[:comma] + text[comma + 1 : start] + text[end:] if comma >= 0 else ""
    yield text[:start] + text[end:]


def _end_of_line(text: str, plain: str, at: int) -> int:
    """The end of the line where only blanks or a comment are left of it."""
    rest = _REST_OF_LINE.match(plain, at)
    end = rest.end() if rest else at
    left = plain[at:end].strip()
    return end if not left and "/*" not in text[at:end] else at


def _document(text: str) -> JsonObject:
    value = jsonc.parse(text).value if text.strip() else {}
    if not isinstance(value, dict):
        raise TypeError("the document is no object")
    return value


def _set(document: JsonObject, keys: Keys, value: Json) -> JsonObject:
    first, rest = keys[0], keys[1:]
    if not rest:
        return {**document, first: value}
    inner = document.get(first, {})
    if not isinstance(inner, dict):
        raise TypeError(f"{first!r} is no object")
    return {**document, first: _set(inner, rest, value)}


def _removed(document: JsonObject, keys: Keys) -> JsonObject:
    first, rest = keys[0], keys[1:]
    if not rest:
        return {key: value for key, value in document.items() if key != first}
    inner = document[first]
    return {**document, first: _removed(inner, rest) if isinstance(inner, dict) else inner}


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _quoted(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)
