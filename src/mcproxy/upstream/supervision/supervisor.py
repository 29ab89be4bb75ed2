"""One server's life: start, shake hands, list its tools, restart it when it goes down.

Decides nothing about when to restart (``restart.next_step`` does) or to stop (``server_limits``
does), and knows nothing about processes (``stdio`` does): it is the loop between them. Calls come
in through ``calls``.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Literal

from mcproxy.call_errors import ServerDown
from mcproxy.cancellation import Clock, checkpoint
from mcproxy.errors import PeerClosed, RpcError, cause_of
from mcproxy.exchange import Exchange
from mcproxy.hooks import HookFailed
from mcproxy.types import Cause, ServerHealth, ServerState, ServerView, Tool, ToolRef
from mcproxy.upstream.child.tree import Table
from mcproxy.upstream.protocol.handshake import HandshakeFailed
from mcproxy.upstream.protocol.session import ServerSession
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.upstream.supervision.calls import CallGuard, ServerCalls
from mcproxy.upstream.supervision.restart import (
    Ending,
    GiveUp,
    Progress,
    Rest,
    RestartState,
    cause_of_start,
    ending_of,
    next_step,
)
from mcproxy.upstream.supervision.server_limits import (
    Condition,
    Connector,
    Kill,
    ServerLimits,
    ServerProcess,
    Surroundings,
    measure,
)
from mcproxy.upstream.supervision.tool_cache import Offer, by_name, offer_of
from mcproxy.wire.message import Notification

START_WAIT_SECS = 30.0  # a call that arrives while the server starts waits this long at most
START_WAIT_SHARE = 0.8  # and leaves its script a fifth of the time to do without it

log = logging.getLogger(__name__)


class Supervisor:
    """Keeps one server running while ``run`` runs; ``calls`` is what can be asked of it. As
    ``Served`` has them: ``session``, ``tools``, ``times``."""

    def __init__(
        self, name: str, way: Connector, terms: ServerLimits, around: Surroundings
    ) -> None:
        self.name = name
        title = f"an instance of {name}" if way.policy.on_demand else name
        self._log = ServerLog(log, name, title)
        self._way, self._terms, self._around = way, terms, around
        self.times = terms.times
        self._state: ServerState = "starting"
        self._offer = around.memory.read() or Offer()
        self._listed = self._offer.tools_of(name)
        self.tools = by_name(self._listed)
        self.session: ServerSession | None = None
        self._child: ServerProcess | None = None
        self._last_error: str | None = None
        self._cause: Cause | None = None
        self._restarts = RestartState()
        self._ready_at: float | None = None
        self._start: Progress | None = None
        self._fault: str | None = None  # of the gateway, the last that was logged whole
        self._order: Literal["renew", "rest"] | None = None
        self._settled = asyncio.Event()
        self._decided = asyncio.Event()
        self._wanted = asyncio.Event()
        self._attention = asyncio.Event()
        self._guard = CallGuard(self)
        self.calls = ServerCalls(name, self._guard, self)

    @property
    def state(self) -> ServerState:
        """What it is doing."""
        return self._state

    @property
    def view(self) -> ServerView:
        """What the server offers now; its last known tools while it is down."""
        description, known = self._terms.description or self._offer.description, self._offer
        return ServerView(self.name, self._state, description, self._listed, known.capabilities)

    @property
    def health(self) -> ServerHealth:
        """How the server is."""
        pid, rss_mb = (self._child.pid, self._child.rss_mb) if self._child else (None, None)
        tools, total = len(self.tools), self._restarts.total
        late = self._still_starting
        error, cause = (late, None) if late else (self._last_error, self._cause)
        return ServerHealth(self._state, tools, total, pid, error, rss_mb=rss_mb, cause=cause)

    @property
    def asleep(self) -> bool:
        """Whether it neither runs, nor starts, nor stops."""
        return self._state == "idle" and self._child is None

    async def settled(self) -> None:
        """Return once the present start has succeeded or failed."""
        await self._settled.wait()

    async def decided(self) -> None:
        """Return once the server has been ready, or was given up."""
        await self._decided.wait()

    async def drained(self) -> None:
        """Return once no call is under way."""
        await self._guard.empty()

    async def answers(self, secs: float) -> bool:
        """Whether the server reacts; one that sleeps is well."""
        if self.session:
            return await self.session.answers(secs)
        return self._state == "idle"

    def adopt(self, way: Connector, terms: ServerLimits) -> None:
        """Live by other terms from now on, and go that way when it starts again."""
        self._way, self._terms, self.times = way, terms, terms.times

    def revive(self) -> None:
        """Start the server if it was given up, with a clean slate."""
        if self._state == "failed":
            self._wake_up()

    def renew(self) -> None:
        """Start the server anew, or at all if it does not run; one that is starting goes on."""
        if self._state in ("failed", "idle"):
            self._wake_up()
        elif self._state == "ready" and not self._order:
            self._give("renew")

    def tend(self, table: Table) -> None:
        """Look after a server that is ready: its memory, its age, and whether anybody needs it. Of
        one that takes long to start, tell the log how far it is."""
        held = self._child.look(table) if self._child else 0.0
        if self._still_starting and self._start and self._start.due(time.monotonic()):
            self._log.info("%s", self._still_starting)
        if self._state != "ready" or self._child is None or self._ready_at is None:
            return
        age = time.monotonic() - self._ready_at
        condition = Condition(held, age, min(age, self._guard.idle_secs), self._guard.calls)
        match measure(self._terms.upkeep, condition):
            case Kill(reason=reason):
                self._log.warning("stopped: %s", reason)
                self._child.kill(reason)
            case ("renew" | "rest") as order:
                self._give(order)

    def _give(self, order: Literal["renew", "rest"]) -> None:
        self._order = order
        self._let_go("idle" if order == "rest" else "restarting")
        self._attention.set()

    async def run(self) -> None:
        """Keep the server up until cancelled."""
        try:
            while True:
                ending = await self._live()
                checkpoint()
                if self._order:
                    await self._obey()
                else:
                    await self._come_back(ending)
        finally:
            self._state = "failed"  # whoever still waits is told
            self._last_error = self._last_error or "it was stopped"
            self._settled.set()

    @property
    def _still_starting(self) -> str | None:
        """How far a start is; None where the server does not start, or has no process yet."""
        if self._child is None or self._start is None or self._ready_at is not None:
            return None
        return self._start.words(time.monotonic(), self._child.last_words)

    async def started(self, ref: ToolRef, exchange: Exchange) -> ServerSession:
        """Wait, bounded, for a session; one that sleeps starts. Raises ServerDown."""
        if self._state == "idle":
            self._wake_up()
        if not self.session and self._state in ("starting", "restarting"):
            await self._start_settled(ref, exchange.clock)
        if not self.session:
            raise ServerDown(ref, self._last_error or f"it is {self._state}")
        return self.session

    async def _start_settled(self, ref: ToolRef, clock: Clock | None) -> None:
        """Wait for the start, but not so long that the script behind the call ends with it."""
        left = clock.secs_left() if clock else None
        secs = START_WAIT_SECS if left is None else min(START_WAIT_SECS, left * START_WAIT_SHARE)
        try:
            async with asyncio.timeout(secs):
                await self._settled.wait()
        except TimeoutError as error:
            how = self._still_starting or f"it is still starting; {secs:.0f} s were waited"
            raise ServerDown(ref, how) from error

    async def _live(self) -> Ending:
        """One life of the server, from its start to its end."""
        self._settled.clear()
        self._wanted.clear()
        self._ready_at = None
        try:
            async with (
                self._around.turns.turn() as leave,
                self._way.connect(self._wake) as (session, child),
            ):
                self._child, self._start = child, Progress(time.monotonic())
                await session.open(self._terms.start_secs, dict(self._around.extensions))
                await self._dwell(session)
                self._publish(session, await session.list_tools())
                leave()
                await self._keep(session)
        except TimeoutError:
            self._last_error, self._cause = self._too_late, "too_slow"
        except OSError as error:
            ending, self._last_error = ending_of(error)
            self._cause = cause_of_start(error)
            return ending
        except HookFailed as error:
            self._last_error, self._cause = str(error), None
            return "scarce" if error.scarce else "down"
        except (HandshakeFailed, PeerClosed, RpcError) as error:
            self._last_error, self._cause = str(error), cause_of(error)
        except Exception as error:
            self._last_error, self._cause = f"a fault of the gateway: {error!r}", None
            if self._last_error != self._fault:  # the same one, met again, says nothing new
                self._fault = self._last_error
                log.exception("%s: %s", self.name, self._fault, extra=self._log.extra)
        finally:
            self.session = self._child = self._start = None
            if self._ready_at is None:
                self._settled.set()  # the start failed; who waits for it is told
        return "down"

    @property
    def _too_late(self) -> str:
        words = self._child.last_words if self._child else ""
        last = f"; it last wrote: {words}" if words else ""
        secs = self._terms.start_secs
        return f"it started but did not answer in time (start_timeout_secs: {secs:g}){last}"

    async def _dwell(self, session: ServerSession) -> None:
        """Give a server that registers its tools late the time that it is said to need."""
        if not self._terms.dwell_secs:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._terms.dwell_secs):
                while not session.closed:
                    self._attention.clear()
                    await self._attention.wait()

    def _publish(self, session: ServerSession, tools: Sequence[Tool]) -> None:
        before, info = self.view, session.info
        self._offer = offer_of(tools, info.capabilities, info.instructions or info.name)
        self._listed, self.tools = tuple(tools), by_name(tools)
        self._around.memory.write(self._offer)
        if self._ready_at is None:
            self._ready_at = time.monotonic()
            self._guard.reset()
            took = self._start.secs(self._ready_at) if self._start else 0.0
            about = f"{info.name} {info.version}".strip()
            self._log.info("ready in %.1f s: %s, %d tools", took, about, len(tools))
        self.session = session
        self._last_error = self._cause = None
        if self.view != before:
            self._around.on_change("tools_changed")
        if self._state != "ready":
            self._become("ready")
        self._settled.set()

    async def _keep(self, session: ServerSession) -> None:
        """Renew the tools whenever they change; ends by PeerClosed, or when told to."""
        while not self._order:
            self._attention.clear()
            if session.take_fresh():
                await self._greet(session)
            if session.closed:
                end = session.end
                raise PeerClosed(end.reason, cause=end.cause)  # others read the stored one
            if session.tools_changed:
                await self._refresh(session)
            else:
                await self._attention.wait()

    async def _refresh(self, session: ServerSession) -> None:
        """List the tools again; a server that fails at that keeps those that it had."""
        try:
            tools = await session.list_tools()
        except (HandshakeFailed, RpcError, TimeoutError) as error:
            self._log.warning("its changed tools cannot be listed: %r", error)
        else:
            if not self._order:  # it is being stopped: its session is not to be found again
                self._publish(session, tools)

    async def _greet(self, session: ServerSession) -> None:
        """Take up with a new session what was agreed with the last one."""
        await self.calls.renew(session)
        for kind in ("prompts", "resources"):
            if kind in session.info.capabilities:
                note = Notification(f"notifications/{kind}/list_changed")
                self._around.on_event(self.name, note)

    def _wake(self, session: ServerSession) -> None:
        """Look after the session; where it is gone, let no call find it any more."""
        self._attention.set()
        for event in session.take_events():
            self._around.on_event(self.name, event)
        if session.closed and self.session is session:
            self._let_go("idle" if self._way.policy.on_demand else "restarting")

    def _let_go(self, state: ServerState) -> None:
        """Take the session from the guard; calls wait for the next one."""
        self.session = None
        self._settled.clear()
        self._become(state)

    async def _obey(self) -> None:
        """The server has ended as it was told to; start it again when that is due."""
        order, self._order = self._order, None
        self._log.info("%s", "starts anew" if order == "renew" else "unused, stopped")
        if order == "rest":
            await self._rest()

    async def _rest(self) -> None:
        """Stay down until somebody calls, who may have come while the process ended."""
        if not self._wanted.is_set():
            self._become("idle")
            await self._wanted.wait()

    async def _come_back(self, ending: Ending) -> None:
        """The server has ended by itself; wait until it is to be started again."""
        up_secs = 0.0 if self._ready_at is None else time.monotonic() - self._ready_at
        step = next_step(
            self._restarts, uptime_secs=up_secs, ending=ending, policy=self._way.policy
        )
        if isinstance(step, Rest):
            self._log.warning("down until its next call: %s", self._last_error)
            await self._rest()
            return
        if isinstance(step, GiveUp):
            self._log.error("given up, %s: %s", step.reason, self._last_error)
            self._become("failed")
            self._settled.set()
            await self._wanted.wait()
            self._restarts = RestartState(total=self._restarts.total)
            return
        self._restarts = step.state
        self._log.warning("restart in %g s: %s", step.delay, self._last_error)
        self._become("restarting")
        await asyncio.sleep(step.delay)

    def _wake_up(self) -> None:
        self._settled.clear()
        self._become("starting")
        self._wanted.set()

    def _become(self, state: ServerState) -> None:
        self._state = state
        if state in ("ready", "failed"):
            self._decided.set()
        self._around.on_change("server_health")
