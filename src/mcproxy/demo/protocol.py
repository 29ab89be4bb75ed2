"""The MCP methods that a server with tools alone needs, in both eras.

Handshake era (2024-11-05 … 2025-11-25): ``initialize``, ``ping``, ``tools/list``, ``tools/call``.
Stateless era (2026-07-28): ``server/discover``, ``tools/list``, ``tools/call``; each request names
its version in ``_meta``. The era is decided for each request by what the request itself carries.
Pure but for the tools themselves; knows no transport.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from mcproxy.demo.schema import BadArguments, Json, JsonObject, accept

HANDSHAKE_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
STATELESS_VERSION = "2026-07-28"
LIST_TTL_MS = 3_600_000  # the tools never change while the server runs

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
UNSUPPORTED_VERSION = -32022

_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
_SERVER_KEY = "io.modelcontextprotocol/serverInfo"
_CAPABILITIES: JsonObject = {"tools": {}}


class DemoToolError(Exception):
    """What a tool says when it cannot do what was asked; becomes a result with ``isError``."""


class ProtocolError(Exception):
    """A request that the protocol forbids; becomes a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Json = None) -> None:
        self.code, self.message, self.data = code, message, data
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class DemoTool:
    """One tool. ``run`` takes the properties of ``arguments`` as keywords, already checked."""

    name: str
    title: str
    description: str
    arguments: JsonObject
    result: JsonObject
    run: Callable[..., JsonObject]
    read_only: bool = True
    destructive: bool = False
    idempotent: bool = True

    def definition(self) -> JsonObject:
        """Return the tool as ``tools/list`` shows it."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.arguments,
            "outputSchema": self.result,
            "annotations": {
                "readOnlyHint": self.read_only,
                "destructiveHint": self.destructive,
                "idempotentHint": self.idempotent,
                "openWorldHint": False,
            },
        }


@dataclass(frozen=True, slots=True)
class Server:
    """What a server is and offers."""

    name: str
    version: str
    instructions: str
    tools: tuple[DemoTool, ...]


def dispatch(server: Server, method: str, params: JsonObject) -> JsonObject:
    """Return the result of one request.

    Raises ProtocolError for what the protocol forbids; what a tool refuses is a result.
    """
    meta = params.get("_meta")
    if method == "server/discover" or (isinstance(meta, dict) and _VERSION_KEY in meta):
        _require_stateless(meta)
        return _stateless(server, method, params)
    match method:
        case "initialize":
            return _initialize(server, params)
        case "ping":
            return {}
    return _tools(server, method, params)


def _stateless(server: Server, method: str, params: JsonObject) -> JsonObject:
    cacheable: JsonObject = {"ttlMs": LIST_TTL_MS, "cacheScope": "public"}
    if method == "server/discover":
        result: JsonObject = {
            "supportedVersions": [STATELESS_VERSION],
            "capabilities": _CAPABILITIES,
            "instructions": server.instructions,
            **cacheable,
        }
    else:
        result = _tools(server, method, params)
        if method == "tools/list":
            result |= cacheable
    return {"resultType": "complete", **result, "_meta": {_SERVER_KEY: _identity(server)}}


def _require_stateless(meta: Json) -> None:
    if not isinstance(meta, dict) or not isinstance(meta.get(_CAPABILITIES_KEY), dict):
        raise ProtocolError(
            INVALID_PARAMS, f"params._meta must have {_VERSION_KEY} and {_CAPABILITIES_KEY}."
        )
    version = meta.get(_VERSION_KEY)
    if version != STATELESS_VERSION:
        raise ProtocolError(
            UNSUPPORTED_VERSION,
            f"Protocol version {version!r} is not served in this form.",
            {"supported": [STATELESS_VERSION], "requested": str(version)},
        )


def _initialize(server: Server, params: JsonObject) -> JsonObject:
    wanted = params.get("protocolVersion")
    return {
        "protocolVersion": wanted if wanted in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1],
        "capabilities": _CAPABILITIES,
        "serverInfo": _identity(server),
        "instructions": server.instructions,
    }


def _tools(server: Server, method: str, params: JsonObject) -> JsonObject:
    match method:
        case "tools/list":
            return {"tools": [tool.definition() for tool in server.tools]}
        case "tools/call":
            return _call(server, params)
    raise ProtocolError(METHOD_NOT_FOUND, f"There is no method {method!r} here.")


def _call(server: Server, params: JsonObject) -> JsonObject:
    tool = next((tool for tool in server.tools if tool.name == params.get("name")), None)
    if tool is None:
        names = ", ".join(tool.name for tool in server.tools)
        raise ProtocolError(
            INVALID_PARAMS, f"There is no tool {params.get('name')!r}. The tools are: {names}."
        )
    arguments = params.get("arguments", {})
    if not isinstance(arguments, dict):
        raise ProtocolError(INVALID_PARAMS, "params.arguments must be an object.")
    try:
        value = tool.run(**accept(tool.arguments, arguments))
    except (BadArguments, DemoToolError) as error:
        return {"content": [_text(str(error))], "isError": True}
    compact = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return {"content": [_text(compact)], "structuredContent": value, "isError": False}


def _identity(server: Server) -> JsonObject:
    return {"name": server.name, "version": server.version}


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}
