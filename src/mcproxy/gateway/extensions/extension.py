"""What the gateway has of the protocol's extensions, whichever they are (SEP-2133).

An ``Extension`` is one that the gateway understands: what it offers to clients of what servers have
declared, its methods, what servers are told of it. ``Extensions`` is all of them, and whatever else
a client and a single server understand: that passes through, in direct mode.

A client is offered what the servers in sight declare. A server of the stateless era is told with
each request what its client has declared; one of the handshake era hears once, when it starts, what
the gateway can pass on to any client.
"""

import math
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import msgspec

from mcproxy import mcp
from mcproxy.call_errors import CallError, UpstreamError
from mcproxy.errors import RpcError
from mcproxy.exchange import (
    NOTHING,
    Negotiated,
    Tenant,
    Upstream,
    extensions_in,
    may_own,
)
from mcproxy.gateway.call_chain import CallServices, limited, queued, with_audit
from mcproxy.gateway.metatools import ScriptWatch
from mcproxy.gateway.request import Call, RequestContext
from mcproxy.gateway.resources import FindOwners, OwnedResource
from mcproxy.types import Json, JsonObject, ServerView, Tool, ToolRef, ToolResult
from mcproxy.wire.message import Notification

Answer: TypeAlias = Callable[[Call, RequestContext], Awaitable[bytes]]
"""Answers a method. Raises RpcError."""


class Extension(msgspec.Struct, frozen=True):
    """One extension that the gateway understands.

    ``offer`` gives the settings with which a client is offered it, by those with which the servers
    in sight declare it, the servers by name; None where it is not offered. ``methods`` are answered
    where it is. ``in_script`` gives what servers are told with the calls of a script, by what the
    script's client has declared, None where it has not. Results may be of the ``result_types``
    where servers were told of it. ``owners`` finds whose resource a URI of one of the ``schemes``
    is, in the order in which they are to be tried; ``read`` gives the result of ``resources/read``
    for those of the gateway's own that it brings. ``heard`` takes those of the ``notifications``
    of servers; the tenant is whom alone the server serves, where it does. ``tools`` gives what
    clients that have declared it may call beside, by name, and ``listed`` how that is listed.
    ``watch`` begins to look on while a script of such a client runs, None where there is no need.
    """

    id: str
    offer: Callable[[RequestContext, Mapping[str, JsonObject]], JsonObject | None]
    methods: Mapping[str, Answer] = msgspec.field(default_factory=dict)
    in_script: Callable[[JsonObject | None], JsonObject | None] = lambda _: None
    result_types: frozenset[str] = frozenset()
    schemes: frozenset[str] = frozenset()
    owners: FindOwners | None = None
    read: Callable[[RequestContext, str], JsonObject | None] = lambda *_: None
    notifications: frozenset[str] = frozenset()
    heard: Callable[[str, Notification, Tenant | None], None] = lambda *_: None
    tools: Callable[[RequestContext], Mapping[str, Tool]] = lambda _: {}
    listed: Callable[[RequestContext, Tool], Mapping[str, Json]] = lambda _, tool: tool.definition
    watch: Callable[[RequestContext], ScriptWatch | None] = lambda _: None


class Extensions:
    """All extensions: those that the gateway understands, and what others may pass."""

    def __init__(
        self,
        known: Sequence[Extension],
        upstream: Upstream,
        calls: CallServices,
    ) -> None:
        self._known = known
        self._ids = frozenset(one.id for one in known)
        self._upstream, self._calls = upstream, calls
        self._methods = {
            name: (one, answer) for one in known for name, answer in one.methods.items()
        }
        self._taken = frozenset(name.partition("/")[0] for name in self._methods)

    def negotiated(self, declared: Mapping[str, JsonObject]) -> Negotiated:
        """What holds for the requests of a client that has declared these."""
        told = {one.id: one.in_script(declared.get(one.id)) for one in self._known}
        in_script = {name: settings for name, settings in told.items() if settings is not None}
        if not declared and not in_script:
            return NOTHING
        return Negotiated(
            declared,
            declared,
            self._result_types(declared),
            frozenset(declared.keys() - self._ids),
            Negotiated(declared, in_script, self._result_types(in_script)) if in_script else None,
        )

    def offered(self, context: RequestContext) -> JsonObject:
        """The members of ``ServerCapabilities`` that name what the client is offered."""
        declared: dict[str, dict[str, JsonObject]] = {one.id: {} for one in self._known}
        for server, name, settings in _declared(context):
            declared.setdefault(name, {})[server.name] = settings
        offered: dict[str, Json] = {}
        for one in self._known:
            offer = one.offer(context, declared[one.id])
            if offer is not None:
                offered[one.id] = offer
        members: dict[str, dict[str, Json]] = {mcp.EXTENSIONS: offered}
        for server, name, settings in self._foreign(context):
            modern = name in _listed(server, mcp.EXTENSIONS)
            members.setdefault(mcp.EXTENSIONS if modern else mcp.EXPERIMENTAL, {})[name] = settings
        return {member: listed for member, listed in members.items() if listed}

    def answer(self, method: str) -> Answer | None:
        """What answers a method that the protocol itself has not; None where nothing can."""
        if method in self._methods:
            return partial(self._known_method, method)
        return partial(self._pass_on, method) if "/" in method else None

    async def owners(self, context: RequestContext, uri: str) -> Sequence[OwnedResource] | None:
        """Whose a resource is, where an extension has a say in it; None where none has."""
        scheme = uri.partition(":")[0].lower()
        for one in self._known:
            if scheme in one.schemes and one.owners is not None:
                return await one.owners(context, uri)
        return None

    def read(self, context: RequestContext, uri: str) -> JsonObject | None:
        """The result of ``resources/read`` for a resource of the gateway's own."""
        scheme = uri.partition(":")[0].lower()
        found = (one.read(context, uri) for one in self._known if scheme in one.schemes)
        return next((each for each in found if each is not None), None)

    def tools(self, context: RequestContext) -> Mapping[str, Tool]:
        """What the client may call beside the tools that it is shown in its mode, by name."""
        return {name: tool for _, name, tool in self._tools(context)}

    def watch(self, context: RequestContext) -> Sequence[ScriptWatch]:
        """Begin to look on while a script of the client runs."""
        declared = context.exchange.negotiated.declared
        watching = (one.watch(context) for one in self._known if one.id in declared)
        return [each for each in watching if each is not None]

    def listed(self, context: RequestContext, names: Collection[str]) -> list[JsonObject]:
        """The same as ``tools/list`` gives them, but for these names."""
        return [
            {**one.listed(context, tool), "name": name}
            for one, name, tool in self._tools(context)
            if name not in names and not tool.held
        ]

    def heard(self, server: str, note: Notification, tenant: Tenant | None) -> bool:
        """Take a server's notification; False where it is of no extension."""
        owner = next((one for one in self._known if note.method in one.notifications), None)
        if owner:
            owner.heard(server, note, tenant)
        return owner is not None

    def unknown(self, method: str) -> RpcError:
        """The refusal of a method that there is not."""
        known = ", ".join(mcp.METHODS)
        text = f"unknown method {method!r}; this server has: {known}"
        return RpcError(RpcError.METHOD_NOT_FOUND, text)

    def _tools(self, context: RequestContext) -> Iterator[tuple[Extension, str, Tool]]:
        declared = context.exchange.negotiated.declared
        for one in self._known if declared else ():
            if one.id in declared:
                for name, tool in one.tools(context).items():
                    yield one, name, tool

    def _result_types(self, told: Collection[str]) -> frozenset[str]:
        return frozenset(kind for one in self._known if one.id in told for kind in one.result_types)

    async def _known_method(self, method: str, call: Call, context: RequestContext) -> bytes:
        one, answer = self._methods[method]
        declared = {
            server.name: said for server, name, said in _declared(context) if name == one.id
        }
        if one.offer(context, declared) is None:
            raise self.unknown(method)
        return await answer(call, context)

    def _foreign(self, context: RequestContext) -> Iterator[tuple[ServerView, str, JsonObject]]:
        """The extensions that the gateway does not know and can pass on: a client sees the server's
        tools themselves, no other server has it, and no rule for the server's tools could be got
        round by it, since nobody knows what its methods do."""
        if context.surface not in ("direct", "both"):
            return
        found = [each for each in _declared(context) if each[1] not in self._ids]
        names = [name for _, name, _ in found]
        for server, name, settings in found:
            rules = context.namespace.through(server.name).tools
            if names.count(name) == 1 and not rules.concern(server.name):
                yield server, name, settings

    async def _pass_on(self, method: str, call: Call, context: RequestContext) -> bytes:
        """Hand a method that the gateway does not know to the one server that may have it."""
        owners = {
            server.name for server, name, _ in self._foreign(context) if may_own(name, method)
        }
        if len(owners) != 1 or method.partition("/")[0] in self._taken:
            raise self.unknown(method)

        async def send(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
            request = self._upstream.request
            return ToolResult(await request(context.exchange, ref.server, ref.tool, arguments))

        take, enter = self._calls.take, self._calls.enter
        bounded = limited(context.caller, context.view, take, send)
        through = queued(context.caller, context.view, enter, bounded)
        params = {key: value for key, value in call.params.items() if key != "_meta"}
        try:
            ref = ToolRef(owners.pop(), method)
            result = await with_audit(self._calls.audit, context.actor(), through)(ref, params)
        except UpstreamError as error:
            raise error.rpc from error
        except CallError as error:
            secs = None if error.retry_after is None else math.ceil(error.retry_after)
            text = error.message
            raise RpcError(RpcError.INTERNAL_ERROR, text, retry_after=secs) from error
        return call.passed(result.raw)


def _declared(context: RequestContext) -> Iterator[tuple[ServerView, str, JsonObject]]:
    """What the servers in sight declare, by server and extension."""
    for server in context.view.manifest.servers.values():
        for name, settings in extensions_in(server.capabilities).items():
            yield server, name, settings


def _listed(server: ServerView, member: str) -> Mapping[str, Json]:
    listed = server.capabilities.get(member)
    return listed if isinstance(listed, dict) else {}
