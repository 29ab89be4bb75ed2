"""``tools/call``: a meta-tool, or in direct mode a server's own tool.

A direct call's result goes from the server's pipe to the client as the bytes that came; a server's
own JSON-RPC errors go through too. What the gateway itself refuses is a result that a model can
read.
"""

from collections.abc import Callable
from functools import partial

from mcproxy.errors import RpcError, UpstreamError
from mcproxy.gateway.arguments import ArgumentFault, read_execute, read_search
from mcproxy.gateway.call_chain import CallServices, Renewed, client_chain
from mcproxy.gateway.listings import direct_tools
from mcproxy.gateway.metatools import MetaTools, fault_result
from mcproxy.gateway.protocol_era import Call
from mcproxy.gateway.request import RequestContext
from mcproxy.gateway.snapshot import META_TOOLS, PREFIX
from mcproxy.manifest.spelling import near
from mcproxy.policy.access import AccessDenied
from mcproxy.types import JsonObject, Tool

MAX_NAME_SHOWN = 200  # characters of a name that there is not

Enter = Callable[[str | None], RequestContext]
"""The context of a request whose arguments name a namespace, or none. Raises AccessDenied, and
ArgumentFault where the connection is for another one."""


class ToolCalls:
    """Answers ``tools/call``."""

    def __init__(self, meta: MetaTools, services: CallServices, renewed: Renewed) -> None:
        self._meta = meta
        self._services = services
        self._renewed = renewed

    async def answer(self, call: Call, may_be_meta: bool, enter: Enter) -> bytes:
        """The result; ``may_be_meta``: the connection has the meta-tools. Raises RpcError for an
        unknown tool, AccessDenied, and CallError for what is refused."""
        name = call.params.get("name")
        if not isinstance(name, str):
            raise RpcError(RpcError.INVALID_PARAMS, 'tools/call needs "name", a string')
        tool = name.removeprefix(PREFIX)
        if may_be_meta and tool in META_TOOLS:
            return call.result(await self._meta_tool(tool, call, enter))
        return await self._direct(name, call, enter(None))

    async def _meta_tool(self, tool: str, call: Call, enter: Enter) -> JsonObject:
        arguments = call.params.get("arguments", {})
        if not isinstance(arguments, dict):
            return fault_result(f"the arguments of {tool} must be a JSON object")
        try:
            if tool == "search":
                wanted = read_search(arguments)
                return await self._meta.search(wanted, enter(wanted.namespace))
            script = read_execute(arguments)
            return await self._meta.execute(script, enter(script.namespace))
        except (ArgumentFault, AccessDenied) as fault:
            if isinstance(fault, AccessDenied) and not arguments.get("namespace"):
                raise
            return fault_result(str(fault))

    async def _direct(self, name: str, call: Call, context: RequestContext) -> bytes:
        named = partial(_named, name)
        tool = named(context)
        arguments = call.params.get("arguments") or {}
        if not isinstance(arguments, dict):
            return call.result(fault_result(f"the arguments of {name} must be a JSON object"))
        usage = f"the inputSchema of {name} in tools/list"
        through = client_chain(context, self._services, named, usage, self._renewed)
        try:
            result = await through(tool.ref, arguments)
        except UpstreamError as error:
            raise error.rpc from error
        return call.passed(result.raw)


def _named(name: str, context: RequestContext) -> Tool:
    """The tool that the client means. Raises RpcError where it sees none of that name (MCP,
    server/tools, "Error Handling")."""
    tools = direct_tools(context.view, context.mode)
    tool = tools.get(name)
    if tool is not None:
        return tool
    close = near(name, tools)
    hint = f"; did you mean {' or '.join(close)}?" if close else "; tools/list has the names"
    if context.mode == "code":
        hint = "; this server has two: search finds tools, execute runs Python that calls them"
    elif context.mode == "both" and not close:
        hint = f"; beside the tools of servers there are {' and '.join(META_TOOLS)}"
    raise RpcError(RpcError.INVALID_PARAMS, f"unknown tool {name[:MAX_NAME_SHOWN]!r}{hint}")
