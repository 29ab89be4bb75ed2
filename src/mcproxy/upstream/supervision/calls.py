"""What can be asked of one server: its tools, its lists, its resources, each through its door.

Knows what each kind of request may take, and which resources are watched; not whether the server
runs, and nothing of its restarts.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from mcproxy import mcp
from mcproxy.errors import CallError, RpcError
from mcproxy.exchange import Tenant
from mcproxy.types import Json, JsonObject, Tool, ToolRef, ToolResult
from mcproxy.upstream.protocol.session import ServerSession
from mcproxy.upstream.supervision.call_guard import CallGuard
from mcproxy.upstream.supervision.server_limits import CallTimes

WATCH_SECS = 5.0  # a subscription is renewed within this time, or is lost


class ServerCalls:
    """The requests to the server ``name``. ``tools`` are those that it has now, ``times`` tells how
    long calls may take now."""

    def __init__(
        self,
        name: str,
        door: CallGuard,
        tools: Callable[[], Mapping[str, Tool]],
        times: Callable[[], CallTimes],
    ) -> None:
        self._name, self._door = name, door
        self._tools, self._times = tools, times
        self._watched: dict[str, bool] = {}  # False: it is not certain that the server knows

    async def call(self, ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        """Call one of the server's tools by its exact name.

        Raises ServerDown, CallTimeout or UpstreamError.
        """
        safe = _is_safe(self._tools().get(ref.tool))
        secs = self._times().of(ref.tool)
        return await self._door.through(
            ref, secs, lambda session: session.call_tool(ref.tool, arguments), safe=safe
        )

    async def request(self, method: str, params: JsonObject) -> bytes:
        """Send any other request; its raw result. Raises as ``call`` does."""
        ref, secs = ToolRef(self._name, method), self._times().of(method)
        return await self._door.through(ref, secs, lambda session: session.request(method, params))

    async def list(self, method: str) -> Sequence[JsonObject]:
        """All items of one of the server's lists. Raises as ``call`` does."""
        ref, secs = ToolRef(self._name, method), self._times().of(method)
        return await self._door.through(ref, secs, lambda session: session.list(method))

    async def watch(self, uri: str, tenant: Tenant | None, *, wanted: bool) -> None:
        """Hear, or no longer, of changes of one resource, over restarts too; whoever it is for.

        One at a time for each resource. Raises as ``call``.
        """
        if self._watched.get(uri) is (True if wanted else None):
            return
        ref, secs = ToolRef(self._name, mcp.SUBSCRIBE), self._times().default
        if wanted:
            self._watched[uri] = False  # set first: whoever gives up does not know
        else:
            del self._watched[uri]  # first, lest a restart renew it
        try:
            await self._door.through(ref, secs, lambda session: session.watch(uri, wanted=wanted))
        except CallError:
            self.forget(uri)
            raise
        if wanted:
            self._watched[uri] = True

    def forget(self, uri: str) -> None:
        """Watch a resource no longer after the next start."""
        self._watched.pop(uri, None)

    async def renew(self, session: ServerSession) -> None:
        """Watch with a new session what was watched with the last one. Raises PeerClosed."""
        for uri in sorted(uri for uri, certain in self._watched.items() if certain):
            with contextlib.suppress(RpcError, TimeoutError):
                async with asyncio.timeout(WATCH_SECS):
                    await session.watch(uri, wanted=True)


def _is_safe(tool: Tool | None) -> bool:
    """Whether a call may be sent again without harm (MCP, ToolAnnotations)."""
    hints = tool.definition.get("annotations") if tool else None
    if not isinstance(hints, dict):
        return False
    return hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True
