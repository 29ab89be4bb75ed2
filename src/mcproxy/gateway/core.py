"""The MCP methods that a client can call, of both protocol eras, without any transport.

``respond`` takes a message and gives its reply. It is the one place where exceptions become wire
errors towards clients; what nobody foresaw is logged and told as an internal error, without the
gateway's insides.
"""

import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.config.auth import JwtConfig
from mcproxy.config.model import Mode
from mcproxy.errors import CallError, McproxyError, RpcError
from mcproxy.exchange import EXCHANGE, ClientSession, Exchange, Tenant, Upstream
from mcproxy.gateway import listings
from mcproxy.gateway.arguments import ArgumentFault
from mcproxy.gateway.calls import Admission
from mcproxy.gateway.changes import Changes, OnChange
from mcproxy.gateway.clients import Clients, can_be_told, listener
from mcproxy.gateway.direct import Direct, tools_in
from mcproxy.gateway.input_rounds import InputRounds
from mcproxy.gateway.merged_lists import page
from mcproxy.gateway.metatools import MetaTools, fault_result
from mcproxy.gateway.passthrough import Passthrough
from mcproxy.gateway.protocol_era import LIST_TTL_MS, Call, negotiate, read_call, server_info
from mcproxy.gateway.reading import resource_reader
from mcproxy.gateway.scope import Scope
from mcproxy.gateway.snapshot import Snapshot
from mcproxy.gateway.tool_calls import ToolCalls
from mcproxy.observe.metrics import Metrics
from mcproxy.policy.access import AccessDenied, admit, identify, shares
from mcproxy.policy.audit import AuditLog
from mcproxy.policy.namespaces import Namespace
from mcproxy.types import Caller, CallTool, Json, JsonObject, RunCode
from mcproxy.wire.message import Failure, Message, Notification, Request, Response

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Where:
    """Who asks, and the namespaces that path and header name; the path is the stronger.

    ``mode`` overrides the namespace's for this connection.
    """

    caller: Caller
    path: str | None = None
    header: str | None = None
    mode: Mode | None = None


@dataclass(frozen=True, slots=True)
class Outside:
    """What the gateway uses and is handed: the runner of scripts, the servers' tools, what else
    servers have, what holds callers back, the record of who called what, and what is counted."""

    run: RunCode
    call: CallTool
    upstream: Upstream
    admission: Admission
    audit: AuditLog
    metrics: Metrics


Method = Callable[[Call, Where], Awaitable[bytes]]


class Gateway:
    """The MCP server side. ``snapshot`` gives the rules and tools in force. Usable while
    ``running``."""

    def __init__(self, snapshot: Callable[[], Snapshot], outside: Outside) -> None:
        self._snapshot = snapshot
        self._metrics = outside.metrics
        read = resource_reader(outside.upstream)
        counted = outside.metrics.searched
        meta = MetaTools(outside.run, outside.call, read, outside.admission, outside.audit, counted)
        self._tools = ToolCalls(meta, Direct(outside.call, outside.admission, outside.audit))
        self._passing = Passthrough(outside.upstream)
        self._clients = Clients()
        self._changes = Changes()
        self._rounds = InputRounds()
        self._methods: dict[str, Method] = {
            "initialize": self._initialize,
            "ping": self._ping,
            mcp.DISCOVER: self._discover,
            mcp.LIST_TOOLS: self._list_tools,
            mcp.CALL_TOOL: self._call_tool,
            mcp.SET_LOG_LEVEL: self._set_log_level,
            **{name: self._scoped(method) for name, method in self._passing.methods.items()},
        }

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Own the calls that wait for a client's input; on leaving, end them."""
        async with self._rounds.running():
            yield

    async def respond(
        self, message: Message, where: Where, exchange: Exchange | None = None
    ) -> Response | Failure | None:
        """Answer one message; a notification or a reply has no answer.

        ``exchange`` is the way back to the client while it waits, None where there is none.
        """
        if not isinstance(message, Request):
            return None
        try:
            with self._metrics.request():
                return await self._handle(message, where, exchange)
        except RpcError as error:
            return Failure(message.id, error)
        except AccessDenied as denied:
            return Failure(message.id, RpcError(RpcError.INVALID_PARAMS, str(denied)))
        except McproxyError as error:
            return Failure(message.id, RpcError(RpcError.INTERNAL_ERROR, str(error)))
        except Exception:
            log.exception("%s failed", message.method)
            text = "internal error; the gateway's log has the details"
            return Failure(message.id, RpcError(RpcError.INTERNAL_ERROR, text))

    def admit(self, where: Where) -> Namespace:
        """The namespace that path or header name, before anything is read. Raises AccessDenied."""
        return self._scope(where).namespace

    def shares(self, where: Where) -> bool:
        """May a page of the caller's origin read what is answered there? As ``access.shares``."""
        return shares(self._snapshot().policy, where.caller, where.path or where.header)

    def allowed_hosts(self) -> frozenset[str]:
        """The names under which clients reach the gateway, beside those of its address."""
        return self._snapshot().policy.allowed_hosts

    def input_schema(self, where: Where, tool: Json) -> JsonObject:
        """The schema of the arguments of a server's tool, by the name that the client sees; empty
        where there is none. Raises AccessDenied."""
        found = tools_in(self._scope(where)).get(str(tool))
        schema = found.definition.get("inputSchema") if found else None
        return schema if isinstance(schema, dict) else {}

    def identify(self, caller: Caller) -> str:
        """The caller's name. Raises AccessDenied for a token that is wrong."""
        return identify(self._snapshot().policy, caller)

    def issuer(self) -> JwtConfig | None:
        """The issuer whose tokens are taken too, where there is one."""
        return self._snapshot().policy.identities.jwt

    def subscribe(self, where: Where, on_change: OnChange) -> Callable[[], None]:
        """Call ``on_change`` with a notification's method whenever what the endpoint offers has
        changed, until what this returns is called. Raises AccessDenied."""
        return self._changes.subscribe(self._scope(where), on_change)

    async def watch(
        self, where: Where, uris: Sequence[str], session: ClientSession
    ) -> Sequence[str]:
        """Tell ``session`` when one of these resources changes, as long as it is held; gives those
        that a server tells of. Raises AccessDenied."""
        EXCHANGE.set(listener(session))
        return await self._passing.watch(self._enter(where), uris, session)

    def changed(self, before: Snapshot) -> None:
        """Tell the subscribers of what differs from the snapshot that was in force before."""
        self._changes.tell(before, self._snapshot())

    def heard(self, server: str, note: Notification, tenant: Tenant | None = None) -> None:
        """Tell clients what a server told of its prompts and resources; ``tenant``: whom alone it
        told of a resource."""
        if not self._passing.heard(server, note, tenant):
            self._changes.announce(note.method, server, self._snapshot())

    async def _handle(self, request: Request, where: Where, given: Exchange | None) -> Response:
        if request.method not in self._methods:
            known = ", ".join(self._methods)
            raise RpcError(
                RpcError.METHOD_NOT_FOUND,
                f"unknown method {request.method!r}; this server has: {known}",
            )
        call = read_call(request.params)
        if call.modern and request.method in mcp.HANDSHAKE_ONLY:
            text = f"protocol {mcp.STATELESS_VERSION} has no method {request.method!r}"
            raise RpcError(RpcError.METHOD_NOT_FOUND, text)
        try:
            answer = self._answer(request.method, call, where, self._clients.exchange(call, given))
            return Response(request.id, await answer)
        except CallError as error:  # of tools/call: ``forward`` makes what others raise an RpcError
            secs = None if error.retry_after is None else math.ceil(error.retry_after)
            return Response(request.id, call.result(fault_result(error.message, secs)), secs)

    async def _answer(self, method: str, call: Call, where: Where, exchange: Exchange) -> bytes:
        async def work(exchange: Exchange) -> bytes:
            EXCHANGE.set(exchange)
            try:
                return await self._methods[method](call, where)
            finally:
                if exchange.session is None:
                    exchange.tenant.ended.set()

        if not call.modern or method not in mcp.INPUT_REQUIRED_METHODS:
            return await work(exchange)
        thing = call.params.get("uri", call.params.get("name"))
        place = where.path or where.header or ""
        purpose = (self.identify(where.caller), place, method, str(thing))
        return await self._rounds.answer(call, purpose, exchange, work)

    def _scoped(self, method: Callable[[Call, Scope], Awaitable[bytes]]) -> Method:
        async def scoped(call: Call, where: Where) -> bytes:
            return await method(call, self._enter(where))

        return scoped

    async def _initialize(self, call: Call, where: Where) -> bytes:
        scope, told = self._scope(where), can_be_told(EXCHANGE.get())
        return call.result(
            {
                "protocolVersion": negotiate(call.params.get("protocolVersion")),
                "capabilities": listings.capabilities(scope, told=told),
                "serverInfo": server_info(),
                "instructions": listings.instructions(scope),
            }
        )

    async def _discover(self, call: Call, where: Where) -> bytes:
        scope = self._scope(where)
        body: JsonObject = {
            "supportedVersions": [mcp.STATELESS_VERSION, *mcp.HANDSHAKE_VERSIONS],
            "capabilities": listings.capabilities(scope, told=True),
            "instructions": listings.instructions(scope),
        }
        return call.result(body, ttl_ms=LIST_TTL_MS)

    async def _ping(self, call: Call, where: Where) -> bytes:
        return call.result({})

    async def _set_log_level(self, call: Call, where: Where) -> bytes:
        exchange = EXCHANGE.get()
        session = exchange.session if exchange else None
        self._clients.set_log_level(session, call.params.get("level"))
        return call.result({})

    async def _list_tools(self, call: Call, where: Where) -> bytes:
        listed = listings.tools(self._scope(where))
        return call.result(page("tools", listed, call.params.get("cursor")), ttl_ms=LIST_TTL_MS)

    async def _call_tool(self, call: Call, where: Where) -> bytes:
        def scope_of(namespace: str | None) -> Scope:
            return self._enter(where, namespace)

        return await self._tools.answer(call, self._mode(where), scope_of)

    def _mode(self, where: Where) -> Mode:
        """What the connection is for. A namespace that the caller may not use has no mode, like one
        that does not exist; ``_scope`` refuses both."""
        try:
            return self._scope(where).mode
        except AccessDenied:
            return where.mode or "code"

    def _enter(self, where: Where, argument: str | None = None) -> Scope:
        """The scope of a request that servers are about to be asked for: from now on what they keep
        of it is kept apart from that of other callers and namespaces."""
        scope, exchange = self._scope(where, argument), EXCHANGE.get()
        if exchange:
            place = replace(exchange.tenant, caller=scope.caller, namespace=scope.namespace.name)
            EXCHANGE.set(replace(exchange, tenant=place))
        return scope

    def _scope(self, where: Where, argument: str | None = None) -> Scope:
        """``argument``: the namespace that a meta-tool's arguments name; weaker than the path."""
        if argument and where.path and argument != where.path:
            raise ArgumentFault(
                f"namespace {argument!r} was asked, but this endpoint is for {where.path!r}; "
                "leave the argument out."
            )
        snapshot = self._snapshot()
        asked = where.path or argument or where.header
        namespace = admit(snapshot.policy, where.caller, asked)
        caller = identify(snapshot.policy, where.caller)
        mode = where.mode or namespace.mode
        return Scope(caller, namespace, snapshot.views[namespace.name], mode)
