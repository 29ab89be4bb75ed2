"""One server's life: start, shake hands, list its tools, restart it when it goes down.

Decides nothing about when to restart (``restart.next_step`` does) and nothing about processes
(``stdio`` does): it is the loop between the two, and the door through which calls come.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from mcproxy.errors import CallTimeout, PeerClosed, RpcError, ServerDown, UpstreamError
from mcproxy.types import (
    Json,
    ServerHealth,
    ServerState,
    ServerView,
    Tool,
    ToolRef,
    ToolResult,
)
from mcproxy.upstream.process import Child
from mcproxy.upstream.restart import GiveUp, RestartState, next_step
from mcproxy.upstream.session import HandshakeFailed, Session

START_WAIT_SECS = 30.0  # a call that arrives while the server starts waits this long at most

log = logging.getLogger(__name__)

Connect = Callable[[Callable[[Session], None]], AbstractAsyncContextManager[tuple[Session, Child]]]


@dataclass(frozen=True, slots=True)
class CallTimes:
    """How long a call may take, in seconds: any tool, some by name, and at most ``bound``."""

    default: float
    by_tool: Mapping[str, float]
    bound: float | None = None

    def of(self, tool: str) -> float:
        """The limit of one tool."""
        secs = self.by_tool.get(tool, self.default)
        return secs if self.bound is None else min(secs, self.bound)


class Supervisor:
    """Keeps one server running. ``on_change`` is called when its state or its tools changed."""

    def __init__(
        self,
        name: str,
        connect: Connect,
        times: CallTimes,
        on_change: Callable[[], None],
        *,
        description: str = "",
    ) -> None:
        self.name = name
        self._connect = connect
        self._times = times
        self._on_change = on_change
        self._described = description
        self._description = description
        self._state: ServerState = "starting"
        self._tools: dict[str, Tool] = {}
        self._session: Session | None = None
        self._child: Child | None = None
        self._last_error: str | None = None
        self._restarts = RestartState()
        self._settled = asyncio.Event()
        self._attention = asyncio.Event()

    @property
    def view(self) -> ServerView:
        """What the server offers now; its last known tools while it is down."""
        return ServerView(self.name, self._state, self._description, tuple(self._tools.values()))

    @property
    def health(self) -> ServerHealth:
        """How the server is."""
        pid = self._child.pid if self._child else None
        total = self._restarts.total
        return ServerHealth(self._state, len(self._tools), total, pid, self._last_error)

    async def settled(self) -> None:
        """Return once the present start has succeeded or failed."""
        await self._settled.wait()

    async def run(self) -> None:
        """Keep the server up until it is given up, or until cancelled."""
        while True:
            started = time.monotonic()
            startable = await self._live()
            uptime = time.monotonic() - started
            step = next_step(self._restarts, uptime_secs=uptime, startable=startable)
            if isinstance(step, GiveUp):
                log.error("%s: given up, %s: %s", self.name, step.reason, self._last_error)
                self._become("failed")
                self._settled.set()
                return
            self._restarts = step.state
            log.warning("%s: restart in %g s: %s", self.name, step.delay, self._last_error)
            self._become("restarting")
            await asyncio.sleep(step.delay)

    async def call(self, ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        """Call one of the server's tools by its exact name.

        Raises ServerDown, CallTimeout or UpstreamError.
        """
        session = await self._ready(ref)
        secs = self._times.of(ref.tool)
        try:
            async with asyncio.timeout(secs):
                return await session.call_tool(ref.tool, arguments)
        except TimeoutError as error:
            raise CallTimeout(ref, secs, safe=_is_safe(self._tools.get(ref.tool))) from error
        except PeerClosed as error:
            raise ServerDown(ref, error.reason) from error
        except RpcError as error:
            raise UpstreamError(ref, error) from error

    async def _ready(self, ref: ToolRef) -> Session:
        if not self._session and self._state in ("starting", "restarting"):
            try:
                async with asyncio.timeout(START_WAIT_SECS):
                    await self._settled.wait()
            except TimeoutError as error:
                raise ServerDown(ref, f"still starting after {START_WAIT_SECS:g} s") from error
        if not self._session:
            raise ServerDown(ref, self._last_error or f"it is {self._state}")
        return self._session

    async def _live(self) -> bool:
        """One life of the server, from its start to its end; whether another can be tried."""
        self._settled.clear()
        try:
            async with self._connect(self._wake) as (session, child):
                self._child = child
                await session.open()
                await self._keep(session)
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            self._last_error = str(error)
            return False
        except TimeoutError:
            self._last_error = "it started but did not answer in time"
        except (HandshakeFailed, PeerClosed, RpcError, OSError) as error:
            self._last_error = str(error)
        finally:
            if self._state != "restarting":
                self._settled.set()  # the start failed; who waits for it is told
            self._session = self._child = None
        return True

    def _wake(self, session: Session) -> None:
        """Look after the session; where it is gone, let no call find it any more."""
        self._attention.set()
        if session.closed and self._session is session:
            self._session = None
            self._settled.clear()
            self._become("restarting")

    async def _keep(self, session: Session) -> None:
        """Publish the tools, again whenever they change; ends by PeerClosed."""
        self._description = self._described or session.info.instructions or session.info.name
        while True:
            self._attention.clear()
            listed = await session.list_tools()
            self._tools = {tool.ref.tool: tool for tool in listed}
            self._session = session
            self._last_error = None
            self._become("ready")
            self._settled.set()
            while not (session.tools_changed or session.closed):
                await self._attention.wait()
                self._attention.clear()

    def _become(self, state: ServerState) -> None:
        self._state = state
        self._on_change()


def _is_safe(tool: Tool | None) -> bool:
    """Whether a call may be sent again without harm (MCP, ToolAnnotations)."""
    hints = tool.definition.get("annotations") if tool else None
    if not isinstance(hints, dict):
        return False
    return hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True
