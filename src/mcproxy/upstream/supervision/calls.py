"""What can be asked of one server: its tools, its lists, its resources, each through the guard.

Knows what each kind of request may take, and which resources are watched; not whether the server
runs, and nothing of its restarts.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from mcproxy import mcp
from mcproxy.errors import CallError, RpcError
from mcproxy.exchange import NOBODY, Exchange, Tenant
from mcproxy.types import Json, JsonObject, Tool, ToolRef, ToolResult
from mcproxy.upstream.protocol.session import ServerSession
from mcproxy.upstream.supervision.call_guard import CallGuard, GuardedCall
from mcproxy.upstream.supervision.server_limits import CallTimes

WATCH_SECS = 5.0  # a subscription is renewed within this time, or is lost


class ServerCalls:
    """The requests to the server ``name``. ``tools`` are those that it has now, ``times`` tells how
    long calls may take now."""

    def __init__(
        self,
        name: str,
        guard: CallGuard,
        tools: Callable[[], Mapping[str, Tool]],
        times: Callable[[], CallTimes],
    ) -> None:
        self._name, self._guard = name, guard
        self._tools, self._times = tools, times
        self._watched: dict[str, bool] = {}  # False: it is not certain that the server knows

    async def call(
        self, exchange: Exchange, ref: ToolRef, arguments: Mapping[str, Json]
    ) -> ToolResult:
        """Call one of the server's tools by its exact name.

        Raises ServerDown, CallTimeout or UpstreamError.
        """

        async def work(session: ServerSession, exchange: Exchange) -> ToolResult:
            return await session.call_tool(exchange, ref.tool, arguments)

        safe = _is_safe(self._tools().get(ref.tool))
        bound = GuardedCall(ref, self._times().of(ref.tool), exchange, safe=safe)
        return await self._guard.through(bound, work)

    async def request(self, exchange: Exchange, method: str, params: JsonObject) -> bytes:
        """Send any other request; its raw result. Raises as ``call`` does."""

        async def work(session: ServerSession, exchange: Exchange) -> bytes:
            return await session.request(exchange, method, params)

        return await self._guard.through(self._bound(method, exchange), work)

    async def list(self, method: str) -> Sequence[JsonObject]:
        """All items of one of the server's lists. Raises as ``call`` does."""

        async def work(session: ServerSession, exchange: Exchange) -> Sequence[JsonObject]:
            return await session.list(method)

        return await self._guard.through(self._bound(method, NOBODY), work)

    async def watch(self, exchange: Exchange, uri: str, tenant: Tenant | None) -> None:
        """Hear of changes of one resource, over restarts too; whoever it is for.

        One at a time for each resource. Raises as ``call``.
        """
        if self._watched.get(uri):
            return
        self._watched[uri] = False  # set first: whoever gives up does not know
        await self._watch(uri, exchange, wanted=True)
        self._watched[uri] = True

    async def unwatch(self, uri: str, tenant: Tenant | None) -> None:
        """Hear no longer of them. Raises as ``call``."""
        if self._watched.pop(uri, None) is not None:  # first, lest a restart renew it
            # What is turned off is not of the client whose request happens to do it.
            await self._watch(uri, NOBODY, wanted=False)

    def forget(self, uri: str) -> None:
        """Watch a resource no longer after the next start."""
        self._watched.pop(uri, None)

    async def _watch(self, uri: str, exchange: Exchange, *, wanted: bool) -> None:
        async def work(session: ServerSession, exchange: Exchange) -> None:
            await session.watch(exchange, uri, wanted=wanted)

        try:
            await self._guard.through(self._bound(mcp.SUBSCRIBE, exchange), work)
        except CallError:
            self.forget(uri)
            raise

    def _bound(self, method: str, exchange: Exchange) -> GuardedCall:
        return GuardedCall(ToolRef(self._name, method), self._times().of(method), exchange)

    async def renew(self, session: ServerSession) -> None:
        """Watch with a new session what was watched with the last one. Raises PeerClosed."""
        for uri in sorted(uri for uri, certain in self._watched.items() if certain):
            with contextlib.suppress(RpcError, TimeoutError):
                async with asyncio.timeout(WATCH_SECS):
                    await session.watch(NOBODY, uri, wanted=True)


def _is_safe(tool: Tool | None) -> bool:
    """Whether a call may be sent again without harm (MCP, ToolAnnotations)."""
    hints = tool.definition.get("annotations") if tool else None
    if not isinstance(hints, dict):
        return False
    return hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True
