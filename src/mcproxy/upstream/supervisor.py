"""One server's life: start, shake hands, list its tools, restart it when it goes down.

Decides nothing about when to restart (``restart.next_step`` does) and nothing about processes
(``stdio`` does): it is the loop between the two, and the door through which calls come.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec

from mcproxy.errors import CallTimeout, PeerClosed, RpcError, ServerDown, UpstreamError
from mcproxy.types import (
    Json,
    JsonObject,
    ServerHealth,
    ServerState,
    ServerView,
    Tool,
    ToolRef,
    ToolResult,
)
from mcproxy.upstream.handshake import HandshakeFailed
from mcproxy.upstream.restart import CHILD, GiveUp, Policy, RestartState, next_step
from mcproxy.upstream.session import Session
from mcproxy.wire.message import Notification

START_WAIT_SECS = 30.0  # a call that arrives while the server starts waits this long at most
WATCH_SECS = 5.0  # a subscription is renewed within this time, or is lost

log = logging.getLogger(__name__)

T = TypeVar("T")


class Process(Protocol):
    """What is known of a server's process; ``pid`` is None for a server that runs elsewhere."""

    @property
    def pid(self) -> int | None:
        """The process id."""


Connect = Callable[
    [Callable[[Session], None]], AbstractAsyncContextManager[tuple[Session, Process]]
]


@dataclass(frozen=True, slots=True)
class Way:
    """How a server is reached, and how often that is tried."""

    connect: Connect
    policy: Policy = CHILD


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
    """Keeps one server running. ``on_change`` is called when its state or its tools changed,
    ``on_event`` with what it tells of its prompts and resources."""

    def __init__(
        self,
        name: str,
        way: Way,
        times: CallTimes,
        on_change: Callable[[], None],
        *,
        on_event: Callable[[str, Notification], None],
        description: str = "",
    ) -> None:
        self.name = name
        self._way = way
        self._times = times
        self._on_change = on_change
        self._on_event = on_event
        self._described = description
        self._description = description
        self._state: ServerState = "starting"
        self._tools: dict[str, Tool] = {}
        self._capabilities: JsonObject = {}
        self._watched: set[str] = set()
        self._session: Session | None = None
        self._child: Process | None = None
        self._last_error: str | None = None
        self._restarts = RestartState()
        self._settled = asyncio.Event()
        self._attention = asyncio.Event()

    @property
    def view(self) -> ServerView:
        """What the server offers now; its last known tools while it is down."""
        tools = tuple(self._tools.values())
        return ServerView(self.name, self._state, self._description, tools, self._capabilities)

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
            step = next_step(
                self._restarts, uptime_secs=uptime, startable=startable, policy=self._way.policy
            )
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
        safe = _is_safe(self._tools.get(ref.tool))
        secs = self._times.of(ref.tool)
        return await self._bounded(
            ref, secs, lambda session: session.call_tool(ref.tool, arguments), safe=safe
        )

    async def request(self, method: str, params: JsonObject) -> bytes:
        """Send any other request; its raw result. Raises as ``call`` does."""
        ref, secs = ToolRef(self.name, method), self._times.of(method)
        return await self._bounded(ref, secs, lambda session: session.request(method, params))

    async def list(self, method: str) -> Sequence[JsonObject]:
        """All items of one of the server's lists. Raises as ``call`` does."""
        ref, secs = ToolRef(self.name, method), self._times.of(method)
        return await self._bounded(ref, secs, lambda session: session.list(method))

    async def watch(self, uri: str, *, wanted: bool) -> None:
        """Hear, or no longer, of changes of one resource, over restarts too. Raises as ``call``."""
        ref, secs = ToolRef(self.name, "resources/subscribe"), self._times.default
        await self._bounded(ref, secs, lambda session: session.watch(uri, wanted=wanted))
        (self._watched.add if wanted else self._watched.discard)(uri)

    async def _bounded(
        self,
        ref: ToolRef,
        secs: float,
        work: Callable[[Session], Awaitable[T]],
        *,
        safe: bool = True,
    ) -> T:
        session = await self._ready(ref)
        try:
            async with asyncio.timeout(secs):
                return await work(session)
        except TimeoutError as error:
            raise CallTimeout(ref, secs, safe=safe) from error
        except PeerClosed as error:
            raise ServerDown(ref, error.reason) from error
        except RpcError as error:
            raise UpstreamError(ref, error) from error
        except msgspec.DecodeError as error:
            odd = RpcError(RpcError.INTERNAL_ERROR, f"its answer is odd: {error}")
            raise UpstreamError(ref, odd) from error

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
        opened = False
        try:
            async with self._way.connect(self._wake) as (session, child):
                self._child = child
                await session.open()
                opened = True
                await self._keep(session)
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            self._last_error = str(error)
            return False
        except TimeoutError:
            self._last_error = "it started but did not answer in time"
        except (HandshakeFailed, PeerClosed, RpcError, OSError) as error:
            self._last_error = str(error)
        finally:
            if not opened or self._state != "restarting":
                self._settled.set()  # the start failed; who waits for it is told
            self._session = self._child = None
        return True

    def _wake(self, session: Session) -> None:
        """Look after the session; where it is gone, let no call find it any more."""
        self._attention.set()
        for event in session.take_events():
            self._on_event(self.name, event)
        if session.closed and self._session is session:
            self._session = None
            self._settled.clear()
            self._become("restarting")

    async def _keep(self, session: Session) -> None:
        """Publish the tools, again whenever they change; ends by PeerClosed."""
        self._description = self._described or session.info.instructions or session.info.name
        self._capabilities = session.info.capabilities
        fresh = True
        while True:
            self._attention.clear()
            listed = await session.list_tools()
            self._tools = {tool.ref.tool: tool for tool in listed}
            self._session = session
            self._last_error = None
            self._become("ready")
            self._settled.set()
            if fresh:
                await self._greet(session)
                fresh = False
            while not (session.tools_changed or session.closed):
                await self._attention.wait()
                self._attention.clear()

    async def _greet(self, session: Session) -> None:
        """Take up with a new session what was agreed with the last one."""
        for uri in sorted(self._watched):
            with contextlib.suppress(RpcError, TimeoutError):
                async with asyncio.timeout(WATCH_SECS):
                    await session.watch(uri, wanted=True)
        for kind in ("prompts", "resources"):
            if kind in session.info.capabilities:
                self._on_event(self.name, Notification(f"notifications/{kind}/list_changed"))

    def _become(self, state: ServerState) -> None:
        self._state = state
        self._on_change()


def _is_safe(tool: Tool | None) -> bool:
    """Whether a call may be sent again without harm (MCP, ToolAnnotations)."""
    hints = tool.definition.get("annotations") if tool else None
    if not isinstance(hints, dict):
        return False
    return hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True
