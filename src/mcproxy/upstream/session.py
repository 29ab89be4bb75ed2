"""One MCP session as its client: the handshake, the tools, a call. Both protocol eras.

Owns what is said to a server; knows no process and no socket (it is given a ``Peer``). Which era a
server is of is found by asking ``server/discover`` first (MCP 2026-07-28, "Discovery"): whoever
does not know it gets the ``initialize`` handshake of 2025-11-25 and before.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

import mcproxy
from mcproxy.errors import McproxyError, PeerClosed, RpcError
from mcproxy.types import Json, JsonObject, Tool, ToolRef, ToolResult
from mcproxy.wire.message import Failure, Notification, Request, RequestId, Response
from mcproxy.wire.peer import Peer

MODERN = "2026-07-28"
HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")

DISCOVER_SECS = 5.0  # servers that ignore unknown requests stay silent; then `initialize`
HANDSHAKE_SECS = 60.0  # `npx` and `uvx` may download the server first
LIST_SECS = 30.0
MAX_PAGES = 1000  # a server that repeats its cursor must not hold us for ever

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode


class HandshakeFailed(McproxyError):
    """The server runs but does not speak MCP as it should; the text says what it answered."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server says of itself in the handshake."""

    protocol: str
    name: str
    instructions: str
    capabilities: JsonObject


class _ToolsPage(msgspec.Struct):
    tools: list[JsonObject] = []
    nextCursor: str | None = None


class _CallHead(msgspec.Struct):
    isError: bool = False


_page = msgspec.json.Decoder(_ToolsPage)
_call_head = msgspec.json.Decoder(_CallHead)
_object = msgspec.json.Decoder(dict[str, Json])


class Session:
    """A session with one server; ``open`` runs the handshake.

    ``wake`` is called when the session wants to be looked at: the server said that its list of
    tools changed (``tools_changed`` is then True until the next listing), or it is gone.
    """

    def __init__(self, name: str, wake: Callable[["Session"], None]) -> None:
        self.name = name
        self.info = ServerInfo("", name, "", {})
        self.tools_changed = False
        self._wake = wake
        self.closed = False
        self._peer: Peer | None = None
        self._meta: JsonObject = {}

    @property
    def modern(self) -> bool:
        """Whether the server is of the stateless era."""
        return self.info.protocol == MODERN

    def attach(self, peer: Peer) -> None:
        """Tie the session to a connection, before anything is read from it."""
        self._peer = peer

    async def open(self) -> None:
        """Find the era, shake hands. Raises HandshakeFailed, PeerClosed or TimeoutError."""
        async with asyncio.timeout(HANDSHAKE_SECS):
            if not await self._discover(DISCOVER_SECS):
                await self._initialize()

    async def list_tools(self) -> tuple[Tool, ...]:
        """All tools, every page. A server without the tools capability has none."""
        self.tools_changed = False
        if "tools" not in self.info.capabilities:
            return ()
        tools: list[Tool] = []
        cursor: str | None = None
        async with asyncio.timeout(LIST_SECS):
            for _ in range(MAX_PAGES):
                params: JsonObject = {"cursor": cursor} if cursor else {}
                page = self._read_page(await self._request("tools/list", params))
                tools += [
                    Tool(ToolRef(self.name, str(definition["name"])), definition)
                    for definition in page.tools
                    if definition.get("name")
                ]
                if not page.nextCursor or page.nextCursor == cursor:
                    return tuple(tools)
                cursor = page.nextCursor
        return tuple(tools)

    async def call_tool(self, tool: str, arguments: Mapping[str, Json]) -> ToolResult:
        """Call a tool. Raises RpcError for a JSON-RPC error, PeerClosed when the server dies."""
        raw = await self._request("tools/call", {"name": tool, "arguments": dict(arguments)})
        try:
            head = _call_head.decode(raw)
        except msgspec.DecodeError as error:
            raise RpcError(
                RpcError.INTERNAL_ERROR, f"the reply is no tool result: {error}"
            ) from error
        return ToolResult(raw, head.isError)

    def on_message(self, message: Request | Notification) -> None:
        """Take what the server sends of its own accord."""
        if isinstance(message, Notification):
            if message.method == "notifications/tools/list_changed":
                self.tools_changed = True
                self._wake(self)
            return
        if self._peer:
            self._peer.post(_answer(message))

    def on_closed(self) -> None:
        """Take note that the connection has ended."""
        self.closed = True
        self._wake(self)

    def on_abandon(self, id_: RequestId) -> Notification:
        """The notification for a request that nobody waits for any more."""
        return Notification(
            "notifications/cancelled",
            _encode({"requestId": id_, "reason": "the caller gave up or timed out"}),
        )

    async def _discover(self, secs: float) -> bool:
        self._meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": _client_info(),
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        try:
            async with asyncio.timeout(secs):
                answer = _object.decode(await self._request("server/discover", {}))
        except (RpcError, TimeoutError, msgspec.DecodeError) as error:
            log.debug("%s: no server/discover: %s", self.name, error)
            answer = {}
        versions = answer.get("supportedVersions")
        if not isinstance(versions, list) or MODERN not in versions:
            self._meta = {}
            return False
        self.info = _server_info(MODERN, self.name, answer)
        return True

    async def _initialize(self) -> None:
        params: JsonObject = {
            "protocolVersion": HANDSHAKE[0],
            "capabilities": {},
            "clientInfo": _client_info(),
        }
        try:
            answer = _object.decode(await self._request("initialize", params))
        except RpcError as error:
            # A slow start makes the probe above run out; a modern server then refuses this.
            if await self._discover(HANDSHAKE_SECS):
                return
            raise HandshakeFailed(f"it refused `initialize`: {error.message}") from error
        except msgspec.DecodeError as error:
            raise HandshakeFailed(f"its answer to `initialize` is no object: {error}") from error
        protocol = answer.get("protocolVersion")
        if protocol not in HANDSHAKE:
            log.warning("%s: unknown protocol version %r, trying anyway", self.name, protocol)
        self.info = _server_info(str(protocol), self.name, answer)
        if self._peer:
            self._peer.post(Notification("notifications/initialized"))

    async def _request(self, method: str, params: JsonObject) -> bytes:
        if self._peer is None:
            raise PeerClosed("the session was never opened")
        if self._meta:
            params = {**params, "_meta": self._meta}
        return await self._peer.request(method, _encode(params))

    def _read_page(self, raw: bytes) -> _ToolsPage:
        try:
            return _page.decode(raw)
        except msgspec.DecodeError as error:
            raise HandshakeFailed(f"its answer to `tools/list` is odd: {error}") from error


def _answer(request: Request) -> Response | Failure:
    """The answer to a request of the server; a client without capabilities only knows ``ping``."""
    if request.method == "ping":
        return Response(request.id, b"{}")
    text = f"{request.method} is not offered by this client"
    return Failure(request.id, RpcError(RpcError.METHOD_NOT_FOUND, text))


def _client_info() -> JsonObject:
    return {"name": "mcproxy", "version": mcproxy.__version__}


def _server_info(protocol: str, name: str, answer: JsonObject) -> ServerInfo:
    meta = answer.get("_meta")
    if not isinstance(meta, dict):
        meta = {}
    info = answer.get("serverInfo") or meta.get("io.modelcontextprotocol/serverInfo")
    capabilities = answer.get("capabilities")
    instructions = answer.get("instructions")
    said = info.get("name") if isinstance(info, dict) else None
    return ServerInfo(
        protocol,
        said if isinstance(said, str) else name,
        instructions if isinstance(instructions, str) else "",
        capabilities if isinstance(capabilities, dict) else {},
    )
