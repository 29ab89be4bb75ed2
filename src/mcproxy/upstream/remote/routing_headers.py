"""The HTTP headers that mirror a message's body (MCP 2026-07-28, Streamable HTTP, 4 "Request
Metadata"). Pure.

A message that carries its protocol version in ``_meta`` is of the stateless era, and its method,
its name and the parameters that the tool's schema marks with ``x-mcp-header`` go into headers too.
"""

import base64
import re
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from mcproxy import mcp
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import UNREADABLE, Request
from mcproxy.wire.param_headers import Path, header_text, marked, value_at

Marks: TypeAlias = Mapping[str, Mapping[Path, str]]
"""By tool: which of its parameters, by path, is mirrored in which header."""

_MARK = b"x-mcp-header"
_NAMED_BY: Mapping[str, str] = {
    mcp.CALL_TOOL: "name",
    mcp.GET_PROMPT: "name",
    mcp.READ_RESOURCE: "uri",
}
_PLAIN = re.compile(r"[!-~](?:[ -~\t]*[!-~])?")
_SENTINEL = re.compile(r"=\?base64\?.*\?=", re.DOTALL)
_object = msgspec.json.Decoder(dict[str, Json])


def mirrored(request: Request, marks: Marks) -> dict[str, str]:
    """The headers of a request; none where it is not of the stateless era."""
    params = _read(request.params)
    version = _dict(params.get("_meta")).get(mcp.META_VERSION)
    if not isinstance(version, str):
        return {}
    headers = {mcp.VERSION_HEADER: version, mcp.METHOD_HEADER: request.method}
    name = params.get(_NAMED_BY.get(request.method, ""))
    if not isinstance(name, str):
        return headers
    headers[mcp.NAME_HEADER] = header_value(name)
    arguments = _dict(params.get("arguments"))
    for path, header in marks.get(name, {}).items() if request.method == mcp.CALL_TOOL else ():
        text = header_text(value_at(arguments, path))
        if text is not None:
            headers[f"{mcp.PARAMETER_HEADER_PREFIX}{header}"] = header_value(text)
    return headers


def marks_in(result: bytes) -> Marks:
    """The marked parameters in the result of a ``tools/list``; marks that break a rule are none."""
    if _MARK not in result:
        return {}
    tools = _read(result).get("tools")
    listed = [_dict(tool) for tool in tools] if isinstance(tools, list) else []
    return {str(tool.get("name")): dict(marked(tool.get("inputSchema"))) for tool in listed}


def header_value(text: str) -> str:
    """The text as a header value: as it is, or in Base64 where a header could not carry it."""
    if _PLAIN.fullmatch(text) and not _SENTINEL.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8', 'replace')).decode('ascii')}?="


def _read(raw: bytes) -> JsonObject:
    try:
        return _object.decode(raw)
    except UNREADABLE:
        return {}


def _dict(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}
