"""How a configuration is written by hand, and servers added to one that is. Pure.

Short lists stay on one line, as people write them, so that a difference shows what changed. Text
that is added goes into the text that is there, so that its comments stay.
"""

import json
import re
from collections.abc import Iterator, Mapping

from mcproxy.config import jsonc
from mcproxy.types import Json, JsonObject

LINE_CHARS = 100
_INDENT = re.compile(r'^([ \t]+)"', re.MULTILINE)
_BLANK = re.compile(r"\s*")


def layout(document: Json, indent: str = "  ", depth: int = 0) -> str:
    """The document as JSON text; lists of plain values are on one line where that is not long."""
    inner, outer = indent * (depth + 1), indent * depth
    if isinstance(document, dict) and document:
        members = [
            f"{inner}{_text(key)}: {layout(value, indent, depth + 1)}"
            for key, value in document.items()
        ]
        return "{\n" + ",\n".join(members) + f"\n{outer}}}"
    if isinstance(document, list) and not _fits(document, outer):
        items = [f"{inner}{layout(item, indent, depth + 1)}" for item in document]
        return "[\n" + ",\n".join(items) + f"\n{outer}]"
    return _text(document)


def indent_of(text: str) -> str:
    """The indent that the text uses."""
    found = _INDENT.search(text)
    return found[1] if found else "  "


def with_servers(text: str, servers: Mapping[str, Json]) -> str:
    """The text of a v2 document with more servers at the end of ``servers``.

    Comments stay where the text allows it: what results is read again, and where it is not the
    document that was meant, the document is laid out anew, without comments.
    """
    document = jsonc.parse(text).value
    present = document.get("servers") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(present, dict | None):
        raise TypeError("servers can be added to a v2 document only")
    wanted: JsonObject = {**document, "servers": {**(present or {}), **servers}}
    for candidate in _candidates(text, servers):
        if jsonc.parse(candidate) == jsonc.Parsed(wanted):
            return candidate
    return layout(wanted, indent_of(text)) + "\n"


def _candidates(text: str, servers: Mapping[str, Json]) -> Iterator[str]:
    end = _end_of_servers(text)
    if end is None:
        return
    indent = indent_of(text)
    lines = "".join(
        f"{',' if at else ''}\n{indent * 2}{_text(name)}: {layout(server, indent, 2)}"
        for at, (name, server) in enumerate(servers.items())
    )
    before = text[:end].rstrip(" \t\r\n")
    closed = f"\n{indent}{text[end:]}"
    # After a comma that is there already, or in an empty object. First: behind a comment, a second
    # comma would be of the comment.
    yield f"{before}{lines}{closed}"
    yield f"{before},{lines}{closed}"
    # The last line may end with a comment, behind which a comma would be lost.
    last = len(jsonc.plain(text)[:end].rstrip())
    yield f"{text[:last]},{before[last:]}{lines}{closed}"


def _end_of_servers(text: str) -> int | None:
    """Where the brace stands that closes ``servers``."""
    plain, decoder = jsonc.plain(text), json.JSONDecoder()
    at = plain.find("{") + 1
    try:
        while plain[at:].lstrip().startswith('"'):
            key, at = decoder.raw_decode(plain, _skip(plain, at))
            _, end = decoder.raw_decode(plain, _skip(plain, _skip(plain, at) + 1))
            if key == "servers":
                return end - 1
            at = _skip(plain, _skip(plain, end) + 1)
    except json.JSONDecodeError:
        return None
    return None


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _fits(items: list[Json], indent: str) -> bool:
    flat = not any(isinstance(item, dict | list) for item in items)
    return flat and len(indent) + len(_text(items)) <= LINE_CHARS


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
