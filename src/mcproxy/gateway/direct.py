"""Direct mode: the servers' own tools, under names that are unique, their results unchanged.

A call's result goes from the server's pipe to the client as the bytes that came; a server's own
JSON-RPC errors go through too. What the gateway itself refuses is a result that a model can read.
"""

from collections.abc import Callable, Mapping

from mcproxy.errors import RpcError, UpstreamError
from mcproxy.gateway.calls import Admission, checked, limited, queued
from mcproxy.gateway.metatools import fault_result
from mcproxy.gateway.protocol_era import Call
from mcproxy.gateway.scope import Scope
from mcproxy.gateway.snapshot import META_TOOLS
from mcproxy.manifest.spelling import near
from mcproxy.policy.audit import AuditLog, actor
from mcproxy.types import CallTool, Json, JsonObject, Tool, ToolRef, ToolResult

MAX_NAME_SHOWN = 200  # characters of a name that there is not
MAX_INSTRUCTIONS = 4000  # characters; clients put them before every conversation


def tools_in(scope: Scope) -> Mapping[str, Tool]:
    """The servers' tools that the client sees, by the names that it sees; none in code mode."""
    match scope.mode:
        case "direct":
            return scope.view.direct
        case "both":
            return scope.view.beside
        case _:
            return {}


def definitions(scope: Scope) -> list[JsonObject]:
    """The tools as ``tools/list`` gives them: as their servers declare them, but for the name."""
    return [{**tool.definition, "name": name} for name, tool in tools_in(scope).items()]


def instructions(scope: Scope) -> str:
    """What the servers say of themselves, for clients that see their tools alone."""
    servers = scope.view.manifest.servers.values()
    said = "\n".join(f"{server.name}: {server.description}" for server in servers)
    return said if len(said) <= MAX_INSTRUCTIONS else f"{said[:MAX_INSTRUCTIONS]}…"


class Direct:
    """Calls of servers' tools by clients themselves."""

    def __init__(self, call: CallTool, admission: Admission, audit: AuditLog) -> None:
        self._call = call
        self._admission = admission
        self._audit = audit

    async def call_tool(self, name: str, call: Call, scope_of: Callable[[], Scope]) -> bytes:
        """Answer ``tools/call``.

        Raises RpcError for an unknown tool, and as the server does; CallError where the call is
        refused, or its server cannot be reached; and what ``scope_of`` raises. That is asked again
        after a wait for a place: it is the rules of then that count.
        """
        scope = scope_of()
        arguments = call.params.get("arguments") or {}
        tool = _tool(name, scope)
        if not isinstance(arguments, dict):
            return call.result(fault_result(f"the arguments of {name} must be a JSON object"))

        async def in_place(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
            now = scope_of()
            through = limited(now.caller, now.namespace, self._admission.take, self._call)
            return await through(_tool(name, now).ref, arguments)

        through = queued(scope.caller, scope.namespace, self._admission.enter, in_place)
        usage = f"the inputSchema of {name} in tools/list"
        who = actor(scope.caller, scope.namespace.name)
        through = self._audit.around(who, checked(tool, usage, through))
        try:
            result = await through(tool.ref, arguments)
        except UpstreamError as error:
            raise error.rpc from error
        return call.passed(result.raw)


def _tool(name: str, scope: Scope) -> Tool:
    tool = tools_in(scope).get(name)
    if tool is None:
        raise unknown_tool(name, scope)
    return tool


def unknown_tool(name: str, scope: Scope) -> RpcError:
    """The error for a name that is no tool's (MCP, server/tools, "Error Handling")."""
    close = near(name, tools_in(scope))
    hint = f"; did you mean {' or '.join(close)}?" if close else "; tools/list has the names"
    if scope.mode == "code":
        hint = "; this server has two: search finds tools, execute runs Python that calls them"
    elif scope.mode == "both" and not close:
        hint = f"; beside the tools of servers there are {' and '.join(META_TOOLS)}"
    return RpcError(RpcError.INVALID_PARAMS, f"unknown tool {name[:MAX_NAME_SHOWN]!r}{hint}")
