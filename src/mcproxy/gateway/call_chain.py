"""The chains around a tool call, of a script and of a client: ``CallTool`` in, ``CallTool`` out.

Each link does one thing and knows only the next: ``with_audit`` keeps the record; ``scoped`` turns
the name that was asked into the tool that is meant, holds the arguments against its schema, or
refuses; ``recorded`` keeps what a call did (``journal``); ``sent`` takes a token from the caller's
bucket, lets it be seen what tools give and masks what they refuse with; ``limited`` takes a token
alone, ``queued`` holds a place in the namespace; ``discreet_faults`` masks what a call fails with;
``announced`` tells the client which of a script's calls makes progress. A script's chain is built
once for each execution, from the snapshot that it began with, so that a reload never changes the
rules under a running script. What a client calls itself passes the same in one function
(``ClientCalls``): a chain for one call would cost more than what its links do.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import ParamSpec, TypeVar

import msgspec
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.call_errors import (
    CallError,
    InvalidArguments,
    RateLimited,
    TooLarge,
    ToolHeld,
    UnknownTool,
)
from mcproxy.exchange import BeginSpan, Exchange, ServerCall
from mcproxy.foreign_text import one_line
from mcproxy.gateway.approvals import Approvals
from mcproxy.gateway.learning import Learning
from mcproxy.gateway.request import RequestContext
from mcproxy.gateway.snapshot import View
from mcproxy.manifest.model import find_tool, require_server
from mcproxy.manifest.names import call_line
from mcproxy.manifest.tool_schema import ToolSchema
from mcproxy.observe.activity import Activity, SeenExecution
from mcproxy.policy.audit import Actor, AuditLog
from mcproxy.policy.limits import Take
from mcproxy.policy.namespaces import Namespace
from mcproxy.types import CallTool, Json, JsonObject, Tool, ToolRef, ToolResult
from mcproxy.wire.message import MAX_DEPTH, is_deep

_MAX_PROGRESS_CHARS = 300
READ_RESOURCE = "read_resource"  # of the gateway's own services

_encode = msgspec.json.Encoder().encode
P = ParamSpec("P")
T = TypeVar("T")

Enter = Callable[[ToolRef, Collection[str], str], AbstractAsyncContextManager[None]]
"""Holds a place in each of these namespaces on behalf of a caller, for what the first names. Waits
for it, bounded; raises Busy."""


Usage = Callable[[Tool], str]
"""How a tool is called, in words; only a refusal asks."""

Named = Callable[[RequestContext], Tool]
"""The tool that a client means, by the rules of this context; refuses where it may not."""

Renewed = Callable[[RequestContext], RequestContext]
"""The same request by the rules of now. Raises AccessDenied."""


class CallServices(msgspec.Struct, frozen=True):
    """What a call passes on its way: ``take`` and ``enter`` hold callers back, ``audit`` keeps the
    record, where there is one, ``approvals`` asks a person; ``call`` is the way to a server's tools
    and ``read`` to its resources; ``activity`` is for whoever looks on, ``learning`` sees what
    tools give. ``begin`` begins spans, where they are wanted."""

    take: Take
    enter: Enter
    audit: AuditLog | None
    approvals: Approvals
    call: ServerCall
    read: ServerCall
    activity: Activity
    learning: Learning
    begin: BeginSpan | None = None


def script_chain(
    context: RequestContext,
    services: CallServices,
    who: Actor,
    seen: SeenExecution,
    own: CallTool,
    recorded: Callable[[CallTool], CallTool],
) -> CallTool:
    """What the calls of one script go through, all on behalf of ``who``; ``own`` answers those of
    the gateway itself, ``recorded`` keeps what they did, or has it from before, and lets through
    what may be sent."""
    view = context.view
    send = partial(sent, context, services, announced(context.exchange, services.call))
    call = scoped(view, context.namespace.limits.argument_bytes, recorded(send))

    async def routed(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        if ref.server:
            return await call(ref, arguments)
        if ref.tool == READ_RESOURCE:
            resource = ToolRef(str(arguments.get("server")), str(arguments.get("uri")))
            meant = ToolRef(require_server(view.manifest, resource).view.name, resource.tool)
            read = partial(services.read, context.exchange)
            return await limited(context.caller, view, services.take, read)(meant, {})
        return await own(ref, arguments)

    spared = partial(services.activity.tokens.spared, context.exchange.client)
    return services.activity.around(seen, with_audit(services.audit, who, routed), spared)


class ClientCalls:
    """The calls that clients make themselves, each from its refusal or its wait for a place to the
    server and back. ``renewed``: the rules are asked again after a wait."""

    def __init__(self, services: CallServices, renewed: Renewed) -> None:
        self._services, self._renewed = services, renewed

    async def call(
        self, context: RequestContext, tool: Tool, named: Named, usage: str, arguments: JsonObject
    ) -> ToolResult:
        """Call ``tool``; ``named`` finds it, or refuses, by the rules of the context that it is
        given, and ``usage`` tells how to call it. Raises CallError, and what ``named`` raises."""
        ref, services = _usable(tool).ref, self._services
        who = context.actor()
        schema = context.view.whole.schema(ref)

        async def checked_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
            check_arguments(schema, tool, arguments, _encode(arguments), lambda _: usage)
            place = _within(context.view, ref).name
            async with services.enter(ref, (place,), context.caller):
                return await self._in_place(context, tool, named, who, arguments)

        seen = SeenExecution(who.execution, who.caller, who.namespace, script=False)
        shown = services.activity.around(seen, with_audit(services.audit, who, checked_call))
        return await shown(ref, arguments)

    async def _in_place(
        self,
        context: RequestContext,
        tool: Tool,
        named: Named,
        who: Actor,
        arguments: Mapping[str, Json],
    ) -> ToolResult:
        services, now = self._services, self._renewed(context)
        if now is not context:
            tool = _usable(named(now))
        if now.view.asks:
            permit = await services.approvals.of_client(now, who)
            await permit(tool.ref, arguments)
            now = self._renewed(context)
            if _usable(named(now)).ref != tool.ref:
                text = "Tools changed while the user was asked; call it again."
                raise UnknownTool(tool.ref, (), text)
        call = partial(services.call, now.exchange)
        return await _counted(now, services, call, tool.ref, arguments)


def with_audit(audit: AuditLog | None, who: Actor, call: CallTool) -> CallTool:
    """Keep a record of each call, where there is an audit."""
    return audit.around(who, call) if audit else call


def _usable(tool: Tool) -> Tool:
    """The tool, unless its definition waits for a person. Raises ToolHeld."""
    if tool.held:
        raise ToolHeld(tool.ref, tool.held)
    return tool


def scoped(view: View, argument_bytes: int, call: CallTool) -> CallTool:
    """Let through calls of tools that the manifest has, with arguments that their schema takes,
    and names: a server ignores others, and what it gives is then silently not what was asked for.

    A server that is not up may have tools that are not known: where no rule denies them it is
    asked, and says how it is.
    """
    manifest = view.manifest

    async def scoped_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        sent = _encode(arguments)
        if len(sent) > argument_bytes:
            raise TooLarge(ref, "The arguments", len(sent), argument_bytes)
        try:
            tool = find_tool(manifest, ref)
        except UnknownTool as fault:
            if view.ruling(fault.ref).verdict == "deny":
                raise
            return await call(fault.ref, arguments)
        _usable(tool)
        schema = manifest.schema(tool.ref)
        if schema.unknown(arguments):
            arguments = schema.respelled(arguments)
            sent = _encode(arguments)
            if unknown := schema.unknown(arguments):
                raise InvalidArguments(tool.ref, unknown, call_line(tool))
        check_arguments(schema, tool, arguments, sent, call_line)
        result = await call(tool.ref, arguments)
        return replace(result, ref=tool.ref, wrapping=schema.wrapping)

    return scoped_call


def _within(view: View, ref: ToolRef) -> Namespace:
    """The namespace in which a call is made, and counted."""
    return view.through.get(ref.server, view.namespace)


def limited(caller: str, view: View, take: Take, call: CallTool) -> CallTool:
    """Let through what the caller's bucket allows, in the namespace through which it calls."""

    async def limited_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        await _take_token(take, caller, _within(view, ref), ref)
        return await call(ref, arguments)

    return limited_call


async def _take_token(take: Take, caller: str, within: Namespace, ref: ToolRef) -> None:
    """Count a call where calls are limited. Raises RateLimited."""
    if within.rate_limit is None:
        return
    wait = await take(caller, within.name, within.rate_limit)
    if wait is not None:
        raise RateLimited(ref, within.name, within.rate_limit, wait)


def queued(caller: str, view: View, enter: Enter, call: CallTool) -> CallTool:
    """Hold a place in the namespace through which it calls while a call is under way."""

    async def queued_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        async with enter(ref, (_within(view, ref).name,), caller):
            return await call(ref, arguments)

    return queued_call


async def sent(
    context: RequestContext,
    services: CallServices,
    call: CallTool,
    ref: ToolRef,
    arguments: Mapping[str, Json],
) -> ToolResult:
    """Send a script's call; what a tool refuses with has no secrets, since to a script it is an
    error like any other."""
    result = await _counted(context, services, call, ref, arguments)
    if not result.is_error:
        return result
    return replace(result, raw=context.view.redactor.json_text(result.raw))


async def _counted(
    context: RequestContext,
    services: CallServices,
    call: CallTool,
    ref: ToolRef,
    arguments: Mapping[str, Json],
) -> ToolResult:
    """Make a call as the caller's bucket allows; what the tool gives may be learned from."""
    within = _within(context.view, ref)
    await _take_token(services.take, context.caller, within, ref)
    result = await call(ref, arguments)
    _see(services.learning, within, context.view, ref, result)
    return result


def _see(
    learning: Learning, within: Namespace, view: View, ref: ToolRef, result: ToolResult
) -> None:
    """Let it be seen what a tool gave, where it may be learned of its server."""
    if ref.server in within.learned:
        tool = view.manifest.parts[ref.server].tools.get(ref.tool)
        if tool is not None:
            learning.see(tool, result)


def discreet_faults(
    mask: Callable[[Json], Json], work: Callable[P, Awaitable[T]]
) -> Callable[P, Awaitable[T]]:
    """The same work; what it fails with, above all a server's last words, has no secrets."""

    async def discreet_work(*given: P.args, **named: P.kwargs) -> T:
        try:
            return await work(*given, **named)
        except CallError as error:
            error.reword(mask)
            raise

    return discreet_work


def announced(exchange: Exchange, call: ServerCall) -> CallTool:
    """Where the client has asked for progress, tell it which of a script's calls makes some."""
    if mcp.META_PROGRESS_TOKEN not in exchange.meta:
        return partial(call, exchange)

    async def announced_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        def notify(method: str, params: JsonObject) -> None:
            exchange.notify(method, _named(ref, params) if method == mcp.PROGRESS else params)

        return await call(replace(exchange, notify=notify), ref, arguments)

    return announced_call


def _named(ref: ToolRef, params: JsonObject) -> JsonObject:
    """A server's progress in words: ``github.clone: receiving objects (3 of 10)``."""
    done, total, said = (params.get(name) for name in ("progress", "total", "message"))
    count = f"{done} of {total}" if total is not None else f"{done}"
    words = f"{said} ({count})" if isinstance(said, str) and said else count
    text = one_line(f"{ref.server}.{ref.tool}: {words}", _MAX_PROGRESS_CHARS)
    return {**params, "message": text}


def check_arguments(
    schema: ToolSchema, tool: Tool, arguments: Mapping[str, Json], sent: bytes, usage: Usage
) -> None:
    """Hold arguments, which are ``sent`` as JSON, against the tool's schema. Raises
    InvalidArguments with the faults, and with the right usage in words."""
    values = dict(arguments)
    if is_deep(sent, values):
        raise InvalidArguments(tool.ref, [f"they nest deeper than {MAX_DEPTH} levels"], usage(tool))
    faults = schema.faults(values, sent)
    if faults:
        raise InvalidArguments(tool.ref, faults, usage(tool))
