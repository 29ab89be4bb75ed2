"""``tools/call``: a meta-tool, or in direct mode a server's own tool.

A direct call's result goes from the server's pipe to the client as the bytes that came; a server's
own JSON-RPC errors go through too. What the gateway itself refuses is a result that a model can
read.
"""

from collections.abc import Callable, Mapping
from functools import partial

from mcproxy.call_errors import InvalidArguments, UpstreamError
from mcproxy.config.model import Surface
from mcproxy.errors import RpcError
from mcproxy.gateway.arguments import (
    ArgumentFault,
    read_call_arguments,
    read_execute,
    read_search,
)
from mcproxy.gateway.call_chain import CallServices, ClientCalls, Renewed
from mcproxy.gateway.listings import direct_tools
from mcproxy.gateway.metatools import MetaTools, fault_result
from mcproxy.gateway.request import Call, RequestContext
from mcproxy.gateway.snapshot import PREFIX
from mcproxy.gateway.surfaces import OWN_TOOLS
from mcproxy.manifest.model import find_tool
from mcproxy.manifest.names import plain_call
from mcproxy.manifest.spelling import near
from mcproxy.policy.access import AccessDenied
from mcproxy.types import Json, JsonObject, Tool, ToolRef

MAX_NAME_SHOWN = 200  # characters of a name that there is not

MoreTools = Callable[[RequestContext], Mapping[str, Tool]]

Enter = Callable[[str | None], RequestContext]
"""The context of a request whose arguments name a namespace, or none. Raises AccessDenied, and
ArgumentFault where the connection is for another one."""


class ToolCalls:
    """Answers ``tools/call``. ``more``: what a client may call beside what its mode shows it."""

    def __init__(
        self, meta: MetaTools, services: CallServices, renewed: Renewed, more: MoreTools
    ) -> None:
        self._meta = meta
        self._more = more
        self._client = ClientCalls(services, renewed)

    async def answer(self, call: Call, meant: str | None, enter: Enter) -> bytes:
        """The result; ``meant``: which of the gateway's own tools is called, None where it is
        another. Raises RpcError for an unknown tool, AccessDenied, and CallError for what is
        refused."""
        name = call.params.get("name")
        if not isinstance(name, str):
            raise RpcError(RpcError.INVALID_PARAMS, 'tools/call needs "name", a string')
        if meant is None:
            return await self._direct(name, call, enter(None))
        if meant == "call":
            return await self._call(call, enter)
        return call.result(await self._meta_tool(meant, call, enter))

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

    async def _call(self, call: Call, enter: Enter) -> bytes:
        """The tool ``call``: any tool of a server, by the server's name and its own."""
        arguments = call.params.get("arguments", {})
        if not isinstance(arguments, dict):
            return call.result(fault_result("the arguments of call must be a JSON object"))
        try:
            wanted = read_call_arguments(arguments)
            context = enter(wanted.namespace)
        except (ArgumentFault, AccessDenied) as fault:
            if isinstance(fault, AccessDenied) and not arguments.get("namespace"):
                raise
            return call.result(fault_result(str(fault)))
        manifest, ref = context.view.manifest, ToolRef(wanted.server, wanted.tool)

        def meant(context: RequestContext) -> Tool:
            return find_tool(context.view.manifest, ref, plain_call)

        tool = meant(context)
        unknown = manifest.schema(tool.ref).unknown(wanted.arguments)
        usage = plain_call(tool)
        if unknown:
            raise InvalidArguments(tool.ref, unknown, usage)
        try:
            result = await self._client.call(context, tool, meant, usage, wanted.arguments)
        except UpstreamError as error:
            return call.result(fault_result(error.message))
        return call.passed(result.raw)

    async def _direct(self, name: str, call: Call, context: RequestContext) -> bytes:
        named = partial(_named, name, self._more)
        tool = named(context)
        arguments = call.params.get("arguments") or {}
        if not isinstance(arguments, dict):
            return call.result(fault_result(f"the arguments of {name} must be a JSON object"))
        usage = f"the inputSchema of {name} in tools/list"
        try:
            result = await self._client.call(context, tool, named, usage, arguments)
        except UpstreamError as error:
            raise error.rpc from error
        return call.passed(result.raw)


def own_tool(name: Json, surface: Surface, prefix: str) -> str | None:
    """Which of the gateway's own tools a client means by a name, with ``prefix`` before it or none;
    some put the server's before."""
    for tool in OWN_TOOLS[surface]:
        if name in (tool, prefix + tool, PREFIX + tool):
            return tool
    return None


def _named(name: str, more: MoreTools, context: RequestContext) -> Tool:
    """The tool that the client means. Raises RpcError where it sees none of that name (MCP,
    server/tools, "Error Handling")."""
    tools = direct_tools(context.view, context.surface)
    tool = tools.get(name) or more(context).get(name)
    if tool is not None:
        return tool
    close = near(name, tools)
    hint = f"; did you mean {' or '.join(close)}?" if close else "; tools/list has the names"
    own = [context.view.prefix + tool for tool in OWN_TOOLS[context.surface]]
    if context.surface in ("code", "call"):
        does = "runs Python that calls them" if context.surface == "code" else "calls one"
        hint = f"; this server has two: {own[0]} finds tools, {own[1]} {does}"
    elif own and not close:
        hint = f"; beside the tools of servers there are {' and '.join(own)}"
    raise RpcError(RpcError.INVALID_PARAMS, f"unknown tool {name[:MAX_NAME_SHOWN]!r}{hint}")
