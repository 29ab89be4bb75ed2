"""The parameters of a tool that are repeated in HTTP headers, as its schema marks them. Pure.

MCP 2026-07-28, basic/transports/streamable-http, "Custom Headers": a property with ``x-mcp-header``
names the header, and the value stands there as text. Both sides of the gateway need this: towards
servers the headers are written, of clients they are held against the body.
"""

import re
from collections.abc import Iterator
from typing import TypeAlias

from mcproxy.types import Json, JsonObject

Path: TypeAlias = tuple[str, ...]
"""Where a parameter stands in the arguments."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


def marked(schema: Json, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The marked parameters with the names of their headers; marks that break a rule are none."""
    for name, value in _dict(_dict(schema).get("properties")).items():
        header = _dict(value).get("x-mcp-header")
        if isinstance(header, str) and _TOKEN.fullmatch(header):
            yield (*path, name), header
        yield from marked(value, (*path, name))


def value_at(arguments: Json, path: Path) -> Json:
    """A parameter's value, None where it is missing."""
    value = arguments
    for step in path:
        value = _dict(value).get(step)
    return value


def header_text(value: Json) -> str | None:
    """A value as the text that a header repeats; None for one that is of no such type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None


def _dict(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}
