"""The MCP methods that a client can call, of both protocol eras, without any transport.

``respond`` takes a message and gives its reply. It is the one place where exceptions become wire
errors towards clients; what nobody foresaw is logged, and told as an internal error, no more.
"""

import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.call_errors import CallError
from mcproxy.config.auth import JwtConfig
from mcproxy.config.model import Surface
from mcproxy.errors import McproxyError, RpcError
from mcproxy.exchange import NOBODY, ClientSession, Exchange, Tenant, Upstream
from mcproxy.gateway import listings
from mcproxy.gateway.arguments import ArgumentFault
from mcproxy.gateway.call_chain import CallServices
from mcproxy.gateway.extensions.extension import Extensions
from mcproxy.gateway.extensions.known import known_extensions
from mcproxy.gateway.extensions.task_table import TaskTable
from mcproxy.gateway.extensions.tasks import ClientTasks, capability, with_support
from mcproxy.gateway.input_rounds import KEEP_SECS, InputRounds
from mcproxy.gateway.keeping import Keeping
from mcproxy.gateway.listeners import Changes, OnChange
from mcproxy.gateway.metatools import MetaTools, fault_result
from mcproxy.gateway.passthrough import Passthrough
from mcproxy.gateway.progress import QUIET_SECS, told_of_progress
from mcproxy.gateway.request import (
    LIST_TTL_MS,
    Call,
    Clients,
    RequestContext,
    RequestSource,
    can_be_told,
    listener,
    negotiate,
    read_call,
    server_info,
)
from mcproxy.gateway.server_requests import page
from mcproxy.gateway.signed_state import ALONE, Signing
from mcproxy.gateway.snapshot import Published, Snapshot
from mcproxy.gateway.spans import request_spans
from mcproxy.gateway.surfaces import SurfaceChoices, choose
from mcproxy.gateway.suspended_call import SuspendedCall
from mcproxy.gateway.tool_calls import ToolCalls, own_tool
from mcproxy.observe.metrics import Metrics
from mcproxy.policy.access import AccessDenied, Admitted, admit, identify, shares
from mcproxy.policy.namespaces import Namespace
from mcproxy.store.interface import Store
from mcproxy.types import Json, JsonObject, RunCode
from mcproxy.wire.message import Failure, Message, Notification, Request, Response

log = logging.getLogger(__name__)


class Services(msgspec.Struct, frozen=True):
    """What the gateway uses and is handed: the runner of scripts, what calls of tools pass, what
    else servers have, what is kept for the next script and of tasks, what is counted, and what
    states are signed with."""

    run: RunCode
    calls: CallServices
    upstream: Upstream
    keeping: Keeping
    store: Store
    metrics: Metrics
    signing: Signing = ALONE


Method = Callable[[Call, RequestSource, Exchange], Awaitable[bytes]]
Scoped = Callable[[Call, RequestContext], Awaitable[bytes]]


class Gateway:
    """The MCP server side. ``published`` has the rules and tools in force; who asked for progress
    hears of it after ``quiet_secs`` of silence; what takes longer than ``keep_secs`` may become a
    task. Usable while ``running``."""

    def __init__(
        self,
        published: Published,
        services: Services,
        quiet_secs: float = QUIET_SECS,
        keep_secs: float = KEEP_SECS,
    ) -> None:
        self._published = published
        self._quiet_secs = quiet_secs
        self._metrics = services.metrics
        self._tokens = services.calls.activity.tokens
        calls, renewed = services.calls, self.renewed
        self._answered = request_spans(calls.begin, self._answer)
        self._tasks = ClientTasks(TaskTable(services.store))
        known = known_extensions(services.upstream, self._tasks)
        self._extensions = Extensions(known, services.upstream, calls)
        self._clients = Clients(self._extensions.negotiated)
        searched, watch = services.metrics.searched, self._extensions.watch
        meta = MetaTools(services.run, calls, services.keeping, renewed, searched, watch)
        self._tools = ToolCalls(meta, calls, renewed, self._extensions.tools)
        self._passing = Passthrough(services.upstream, services.keeping.result, self._extensions)
        self._changes = Changes()
        self._rounds = InputRounds(keep_secs=keep_secs, signing=services.signing)
        self.choices = SurfaceChoices()
        self._methods: dict[str, Method] = {
            "initialize": self._scoped(self._initialize),
            "ping": self._ping,
            mcp.DISCOVER: self._scoped(self._discover),
            mcp.LIST_TOOLS: self._scoped(self._list_tools),
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
        self, message: Message, source: RequestSource, exchange: Exchange | None = None
    ) -> Response | Failure | None:
        """Answer one message; a notification or a reply has no answer.

        ``exchange`` is the way back to the client while it waits, None where there is none.
        """
        if not isinstance(message, Request):
            return None
        try:
            with self._metrics.in_flight:
                return await self._handle(message, source, exchange)
        except Exception as error:  # noqa: BLE001 - the wire error of what nobody foresaw is made there
            return Failure(message.id, _wire_error(message.method, error))

    def admit(self, source: RequestSource) -> Admitted:
        """Let a request into the namespace that path or header name, before anything of it is
        read; with the verdict in it, it is not judged again. Raises AccessDenied."""
        return self._admitted(source, source.asked)

    def shares(self, source: RequestSource) -> bool:
        """May a page of the caller's origin read what is answered there? As ``access.shares``."""
        return shares(self._published.snapshot.policy, source.caller, source.asked)

    def allowed_hosts(self) -> frozenset[str]:
        """The names under which clients reach the gateway, beside those of its address."""
        return self._published.snapshot.policy.allowed_hosts

    def input_schema(self, source: RequestSource, tool: Json) -> JsonObject:
        """The schema of the arguments of a server's tool, by the name that the client sees; empty
        where there is none. Raises AccessDenied."""
        context = self._enter(source, NOBODY)
        found = listings.direct_tools(context.view, context.surface).get(str(tool))
        if found is None and "auto" in (source.mode, context.namespace.mode):
            found = context.view.direct.get(str(tool))  # for some client it may be there
        schema = found.definition.get("inputSchema") if found else None
        return schema if isinstance(schema, dict) else {}

    def identify(self, source: RequestSource) -> str:
        """The caller's name. Raises AccessDenied for a token that is wrong."""
        policy = self._published.snapshot.policy
        known = source.verdict(policy)
        return known.name if known else identify(policy, source.caller)

    def issuer(self) -> JwtConfig | None:
        """The issuer whose tokens are taken too, where there is one."""
        return self._published.snapshot.policy.identities.jwt

    def subscribe(self, source: RequestSource, on_change: OnChange) -> Callable[[], None]:
        """Call ``on_change`` with a notification's method whenever what the endpoint offers has
        changed, until what this returns is called. Raises AccessDenied."""
        return self._changes.subscribe(self._enter(source, NOBODY), on_change)

    async def watch(
        self, source: RequestSource, uris: Sequence[str], session: ClientSession
    ) -> Sequence[str]:
        """Tell ``session`` when one of these resources changes, as long as it is held; gives those
        that a server tells of. Raises AccessDenied."""
        context = self._enter(source, listener(session))
        return await self._passing.watch(context, uris, session)

    def changed(self, before: Snapshot) -> None:
        """Tell the subscribers of what differs from the snapshot that was in force before."""
        self._changes.tell(before, self._published.snapshot)

    def heard(self, server: str, note: Notification, tenant: Tenant | None = None) -> None:
        """Tell clients what a server told of its prompts and resources, or of what an extension
        has; ``tenant``: whom alone it told of it, where it did."""
        if self._passing.heard(server, note, tenant):
            return
        if note.method in (mcp.PROMPTS_CHANGED, mcp.RESOURCES_CHANGED):
            self._changes.announce(note.method, server, self._published.snapshot)
        else:
            self._extensions.heard(server, note, tenant)

    def renewed(self, context: RequestContext) -> RequestContext:
        """The same request by the rules of now, as it is where they are the same: after a wait it
        is these that count. Raises AccessDenied."""
        if context.snapshot is self._published.snapshot:
            return context
        return self._enter(context.source, context.exchange, context.argument)

    async def _handle(
        self, request: Request, source: RequestSource, given: Exchange | None
    ) -> Response:
        method = self._methods.get(request.method) or self._extended(request.method)
        call = read_call(request.params)
        if call.modern and request.method in mcp.HANDSHAKE_ONLY:
            text = f"protocol {mcp.STATELESS_VERSION} has no method {request.method!r}"
            raise RpcError(RpcError.METHOD_NOT_FOUND, text)
        try:
            exchange = self._clients.exchange(call, given)
            answer = await self._answered(request.method, method, call, source, exchange)
            return Response(request.id, answer)
        except CallError as error:  # of tools/call: ``forward`` makes what others raise an RpcError
            secs = None if error.retry_after is None else math.ceil(error.retry_after)
            return Response(request.id, call.result(fault_result(error.message, secs)), secs)

    def _extended(self, method: str) -> Method:
        """What answers a method that is an extension's. Raises RpcError where there is none."""
        answer = self._extensions.answer(method)
        if answer is None:
            raise self._extensions.unknown(method)
        return self._scoped(answer)

    async def _answer(
        self, name: str, method: Method, call: Call, source: RequestSource, exchange: Exchange
    ) -> bytes:
        work = partial(self._work, name, method, call, source)
        if name == mcp.CALL_TOOL and not call.modern and call.params.get(mcp.TASK) is not None:
            begin = partial(self._rounds.begin, exchange, work)
            context = self._enter(source, exchange)
            return await self._tasks.begin(call, context, begin, partial(_settled, call))
        if not call.modern or name not in mcp.INPUT_REQUIRED_METHODS:
            return await work(exchange)
        purpose, keep = self._purpose(name, call, source), None
        if name == mcp.CALL_TOOL and mcp.TASKS in exchange.negotiated.declared:
            keep = self._tasks.keeper(call, self._enter(source, exchange), partial(_settled, call))
        return await self._rounds.answer(call, purpose, exchange, work, keep=keep)

    async def _work(
        self, name: str, method: Method, call: Call, source: RequestSource, exchange: Exchange
    ) -> bytes:
        try:
            if mcp.META_PROGRESS_TOKEN not in exchange.meta:
                return await method(call, source, exchange)
            script = name == mcp.CALL_TOOL and (
                self._own_tool(call, self._entered(source, exchange)) == "execute"
            )
            with told_of_progress(exchange, self._quiet_secs, script=script) as told:
                return await method(call, source, told)
        finally:
            if exchange.session is None:
                exchange.tenant.ended.set()

    def _purpose(self, method: str, call: Call, source: RequestSource) -> tuple[str, ...]:
        what = str(call.params.get("uri", call.params.get("name")))
        return self.identify(source), source.asked or "", method, what

    def holder(self, request: Request, source: RequestSource) -> str | None:
        """The other gateway that holds the call which a request resumes. Raises AccessDenied."""
        if b"requestState" in request.params:
            call = read_call(request.params)
            return self._rounds.holder(call, self._purpose(request.method, call, source))
        return None

    def _scoped(self, method: Scoped) -> Method:
        async def scoped(call: Call, source: RequestSource, exchange: Exchange) -> bytes:
            return await method(call, self._enter(source, exchange))

        return scoped

    async def _initialize(self, call: Call, context: RequestContext) -> bytes:
        told = can_be_told(context.exchange)
        offered = listings.capabilities(context.view, context.surface, told=told)
        return call.result(
            {
                "protocolVersion": negotiate(call.params.get("protocolVersion")),
                "capabilities": offered | self._extensions.offered(context) | capability(context),
                "serverInfo": server_info(),
                "instructions": listings.instructions(context.view, context.surface),
            }
        )

    async def _discover(self, call: Call, context: RequestContext) -> bytes:
        offered = listings.capabilities(context.view, context.surface, told=True)
        body: JsonObject = {
            "supportedVersions": [mcp.STATELESS_VERSION, *mcp.HANDSHAKE_VERSIONS],
            "capabilities": offered | self._extensions.offered(context),
            "instructions": listings.instructions(context.view, context.surface),
        }
        return call.result(body, ttl_ms=LIST_TTL_MS)

    async def _list_tools(self, call: Call, context: RequestContext) -> bytes:
        listed = listings.tools(context.view, context.surface, context.namespace.limits)
        if not call.modern:
            listed = with_support(listed, context)
        listed += self._extensions.listed(context, [str(tool["name"]) for tool in listed])
        result = call.result(page("tools", listed, call.params.get("cursor")), ttl_ms=LIST_TTL_MS)
        self._tokens.sent(context.exchange.client, "list", result, context.namespace.name)
        return result

    async def _ping(self, call: Call, source: RequestSource, exchange: Exchange) -> bytes:
        return call.result({})

    async def _set_log_level(self, call: Call, source: RequestSource, exchange: Exchange) -> bytes:
        self._clients.set_log_level(exchange.session, call.params.get("level"))
        return call.result({})

    async def _call_tool(self, call: Call, source: RequestSource, exchange: Exchange) -> bytes:
        entered = self._entered(source, exchange)

        def enter(argument: str | None) -> RequestContext:
            return (not argument and entered) or self._enter(source, exchange, argument)

        return await self._tools.answer(call, self._own_tool(call, entered), enter)

    def _entered(self, source: RequestSource, exchange: Exchange) -> RequestContext | None:
        try:
            return self._enter(source, exchange)
        except AccessDenied:
            return None

    def _own_tool(self, call: Call, context: RequestContext | None) -> str | None:
        """Which of the gateway's own tools it means. A namespace that the caller may not use has
        those of code mode, like one that does not exist; ``_enter`` refuses both."""
        surface = context.surface if context else "code"
        prefix = self._published.snapshot.policy.surfaces.prefix
        return own_tool(call.params.get("name"), surface, prefix)

    def _surface(self, source: RequestSource, exchange: Exchange, namespace: Namespace) -> Surface:
        """What the client is shown of the namespace; the reason is kept for the operator."""
        snapshot = self._published.snapshot
        wanted = source.mode or namespace.mode
        if wanted != "auto":
            return wanted
        view, rules = snapshot.views[namespace.name], snapshot.policy.surfaces
        choice = choose(exchange.client, rules, view)
        self.choices.note(namespace.name, exchange.client, choice)
        return choice.surface

    def _enter(
        self, source: RequestSource, exchange: Exchange, argument: str | None = None
    ) -> RequestContext:
        """The context of a request. What servers keep of it is kept apart from that of other
        callers and namespaces. ``argument``: the namespace that a meta-tool's arguments name,
        weaker than the path. Raises AccessDenied, and ArgumentFault where the two disagree."""
        if argument and source.path and argument != source.path:
            raise ArgumentFault(
                f"namespace {argument!r} was asked, but this endpoint is for {source.path!r}; "
                "leave the argument out."
            )
        admitted = self._admitted(source, source.path or argument or source.header)
        namespace, name = admitted.namespace, admitted.name
        tenant = replace(exchange.tenant, caller=name, namespace=namespace.name)
        snapshot = self._published.snapshot
        return RequestContext(
            *(source, argument, snapshot, snapshot.views[namespace.name]),
            name,
            namespace,
            self._surface(source, exchange, namespace),
            replace(exchange, tenant=tenant),
        )

    def _admitted(self, source: RequestSource, asked: str | None) -> Admitted:
        policy = self._published.snapshot.policy
        known = source.verdict(policy)
        return known if known and known.asked == asked else admit(policy, source.caller, asked)


def _wire_error(method: str, error: Exception) -> RpcError:
    """What a client is told of an exception."""
    match error:
        case RpcError():
            return error
        case AccessDenied():
            return RpcError(RpcError.INVALID_PARAMS, str(error))
        case McproxyError():
            return RpcError(RpcError.INTERNAL_ERROR, str(error))
    log.error("%s failed", method, exc_info=error)
    text = "internal error; the gateway's log has the details"
    return RpcError(RpcError.INTERNAL_ERROR, text)


def _settled(call: Call, ended: SuspendedCall) -> bytes | RpcError:
    """What a call of a tool gave that nobody waited for."""
    try:
        return ended.result()
    except CallError as error:
        return call.result(fault_result(error.message))
    except Exception as error:  # noqa: BLE001 - as above
        return _wire_error(mcp.CALL_TOOL, error)
