"""The opening of a session: which era a server is of, and what it says of itself.

Asks ``server/discover`` first (MCP 2026-07-28, "Discovery"); whoever does not know it gets the
``initialize`` handshake of 2025-11-25 and before.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

import mcproxy
from mcproxy import mcp
from mcproxy.errors import McproxyError, RpcError
from mcproxy.types import Json, JsonObject
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.wire.message import UNREADABLE

DISCOVER_SECS = 5.0  # servers that ignore unknown requests stay silent; then `initialize`

# What is offered to servers of the handshake era. Whether a client can really be asked is known
# only when one is there; if it cannot, the server gets an error.
CAPABILITIES: JsonObject = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}

CLIENT_INFO: JsonObject = {"name": "mcproxy", "version": mcproxy.__version__}


def own_meta(extensions: JsonObject) -> JsonObject:
    """What each of our own requests to a server of the stateless era carries."""
    return {
        mcp.META_VERSION: mcp.STATELESS_VERSION,
        mcp.META_CLIENT_INFO: CLIENT_INFO,
        mcp.META_CLIENT_CAPABILITIES: _with({}, extensions),
    }


def _with(capabilities: JsonObject, extensions: JsonObject) -> JsonObject:
    return {**capabilities, mcp.EXTENSIONS: extensions} if extensions else capabilities


log = logging.getLogger(__name__)

Send = Callable[[str, JsonObject], Awaitable[bytes]]

_object = msgspec.json.Decoder(dict[str, Json])


class HandshakeFailed(McproxyError):
    """The server runs but does not speak MCP as it should; the text says what it answered."""


class ServerInfo(msgspec.Struct, frozen=True):
    """What a server says of itself in the handshake."""

    protocol: str
    name: str
    version: str
    instructions: str
    capabilities: JsonObject


async def shake_hands(name: str, send: Send, secs: float, extensions: JsonObject) -> ServerInfo:
    """Find the era, exchange capabilities, within ``secs``. ``extensions``: those that are offered
    whichever client comes later, each with its settings.

    Raises HandshakeFailed, PeerClosed or TimeoutError.

    A server of the handshake era is still to be told ``notifications/initialized``.
    """
    async with asyncio.timeout(secs):
        found = await _discover(name, send, DISCOVER_SECS, extensions)
        return found or await _initialize(name, send, secs, extensions)


async def _discover(
    name: str, send: Send, secs: float, extensions: JsonObject
) -> ServerInfo | None:
    try:
        async with asyncio.timeout(secs):
            answer = _object.decode(await send(mcp.DISCOVER, {"_meta": own_meta(extensions)}))
    except (RpcError, TimeoutError, *UNREADABLE) as error:
        ServerLog(log, name).debug("no server/discover: %s", error)
        return None
    versions = answer.get("supportedVersions")
    if not isinstance(versions, list) or mcp.STATELESS_VERSION not in versions:
        return None
    return _server_info(mcp.STATELESS_VERSION, name, answer)


async def _initialize(name: str, send: Send, secs: float, extensions: JsonObject) -> ServerInfo:
    params: JsonObject = {
        "protocolVersion": mcp.HANDSHAKE_VERSIONS[0],
        "capabilities": _with(CAPABILITIES, extensions),
        "clientInfo": CLIENT_INFO,
    }
    try:
        answer = _object.decode(await send("initialize", params))
    except RpcError as error:
        # A slow start makes the probe above run out; a modern server then refuses this.
        if found := await _discover(name, send, secs, extensions):
            return found
        raise HandshakeFailed(f"it refused `initialize`: {error.message}") from error
    except UNREADABLE as error:
        raise HandshakeFailed(f"its answer to `initialize` is no object: {error}") from error
    protocol = answer.get("protocolVersion")
    if protocol not in mcp.HANDSHAKE_VERSIONS:
        ServerLog(log, name).warning("unknown protocol version %r, trying anyway", protocol)
    return _server_info(str(protocol), name, answer)


def _server_info(protocol: str, name: str, answer: JsonObject) -> ServerInfo:
    meta = answer.get("_meta")
    if not isinstance(meta, dict):
        meta = {}
    info = answer.get("serverInfo") or meta.get(mcp.META_SERVER_INFO)
    capabilities = answer.get("capabilities")
    instructions = answer.get("instructions")
    named = info if isinstance(info, dict) else {}
    said, version = named.get("name"), named.get("version")
    return ServerInfo(
        protocol,
        said if isinstance(said, str) else name,
        version if isinstance(version, str) else "",
        instructions if isinstance(instructions, str) else "",
        capabilities if isinstance(capabilities, dict) else {},
    )
