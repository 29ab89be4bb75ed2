"""What can be asked of one server: its tools, its lists, its resources, each through its door.

Knows what each kind of request may take, and which resources are watched; not whether the server
runs, and nothing of its restarts.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from mcproxy.errors import RpcError
from mcproxy.exchange import Tenant
from mcproxy.types import Json, JsonObject, Tool, ToolRef, ToolResult
from mcproxy.upstream.protocol.session import Session
from mcproxy.upstream.supervision.door import Door
from mcproxy.upstream.supervision.terms import CallTimes

WATCH_SECS = 5.0  # a subscription is renewed within this time, or is lost


class Calls:
    """The requests to the server ``name``. ``tools`` are those that it has now, ``times`` tells how
    long calls may take now."""

    def __init__(
        self,
        name: str,
        door: Door,
        tools: Callable[[], Mapping[str, Tool]],
        times: Callable[[], CallTimes],
    ) -> None:
        self._name, self._door = name, door
        self._tools, self._times = tools, times
        self._watched: set[str] = set()

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

    async def watch(self, uri: str, *, wanted: bool) -> Tenant | None:
        """Hear, or no longer, of changes of one resource, over restarts too; for everybody, so it
        gives None. Raises as ``call``."""
        if wanted == (uri in self._watched):
            return None
        ref, secs = ToolRef(self._name, "resources/subscribe"), self._times().default
        await self._door.through(ref, secs, lambda session: session.watch(uri, wanted=wanted))
        (self._watched.add if wanted else self._watched.discard)(uri)
        return None

    def forget(self, uri: str) -> None:
        """Watch a resource no longer after the next start."""
        self._watched.discard(uri)

    async def renew(self, session: Session) -> None:
        """Watch with a new session what was watched with the last one. Raises PeerClosed."""
        for uri in sorted(self._watched):
            with contextlib.suppress(RpcError, TimeoutError):
                async with asyncio.timeout(WATCH_SECS):
                    await session.watch(uri, wanted=True)


def _is_safe(tool: Tool | None) -> bool:
    """Whether a call may be sent again without harm (MCP, ToolAnnotations)."""
    hints = tool.definition.get("annotations") if tool else None
    if not isinstance(hints, dict):
        return False
    return hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True
