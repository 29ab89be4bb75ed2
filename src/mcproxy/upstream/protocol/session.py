"""One MCP session as its client: the lists, and requests, in both protocol eras.

Owns what is said to a server; knows no process and no socket (it is given a ``Peer``). What passes
between the server and clients meanwhile is ``relay``'s, the streams of changes ``listening``'s.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from mcproxy import mcp
from mcproxy.errors import PeerClosed, RpcError
from mcproxy.exchange import Exchange, extensions_in
from mcproxy.types import Json, JsonObject, Tool, ToolResult
from mcproxy.upstream.protocol.handshake import (
    HandshakeFailed,
    ServerInfo,
    own_meta,
    shake_hands,
)
from mcproxy.upstream.protocol.listening import ChangeStream
from mcproxy.upstream.protocol.listing import LISTS, fit, listed_tool, read_list
from mcproxy.upstream.protocol.relay import PossibleOwners, Relay, answers, request_meta
from mcproxy.upstream.protocol.server_tasks import ServerTask, wants_task
from mcproxy.wire.message import UNREADABLE, Message, Notification, Request, RequestId
from mcproxy.wire.peer import Peer

LIST_SECS = 30.0
MAX_ROUNDS = 10  # a server that always wants further input must not hold us for ever
_MAX_KIND_CHARS = 40  # of a result's type that is not known

_UNKNOWN: Mapping[str, Json] = MappingProxyType({})  # the definition of a tool that is not listed

_encode = msgspec.json.Encoder().encode


class _ResultHead(msgspec.Struct):
    resultType: Json = None


class _CallHead(_ResultHead):
    isError: bool = False


class _InputRequired(_ResultHead):
    inputRequests: JsonObject = {}
    requestState: str | None = None


_result_head = msgspec.json.Decoder(_ResultHead)
_call_head = msgspec.json.Decoder(_CallHead)
_input_required = msgspec.json.Decoder(_InputRequired)


class ServerSession:
    """A session with one server; ``open`` runs the handshake.

    ``wake`` is called when the session wants to be looked at: the server said that its list of
    tools changed (``tools_changed`` is then True until the next listing), it sent what
    ``take_events`` gives, or it is gone. ``lag_secs``: see ``PossibleOwners``.
    """

    def __init__(
        self, name: str, wake: Callable[["ServerSession"], None], lag_secs: float = 0.0
    ) -> None:
        self.name = name
        self.info = ServerInfo("", name, "", "", {})
        self.modern = False  # whether the server is of the stateless era
        self.tools_changed = False
        self._wake = wake
        self.closed = False
        self._peer: Peer | None = None
        self._meta: JsonObject = {}
        self._relay = Relay(name, self._post, PossibleOwners(lag_secs))
        self._listening = ChangeStream(self._post)
        self._lists: dict[str, tuple[JsonObject, ...]] = {}
        self._events: list[Notification] = []
        self._log_level: str | None = None
        self._fresh = True

    @property
    def end(self) -> PeerClosed:
        """Why the session has ended."""
        return (self._peer and self._peer.closed) or PeerClosed("the connection ended")

    def attach(self, peer: Peer) -> None:
        """Tie the session to a connection, before anything is read from it."""
        self._peer = peer

    async def open(self, secs: float, extensions: JsonObject) -> None:
        """Find the era, shake hands, within ``secs``; see ``shake_hands``.

        Raises HandshakeFailed, PeerClosed or TimeoutError.
        """
        self.info = await shake_hands(self.name, self._send, secs, extensions)
        self.modern = self.info.protocol == mcp.STATELESS_VERSION
        self._relay.declared = frozenset(extensions_in(self.info.capabilities))
        if self.modern:
            self._meta = own_meta(extensions)
            self._listening.open(self.info.capabilities, self._meta)
        else:
            self._post(Notification(mcp.INITIALIZED))

    async def list_tools(self) -> tuple[Tool, ...]:
        """All tools, every page. A server without the tools capability has none."""
        self.tools_changed = False
        self._lists.pop(mcp.LIST_TOOLS, None)
        try:
            listed = await self.list(mcp.LIST_TOOLS)
        except UNREADABLE as error:
            raise HandshakeFailed(f"its answer to `tools/list` is odd: {error}") from error
        return tuple(listed_tool(self.name, definition) for definition in listed)

    async def list(self, method: str) -> tuple[JsonObject, ...]:
        """All items of a list; kept until the server says that it changed.

        Raises RpcError, PeerClosed, TimeoutError, and msgspec.DecodeError for an odd answer.
        """
        lists = self._lists  # a change that is told meanwhile replaces it
        if not self._offers(method.partition("/")[0]):
            return ()
        if method not in LISTS:  # an extension's: nothing is known of when it changes
            async with asyncio.timeout(LIST_SECS):
                return await read_list(self._request, method)
        if method not in lists:
            async with asyncio.timeout(LIST_SECS):
                listed = await read_list(self._request, method)
                lists[method] = fit(listed, method, self.name)
        return lists[method]

    async def call_tool(
        self,
        exchange: Exchange,
        tool: str,
        arguments: Mapping[str, Json],
        definition: Mapping[str, Json] = _UNKNOWN,
    ) -> ToolResult:
        """Call a tool; what its server makes a task of is awaited. Raises RpcError for a JSON-RPC
        error, PeerClosed when the server dies."""
        params: JsonObject = {"name": tool, "arguments": dict(arguments)}
        can = self.info.capabilities  # few servers have tasks: the others' tools are not looked at
        asked = "tasks" in can and not self.modern and wants_task(definition, can)
        if asked:
            params[mcp.TASK] = {}
        raw = await self._rounds(exchange, mcp.CALL_TOOL, params)
        head = _head_of_result(raw)
        if asked or (self.modern and head.resultType == mcp.TASK):
            raw = await ServerTask(self.request, exchange, stateless=self.modern).outcome(raw)
            head = _head_of_result(raw)
        if head.resultType is None:  # as it is in the handshake era
            return ToolResult(raw, head.isError)
        return ToolResult(raw, head.isError, kind=self._kind(exchange, head))

    async def request(self, exchange: Exchange, method: str, params: JsonObject) -> bytes:
        """Send a request on behalf of the client behind the exchange; its raw result.

        Where the server wants input first, the client is asked for it and the request sent again,
        unless the client takes ``input_required`` itself. Raises RpcError, for a result of a type
        that is not known too, and PeerClosed.
        """
        raw = await self._rounds(exchange, method, params)
        if b"resultType" in raw:  # spares large results of the handshake era a second reading
            with contextlib.suppress(*UNREADABLE):  # whoever reads it tells what is wrong
                self._kind(exchange, _result_head.decode(raw))
        return raw

    def _kind(self, exchange: Exchange, head: _ResultHead) -> str:
        """The type of a result. Raises RpcError for one that neither the protocol nor an extension
        has that was agreed on: to take it for an empty success would be wrong."""
        kind, agreed = head.resultType, exchange.negotiated
        if kind is None or kind == mcp.COMPLETE_RESULT:
            return mcp.COMPLETE_RESULT
        to_the_client = kind == mcp.INPUT_REQUIRED and self.modern and exchange.retry is not None
        shared = agreed.unread and not agreed.unread.isdisjoint(
            extensions_in(self.info.capabilities)
        )
        if to_the_client or kind in agreed.result_types or shared:
            return str(kind)
        text = f"the server's result is of the type {str(kind)[:_MAX_KIND_CHARS]!r}, which no"
        text += " extension has that was agreed on with it; so it is not known what it did"
        raise RpcError(RpcError.INTERNAL_ERROR, text)

    def _offers(self, kind: str) -> bool:
        """Whether the server has declared a capability, or an extension of that name."""
        declared = self.info.capabilities
        return kind in declared or any(
            name.partition("/")[2] == kind for name in extensions_in(declared)
        )

    async def _rounds(self, exchange: Exchange, method: str, params: JsonObject) -> bytes:
        """The reply to a request, in as many rounds as the server wants input."""
        if exchange.log_level is not None and self._is_quieter(exchange.log_level):
            await self._raise_log_level(exchange.log_level)
        if exchange.retry:
            params = {**params, **exchange.retry}
        for _ in range(MAX_ROUNDS):
            raw = await self._carry(exchange, method, params)
            wanted = _wanted(raw) if self.modern and exchange.retry is None else None
            if wanted is None:
                return raw
            params = {**params, "inputResponses": await answers(exchange, wanted.inputRequests)}
            if wanted.requestState is not None:
                params["requestState"] = wanted.requestState
        text = f"the server asked for input {MAX_ROUNDS} times without an end"
        raise RpcError(RpcError.INTERNAL_ERROR, text)

    async def answers(self, secs: float) -> bool:
        """Whether the server still reacts, be it with an error (``ping`` is gone in 2026-07-28)."""
        try:
            async with asyncio.timeout(secs):
                await self._request("ping", {})
        except RpcError:
            return True
        except (TimeoutError, PeerClosed):
            return False
        return True

    async def watch(self, exchange: Exchange, uri: str, *, wanted: bool) -> None:
        """Turn the notifications about one resource on or off. Raises RpcError, PeerClosed."""
        if self.modern:
            self._listening.watch(uri, wanted=wanted)
        else:
            method = mcp.SUBSCRIBE if wanted else mcp.UNSUBSCRIBE
            await self._carry(exchange, method, {"uri": uri})

    def take_events(self) -> tuple[Notification, ...]:
        """What the server told since the last time that is not about its tools."""
        events, self._events = self._events, []
        return tuple(events)

    def on_message(self, message: Request | Notification, within: RequestId | None) -> None:
        """Take what the server sends of its own accord; ``within``: the request of ours on whose
        stream it came."""
        if isinstance(message, Request):
            self._relay.asked(message, within)
        elif self._relay.notified(message, within):
            pass
        elif message.method == mcp.TOOLS_CHANGED:
            self.tools_changed = True
            self._wake(self)
        else:
            if message.method.endswith("list_changed"):
                self._lists = {}
            self._events.append(message)
            self._wake(self)

    def on_late(self, id_: RequestId) -> None:
        """Take note that a request was answered that nobody waited for any more."""
        self._relay.answered_late(id_)

    def take_fresh(self) -> bool:
        """Whether the server is still to be told what was agreed before; True once."""
        fresh, self._fresh = self._fresh, False
        return fresh

    def on_renewed(self) -> None:
        """Take note that the server forgot the session and a new one was begun in its place."""
        self._fresh = True
        self._log_level = None
        self._lists = {}
        self.tools_changed = True
        self._wake(self)

    def on_closed(self) -> None:
        """Take note that the connection has ended."""
        self.closed = True
        self._wake(self)

    def on_abandon(self, id_: RequestId) -> Notification:
        """The notification for a request that nobody waits for any more."""
        return Notification(
            mcp.CANCELLED,
            _encode({"requestId": id_, "reason": "the caller gave up or timed out"}),
        )

    async def _carry(self, exchange: Exchange, method: str, params: JsonObject) -> bytes:
        peer = self._peer or self._open_peer()
        id_ = peer.new_id()
        if meta := request_meta(self._meta, exchange, id_):
            params = {**params, "_meta": meta}
        return await self._relay.carry(exchange, id_, peer.request(method, _encode(params), id_))

    async def _request(self, method: str, params: JsonObject) -> bytes:
        """Send a request of our own."""
        return await self._send(method, {**params, "_meta": self._meta} if self._meta else params)

    async def _send(self, method: str, params: JsonObject) -> bytes:
        return await self._open_peer().request(method, _encode(params))

    def _open_peer(self) -> Peer:
        if self._peer is None:
            raise PeerClosed("the session was never opened")
        return self._peer

    def _post(self, message: Message) -> None:
        if self._peer:
            self._peer.post(message)

    def _is_quieter(self, wanted: str) -> bool:
        """Whether a server of the handshake era sends less than a client wants to hear."""
        if self.modern or "logging" not in self.info.capabilities:
            return False
        known, level = self._log_level, mcp.LOG_LEVELS.index
        return known is None or level(wanted) < level(known)

    async def _raise_log_level(self, wanted: str) -> None:
        """Have it send what the most curious client wants to hear."""
        self._log_level = wanted
        with contextlib.suppress(RpcError):
            await self._request(mcp.SET_LOG_LEVEL, {"level": wanted})


def _head_of_result(raw: bytes) -> _CallHead:
    try:
        return _call_head.decode(raw)
    except UNREADABLE as error:
        text = f"the reply is no tool result: {error}"
        raise RpcError(RpcError.INTERNAL_ERROR, text) from error


def _wanted(raw: bytes) -> _InputRequired | None:
    """What a server wants to know before it answers; None for a result."""
    if b"input_required" not in raw:  # spares large results a second reading
        return None
    try:
        wanted = _input_required.decode(raw)
    except UNREADABLE:
        return None
    return wanted if wanted.resultType == mcp.INPUT_REQUIRED else None
