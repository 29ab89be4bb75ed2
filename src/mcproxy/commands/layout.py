"""How a configuration is written by hand. Pure.

Short lists stay on one line, as people write them, so that a difference shows what changed.
"""

import json
import re

from mcproxy.types import Json

LINE_CHARS = 100
_INDENT = re.compile(r'^([ \t]+)"', re.MULTILINE)


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


def _fits(items: list[Json], indent: str) -> bool:
    flat = not any(isinstance(item, dict | list) for item in items)
    return flat and len(indent) + len(_text(items)) <= LINE_CHARS


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
