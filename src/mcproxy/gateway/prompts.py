"""The prompts of all servers in sight, named by the same rule as tools in direct mode."""

from collections.abc import Mapping

from mcproxy import mcp
from mcproxy.errors import RpcError
from mcproxy.exchange import Upstream
from mcproxy.gateway.names import Item, aliases
from mcproxy.gateway.request import LIST_TTL_MS, Call, RequestContext
from mcproxy.gateway.server_requests import forward, items, offering, page
from mcproxy.manifest.spelling import near
from mcproxy.types import JsonObject


class Prompts:
    """``prompts/list`` and ``prompts/get``."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def list(self, call: Call, context: RequestContext) -> bytes:
        """All prompts, under the names that ``get`` knows."""
        prompts = await self._prompts(context)
        listed = [
            {**prompts[item], "name": name} for name, item in _names(prompts, context).items()
        ]
        return call.result(page("prompts", listed, call.params.get("cursor")), ttl_ms=LIST_TTL_MS)

    async def get(self, call: Call, context: RequestContext) -> bytes:
        """One prompt, filled in by its server. Raises RpcError."""
        server, prompt = await self.find(context, call.params.get("name"))
        params: JsonObject = {"name": prompt}
        if "arguments" in call.params:
            params["arguments"] = call.params["arguments"]
        return call.passed(
            await forward(self._upstream, context.exchange, server, mcp.GET_PROMPT, params)
        )

    async def find(self, context: RequestContext, name: object) -> Item:
        """The server and its own name of a prompt. Raises RpcError for an unknown one."""
        names = _names(await self._prompts(context), context)
        if not isinstance(name, str) or name not in names:
            close = near(str(name), names)
            hint = f"did you mean {' or '.join(close)}?" if close else "prompts/list has the names"
            raise RpcError(RpcError.INVALID_PARAMS, f"unknown prompt {name!r}; {hint}")
        return names[name]

    async def _prompts(self, context: RequestContext) -> Mapping[Item, JsonObject]:
        listed = await items(self._upstream, offering(context, "prompts"), mcp.LIST_PROMPTS)
        return {
            (server, str(prompt["name"])): prompt for server, prompt in listed if "name" in prompt
        }


def _names(prompts: Mapping[Item, JsonObject], context: RequestContext) -> Mapping[str, Item]:
    return aliases(prompts, context.view.bare)
