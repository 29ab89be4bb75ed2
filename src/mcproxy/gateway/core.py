"""The MCP methods that a client can call, of both protocol eras, without any transport.

``respond`` takes a message and gives its reply. It is the one place where exceptions become wire
errors towards clients; what nobody foresaw is logged and told as an internal error, without the
gateway's insides.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mcproxy.errors import McproxyError, RpcError
from mcproxy.gateway.arguments import ArgumentFault, read_execute, read_search
from mcproxy.gateway.descriptions import INSTRUCTIONS, definitions
from mcproxy.gateway.era import (
    HANDSHAKE,
    LIST_TTL_MS,
    MODERN,
    Call,
    negotiate,
    read_call,
    server_info,
)
from mcproxy.gateway.metatools import MetaTools, Scope, fault_result
from mcproxy.gateway.snapshot import Snapshot
from mcproxy.policy.access import AccessDenied, admit, identify
from mcproxy.policy.namespaces import Namespace
from mcproxy.types import EXCHANGE, Caller, Exchange, Json, JsonObject
from mcproxy.wire.message import Failure, Message, Request, Response

log = logging.getLogger(__name__)

PREFIX = "mcproxy_"  # some clients put the server's name before the tool's


@dataclass(frozen=True, slots=True)
class Where:
    """Who asks, and the namespaces that path and header name; the path is the stronger."""

    caller: Caller
    path: str | None = None
    header: str | None = None


class Gateway:
    """The MCP server side. ``snapshot`` gives the rules and tools in force."""

    def __init__(self, snapshot: Callable[[], Snapshot], tools: MetaTools) -> None:
        self._snapshot = snapshot
        self._tools = tools
        self._methods: dict[str, Callable[[Call, Where], Awaitable[bytes]]] = {
            "initialize": self._initialize,
            "ping": self._ping,
            "server/discover": self._discover,
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
        }

    async def respond(
        self, message: Message, where: Where, exchange: Exchange | None = None
    ) -> Response | Failure | None:
        """Answer one message; a notification or a reply has no answer.

        ``exchange`` is the way back to the client while it waits, None where there is none.
        """
        if not isinstance(message, Request):
            return None
        EXCHANGE.set(exchange)
        try:
            return Response(message.id, await self._handle(message, where))
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
        return self._scope(where, None).namespace

    def identify(self, caller: Caller) -> str:
        """The caller's name. Raises AccessDenied for a token that is wrong."""
        return identify(self._snapshot().policy, caller)

    async def _handle(self, request: Request, where: Where) -> bytes:
        method = self._methods.get(request.method)
        if method is None:
            known = ", ".join(self._methods)
            raise RpcError(
                RpcError.METHOD_NOT_FOUND,
                f"unknown method {request.method!r}; this server has: {known}",
            )
        return await method(read_call(request.params), where)

    async def _initialize(self, call: Call, where: Where) -> bytes:
        self._scope(where, None)
        return call.result(
            {
                "protocolVersion": negotiate(call.params.get("protocolVersion")),
                "capabilities": {"tools": {}},
                "serverInfo": server_info(),
                "instructions": INSTRUCTIONS,
            }
        )

    async def _discover(self, call: Call, where: Where) -> bytes:
        self._scope(where, None)
        body: JsonObject = {
            "supportedVersions": [MODERN, *HANDSHAKE],
            "capabilities": {"tools": {}},
            "instructions": INSTRUCTIONS,
        }
        return call.result(body, ttl_ms=LIST_TTL_MS)

    async def _ping(self, call: Call, where: Where) -> bytes:
        return call.result({})

    async def _list_tools(self, call: Call, where: Where) -> bytes:
        scope = self._scope(where, None)
        tools: Json = [*definitions(scope.view.tool_counts(), scope.namespace.limits)]
        return call.result({"tools": tools}, ttl_ms=LIST_TTL_MS)

    async def _call_tool(self, call: Call, where: Where) -> bytes:
        name, arguments = call.params.get("name"), call.params.get("arguments", {})
        if not isinstance(name, str):
            raise RpcError(RpcError.INVALID_PARAMS, 'tools/call needs "name", a string')
        tool = name.removeprefix(PREFIX)
        if tool not in ("search", "execute"):
            raise RpcError(
                RpcError.INVALID_PARAMS,
                f"unknown tool {name!r}; this server has two: search finds tools, "
                "execute runs Python that calls them",
            )
        if not isinstance(arguments, dict):
            return call.result(fault_result(f"the arguments of {tool} must be a JSON object"))
        try:
            return call.result(await self._meta_tool(tool, arguments, where))
        except (ArgumentFault, AccessDenied) as fault:
            if isinstance(fault, AccessDenied) and not arguments.get("namespace"):
                raise
            return call.result(fault_result(str(fault)))

    async def _meta_tool(self, tool: str, arguments: JsonObject, where: Where) -> JsonObject:
        if tool == "search":
            wanted = read_search(arguments)
            return self._tools.search(wanted, self._scope(where, wanted.namespace))
        script = read_execute(arguments)
        return await self._tools.execute(script, self._scope(where, script.namespace))

    def _scope(self, where: Where, argument: str | None) -> Scope:
        if argument and where.path and argument != where.path:
            raise ArgumentFault(
                f"namespace {argument!r} was asked, but this endpoint is for {where.path!r}; "
                "leave the argument out."
            )
        snapshot = self._snapshot()
        asked = where.path or argument or where.header
        namespace = admit(snapshot.policy, where.caller, asked)
        caller = identify(snapshot.policy, where.caller)
        return Scope(caller, namespace, snapshot.views[namespace.name])
