"""``tools/call``: a meta-tool, or in direct mode a server's own tool."""

from collections.abc import Callable
from functools import partial

from mcproxy.config.model import Mode
from mcproxy.errors import RpcError
from mcproxy.gateway.arguments import ArgumentFault, read_execute, read_search
from mcproxy.gateway.direct import Direct, unknown_tool
from mcproxy.gateway.metatools import MetaTools, fault_result
from mcproxy.gateway.protocol_era import Call
from mcproxy.gateway.scope import Scope
from mcproxy.gateway.snapshot import META_TOOLS, PREFIX
from mcproxy.policy.access import AccessDenied
from mcproxy.types import JsonObject

ScopeOf = Callable[[str | None], Scope]
"""The scope of a request whose arguments name a namespace, or none. Raises AccessDenied, and
ArgumentFault where the connection is for another one."""


class ToolCalls:
    """Answers ``tools/call``."""

    def __init__(self, meta: MetaTools, direct: Direct) -> None:
        self._meta = meta
        self._direct = direct

    async def answer(self, call: Call, mode: Mode, scope_of: ScopeOf) -> bytes:
        """The result; ``mode`` is that of the connection. Raises RpcError for an unknown tool,
        AccessDenied, and CallError for what is refused."""
        name = call.params.get("name")
        if not isinstance(name, str):
            raise RpcError(RpcError.INVALID_PARAMS, 'tools/call needs "name", a string')
        tool = name.removeprefix(PREFIX)
        if mode != "direct" and tool in META_TOOLS:
            return call.result(await self._meta_tool(tool, call, scope_of))
        if mode == "code":
            raise unknown_tool(name, scope_of(None))
        return await self._direct.call_tool(name, call, partial(scope_of, None))

    async def _meta_tool(self, tool: str, call: Call, scope_of: ScopeOf) -> JsonObject:
        arguments = call.params.get("arguments", {})
        if not isinstance(arguments, dict):
            return fault_result(f"the arguments of {tool} must be a JSON object")
        try:
            if tool == "search":
                wanted = read_search(arguments)
                return self._meta.search(wanted, scope_of(wanted.namespace))
            script = read_execute(arguments)
            return await self._meta.execute(script, partial(scope_of, script.namespace))
        except (ArgumentFault, AccessDenied) as fault:
            if isinstance(fault, AccessDenied) and not arguments.get("namespace"):
                raise
            return fault_result(str(fault))
