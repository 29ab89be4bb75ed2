"""The headers that mirror a stateless request's parameters, held against its body. Pure.

A request whose headers and body say two things is refused, since what stands between client and
server may route by the headers (MCP 2026-07-28, basic/transports/streamable-http, "Request
Metadata").
"""

import base64
import binascii
import re

from starlette.datastructures import Headers

from mcproxy import mcp
from mcproxy.errors import RpcError
from mcproxy.frontends.conversation import Params, arguments_in, glance
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import Request
from mcproxy.wire.param_headers import header_text, marked, value_at

_SENTINEL = re.compile(r"=\?base64\?(.*)\?=")


def check(request: Request, headers: Headers) -> Params:
    """Look at the parameters.

    Raises RpcError: INVALID_PARAMS where ``_meta`` lacks what each request must say, and
    HEADER_MISMATCH (-32020) where a header is missing or differs from the body.
    """
    seen = glance(request.params)
    for key in (mcp.META_VERSION, mcp.META_CLIENT_CAPABILITIES):
        if key not in seen.meta:
            text = f"params._meta lacks {key!r}; every request of protocol 2026-07-28 carries it"
            raise RpcError(RpcError.INVALID_PARAMS, text)
    _same(
        mcp.VERSION_HEADER,
        _value(headers, mcp.VERSION_HEADER),
        seen.meta[mcp.META_VERSION],
        f"_meta {mcp.META_VERSION!r}",
    )
    _same(mcp.METHOD_HEADER, _value(headers, mcp.METHOD_HEADER), request.method, "method")
    field, value = _named(request.method, seen)
    if value is not None:
        _same(mcp.NAME_HEADER, decoded(_value(headers, mcp.NAME_HEADER)), value, f"params.{field}")
    return seen


def check_parameters(request: Request, headers: Headers, schema: JsonObject) -> None:
    """Hold the headers that repeat a tool's parameters against the body ("Custom Headers").

    Raises RpcError, mcp.HEADER_MISMATCH, where one is missing or differs.
    """
    marks = dict(marked(schema))
    arguments = arguments_in(request.params) if marks else {}
    for path, header in marks.items():
        name, what = f"{mcp.PARAMETER_HEADER_PREFIX}{header}", f"params.arguments.{'.'.join(path)}"
        value, sent = value_at(arguments, path), _value(headers, name)
        text = header_text(value)
        if text is not None:
            _same(name, decoded(sent), text, what)
        elif value is None and sent is not None:
            raise RpcError(mcp.HEADER_MISMATCH, f"the header {name} is there, {what} is not")


def decoded(value: str | None) -> str | None:
    """A header's value out of its Base64 form ("Value Encoding"); None where it has none."""
    found = _SENTINEL.fullmatch(value) if value else None
    if not found:
        return value
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _value(headers: Headers, name: str) -> str | None:
    """A header without the blanks around it, which are none of its value (RFC 9110, 5.5).

    Raises RpcError where it is there twice: whoever routes by it might read the other one.
    """
    values = headers.getlist(name)
    if len(values) > 1:
        raise RpcError(mcp.HEADER_MISMATCH, f"the header {name} is there more than once")
    return values[0].strip(" \t") if values else None


def _named(method: str, seen: Params) -> tuple[str, Json]:
    match method:
        case mcp.CALL_TOOL | mcp.GET_PROMPT:
            return "name", seen.name
        case mcp.READ_RESOURCE:
            return "uri", seen.uri
        case mcp.GET_TASK | mcp.UPDATE_TASK | mcp.CANCEL_TASK:
            return "taskId", seen.taskId
        case _:
            return "", None


def _same(header: str, value: str | None, wanted: Json, what: str) -> None:
    if value is None:
        text = f"the header {header} is missing or unreadable; it repeats {what} of the body"
        raise RpcError(mcp.HEADER_MISMATCH, text)
    if value != wanted:
        text = f"the header {header} says {value!r}, {what} of the body says {wanted!r}"
        raise RpcError(mcp.HEADER_MISMATCH, text)
