"""The headers of requests over Streamable HTTP. Pure.

A message that carries its protocol version in ``_meta`` is of the stateless era: its method, its
name and the parameters that the tool's schema marks with ``x-mcp-header`` go into headers too,
which mirror the body (MCP 2026-07-28, Streamable HTTP, 4 "Request Metadata"). In the handshake era
they carry what the session agreed on from request to request.
"""

import base64
import re
from collections.abc import Mapping
from typing import TypeAlias

import httpx
import msgspec

from mcproxy import mcp
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import UNREADABLE, Notification, Request
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


INITIALIZED = Notification(mcp.INITIALIZED)
FIRST_VERSION = "2025-03-26"  # of Streamable HTTP

_VISIBLE = re.compile(r"[!-~]+")  # what a session id may consist of; sent back in a header


class Agreed(msgspec.Struct, frozen=True):
    """What ``initialize`` agreed on; ``session_id`` is empty where the server keeps no session."""

    session_id: str
    version: str


class _Initialized(msgspec.Struct):
    protocolVersion: str = FIRST_VERSION


def agreed_in(response: httpx.Response, result: bytes) -> Agreed:
    """What the reply to ``initialize`` agrees on."""
    try:
        version = msgspec.json.decode(result, type=_Initialized).protocolVersion
    except UNREADABLE:
        version = ""
    session_id = response.headers.get(mcp.SESSION_HEADER, "")
    return Agreed(
        session_id if _VISIBLE.fullmatch(session_id) else "",
        version if _VISIBLE.fullmatch(version) else FIRST_VERSION,
    )


def headers_of(agreed: Agreed | None) -> dict[str, str]:
    """The headers of a request; None before, and outside, the handshake era."""
    headers = {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
    }
    if agreed:
        headers[mcp.VERSION_HEADER] = agreed.version
    if agreed and agreed.session_id:
        headers[mcp.SESSION_HEADER] = agreed.session_id
    return headers
