"""The chains around a tool call, of a script and of a client: ``CallTool`` in, ``CallTool`` out.

Each link does one thing and knows only the next: ``audited`` keeps the record; ``scoped`` turns the
name that was asked into the tool that is meant, holds the arguments against its schema, or refuses;
``checked`` does the latter for a tool that is known; ``queued`` holds a place in the namespace;
``limited`` takes a token from the caller's bucket; ``discreet`` masks what a tool refuses with;
``announced`` tells the client which of a script's calls makes progress. A script's chain is built
once for each execution, from the snapshot that it began with, so that a reload never changes the
rules under a running script.
"""

import functools
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial

import jsonschema_rs
import msgspec

from mcproxy import mcp
from mcproxy.errors import InvalidArguments, RateLimited, TooLarge, UnknownTool
from mcproxy.exchange import Exchange, ServerCall
from mcproxy.foreign_text import bounded, clean, one_line
from mcproxy.gateway.request import RequestContext
from mcproxy.gateway.schema_cost import effort
from mcproxy.manifest.lookup import find_tool, require_server
from mcproxy.manifest.model import Manifest
from mcproxy.manifest.names import call_line
from mcproxy.manifest.parameters import without_defaults_required
from mcproxy.manifest.results import wrapping
from mcproxy.observe.redact import Redactor
from mcproxy.policy.audit import Actor, AuditLog, actor
from mcproxy.policy.limits import place_of_call
from mcproxy.policy.namespaces import Namespace
from mcproxy.types import CallTool, Json, JsonObject, ServerState, Tool, ToolRef, ToolResult
from mcproxy.wire.message import MAX_DEPTH, is_deep

MAX_STEPS = 10_000  # of a comparison with a schema, some 0.1 s; a call has some tens
MAX_STEPS_FOR_ALL = 2_000  # to find all faults takes much longer than to find one
_MAX_PROBLEMS, _MAX_PROBLEM_CHARS = 10, 300
_MAX_PROGRESS_CHARS = 300
READ_RESOURCE = "read_resource"  # of the gateway's own services
_LISTED: Collection[ServerState] = ("ready", "idle")  # the others may have tools we do not know
_PATTERNS = jsonschema_rs.RegexOptions()  # linear time: schemas come from servers we do not trust

Take = Callable[[str, str, int], float | None]
"""Takes a token from the bucket of a caller and namespace with so many calls a minute; gives the
seconds to wait where there is none."""

Enter = Callable[[ToolRef, Collection[str], str], AbstractAsyncContextManager[None]]
"""Holds a place in each of these namespaces on behalf of a caller, for what the first names. Waits
for it, bounded; raises Busy."""


Renewed = Callable[[RequestContext], RequestContext]
"""The same request by the rules of now. Raises AccessDenied."""


@dataclass(frozen=True, slots=True)
class CallServices:
    """What a call passes on its way: ``take`` and ``enter`` hold callers back, ``audit`` keeps the
    record, ``call`` is the way to a server's tools and ``read`` to its resources."""

    take: Take
    enter: Enter
    audit: AuditLog
    call: ServerCall
    read: ServerCall


def script_chain(
    context: RequestContext, services: CallServices, who: Actor, own: CallTool
) -> CallTool:
    """What the calls of one script go through, all on behalf of ``who``; ``own`` answers those of
    the gateway itself."""
    namespace, manifest = context.namespace, context.view.manifest
    limits = partial(limited, context.caller, namespace, services.take)
    call = discreet(context.view.redactor, announced(context.exchange, services.call))
    call = scoped(manifest, namespace.limits.argument_bytes, limits(call))
    read = limits(partial(services.read, context.exchange))

    async def routed(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        if ref.server:
            return await call(ref, arguments)
        if ref.tool == READ_RESOURCE:
            resource = ToolRef(str(arguments.get("server")), str(arguments.get("uri")))
            require_server(manifest, resource)
            return await read(resource, {})
        return await own(ref, arguments)

    return services.audit.around(who, routed)


def client_chain(
    context: RequestContext,
    services: CallServices,
    named: Callable[[RequestContext], Tool],
    usage: str,
    renewed: Renewed,
) -> CallTool:
    """What a client's own call goes through. ``named`` finds its tool, or refuses, by the rules of
    the context that it is given, which are asked again after the wait for a place; ``usage`` tells
    how to call it."""

    async def in_place(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        now = renewed(context)
        call = partial(services.call, now.exchange)
        return await limited(now.caller, now.namespace, services.take, call)(
            named(now).ref, arguments
        )

    call = queued(context.caller, context.namespace, services.enter, in_place)
    call = checked(named(context), usage, call)
    return services.audit.around(actor(context.caller, context.namespace.name), call)


_encode = msgspec.json.Encoder().encode


def scoped(manifest: Manifest, argument_bytes: int, call: CallTool) -> CallTool:
    """Let through calls of tools that the manifest has, with arguments that their schema takes.

    A server that is not up may have tools that are not known: it is asked, and says how it is.
    """

    async def scoped_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        size = len(_encode(arguments))
        if size > argument_bytes:
            raise TooLarge(ref, "The arguments", size, argument_bytes)
        try:
            tool = find_tool(manifest, ref)
        except UnknownTool:
            if manifest.servers[ref.server].state in _LISTED:
                raise
            return await call(ref, arguments)
        _check(tool, arguments, call_line(tool))
        result = await call(tool.ref, arguments)
        kind = wrapping(tool.definition.get("outputSchema"))
        return replace(result, ref=tool.ref, wrapping=kind)

    return scoped_call


def limited(caller: str, namespace: Namespace, take: Take, call: CallTool) -> CallTool:
    """Let through what the caller's bucket allows, in the namespace through which it calls."""

    async def limited_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        within = namespace.through(ref.server)
        if within.rate_limit is not None:
            wait = take(caller, within.name, within.rate_limit)
            if wait is not None:
                raise RateLimited(ref, within.name, within.rate_limit, wait)
        return await call(ref, arguments)

    return limited_call


def queued(caller: str, namespace: Namespace, enter: Enter, call: CallTool) -> CallTool:
    """Hold a place in the namespace through which it calls while a call is under way."""

    async def queued_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        async with enter(ref, place_of_call(namespace, ref.server), caller):
            return await call(ref, arguments)

    return queued_call


def discreet(redactor: Redactor, call: CallTool) -> CallTool:
    """Tell what a tool refuses with without secrets: to a script it is an error like any other.
    What a tool gives is passed on as it is."""

    async def discreet_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        result = await call(ref, arguments)
        if not result.is_error:
            return result
        return replace(result, raw=redactor.json_text(result.raw))

    return discreet_call


def announced(exchange: Exchange, call: ServerCall) -> CallTool:
    """Where the client has asked for progress, tell it which of a script's calls makes some."""
    if mcp.META_PROGRESS_TOKEN not in exchange.meta:
        return partial(call, exchange)

    async def announced_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        def notify(method: str, params: JsonObject) -> None:
            exchange.notify(method, _named(ref, params) if method == mcp.PROGRESS else params)

        return await call(msgspec.structs.replace(exchange, notify=notify), ref, arguments)

    return announced_call


def _named(ref: ToolRef, params: JsonObject) -> JsonObject:
    """A server's progress in words: ``github.clone: receiving objects (3 of 10)``."""
    done, total, said = (params.get(name) for name in ("progress", "total", "message"))
    count = f"{done} of {total}" if total is not None else f"{done}"
    words = f"{said} ({count})" if isinstance(said, str) and said else count
    text = one_line(f"{ref.server}.{ref.tool}: {words}", _MAX_PROGRESS_CHARS)
    return {**params, "message": text}


def checked(tool: Tool, usage: str, call: CallTool) -> CallTool:
    """Let through arguments that the schema of ``tool`` takes; ``usage`` tells how to call it."""

    async def checked_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        _check(tool, arguments, usage)
        return await call(ref, arguments)

    return checked_call


def _check(tool: Tool, arguments: Mapping[str, Json], usage: str) -> None:
    """Hold arguments against the tool's schema. Raises InvalidArguments with all faults (with one,
    where the arguments are large), and with the right ``usage`` in words.

    What would take the gateway's time is left to the server to judge.
    """
    values = dict(arguments)
    if is_deep(_encode(values), values):
        raise InvalidArguments(tool.ref, [f"they nest deeper than {MAX_DEPTH} levels"], usage)
    schema = tool.definition.get("inputSchema")
    if not isinstance(schema, dict):
        return
    steps = effort(schema, values, MAX_STEPS)
    validator = _validator(_encode(schema)) if steps < MAX_STEPS else None
    if validator is None or validator.is_valid(values):
        return
    if steps > MAX_STEPS_FOR_ALL:
        faults = [_first_fault(validator, values)]
    else:
        faults = [_fault(error) for error in validator.iter_errors(values)]
    raise InvalidArguments(tool.ref, faults[:_MAX_PROBLEMS], usage)


def _first_fault(validator: jsonschema_rs.Validator, arguments: JsonObject) -> str:
    try:
        validator.validate(arguments)
    except jsonschema_rs.ValidationError as error:
        return f"{_fault(error)} (there may be more faults in these large arguments)"
    return ""


@functools.lru_cache(maxsize=4096)
def _validator(schema: bytes) -> jsonschema_rs.Validator | None:
    """The compiled schema; None for one that does not compile: its server will judge itself."""
    try:
        loose = without_defaults_required(msgspec.json.decode(schema))
        return jsonschema_rs.validator_for(
            _encode(loose).decode(), pattern_options=_PATTERNS, retriever=_refuse_to_fetch
        )
    except (ValueError, jsonschema_rs.ReferencingError):
        return None


def _refuse_to_fetch(uri: str) -> Json:
    """A server's schema must not make the gateway read files or addresses."""
    raise LookupError(uri)


def _fault(error: jsonschema_rs.ValidationError) -> str:
    where = ".".join(str(step) for step in error.instance_path)
    message = clean(bounded(error.message, _MAX_PROBLEM_CHARS))
    return f"{where}: {message}" if where else message
