"""What can be asked of one server: its tools, its lists, its resources, each through the guard, by
which calls are counted, bounded in time, and errors translated.

What stands behind the guard may change between two calls (a restart, a server that sleeps): it is
looked at with each. A server that has fallen silent is closed off by a circuit breaker.
Only silence counts (a call that timed out, a connection that broke); whatever the server answers,
an error too, shows that it lives. While the breaker is open, one call in ``OPEN_SECS`` is let
through to see whether the server is back. Nothing here knows whether the server runs, or of its
restarts.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.call_errors import CallError, CallTimeout, ServerDown, UpstreamError
from mcproxy.cancellation import Clock
from mcproxy.errors import PeerClosed, RpcError
from mcproxy.exchange import NOBODY, Exchange, Tenant
from mcproxy.types import Json, JsonObject, Tool, ToolRef, ToolResult
from mcproxy.upstream.protocol.session import ServerSession
from mcproxy.wire.message import UNREADABLE

THRESHOLD = 5  # calls in a row without an answer: more than bad luck with one slow tool
OPEN_SECS = 10.0  # a caller that keeps trying costs the server one call in this time
PING_SECS = 2.0  # a server that is merely busy answers within this time, if it can at all
WATCH_SECS = 5.0  # a subscription is renewed within this time, or is lost

T = TypeVar("T")
Work: TypeAlias = Callable[[ServerSession, Exchange], Awaitable[T]]


class CallTimes(msgspec.Struct, frozen=True):
    """How long a call may take, in seconds: any tool, some by name, and at most ``bound``."""

    default: float
    by_tool: Mapping[str, float]
    bound: float | None = None

    def of(self, tool: str) -> float:
        """The limit of one tool."""
        secs = self.by_tool.get(tool, self.default)
        return secs if self.bound is None else min(secs, self.bound)


class Breaker(msgspec.Struct, frozen=True):
    """How many calls in a row got no answer; refuses until ``until`` (seconds of the clock)."""

    failures: int = 0
    until: float = 0.0

    @property
    def tripped(self) -> bool:
        """Whether calls are refused."""
        return self.failures >= THRESHOLD

    def refuses_for(self, now: float) -> float:
        """Seconds until the next call is let through, 0 for this one."""
        return max(0.0, self.until - now) if self.tripped else 0.0

    def admitted(self, now: float) -> "Breaker":
        """A call was let through; where it is the one that tries, the others wait for it."""
        return replace(self, until=now + OPEN_SECS) if self.tripped else self

    def failed(self, now: float) -> "Breaker":
        """A call got no answer."""
        return Breaker(self.failures + 1, now + OPEN_SECS)


CLOSED = Breaker()


class GuardedCall(msgspec.Struct, frozen=True):
    """What is called, within how many seconds, and the way back to the client behind it; the time
    during which the client is asked does not count. ``tool``: its definition, where it is one."""

    ref: ToolRef
    secs: float
    exchange: Exchange
    tool: Mapping[str, Json] | None = None

    @property
    def safe(self) -> bool:
        """Whether it may be done twice."""
        return self.tool is None or mcp.is_repeatable(self.tool.get("annotations"))


class Served(Protocol):
    """A server as it is now: its session, where it has one, its tools, how long calls may take."""

    session: ServerSession | None
    tools: Mapping[str, Tool]
    times: CallTimes

    async def started(self, ref: ToolRef, exchange: Exchange) -> ServerSession:
        """Wait, bounded, for a session. Raises ServerDown."""


class CallGuard:
    """The calls of one server."""

    def __init__(self, server: Served) -> None:
        self._server = server
        self._breaker = CLOSED
        self._last_use = time.monotonic()
        self._empty: asyncio.Event | None = None  # there while somebody waits for it
        self.calls = 0

    @property
    def idle_secs(self) -> float:
        """Since the last call began or ended."""
        return 0.0 if self.calls else time.monotonic() - self._last_use

    async def empty(self) -> None:
        """Return once no call is under way."""
        while self.calls:
            self._empty = self._empty or asyncio.Event()
            await self._empty.wait()

    def reset(self) -> None:
        """There is a new session: what the last one did does not count against it."""
        self._breaker = CLOSED
        self._last_use = time.monotonic()

    async def through(self, call: GuardedCall, work: Work[T]) -> T:
        """Do ``work`` with the session. Raises ServerDown, CallTimeout or UpstreamError."""
        self.calls += 1
        try:
            server = self._server
            session = server.session or await server.started(call.ref, call.exchange)
            if self._breaker is not CLOSED:
                self._admit(call.ref)
            clock = Clock(call.exchange.clock)
            try:
                async with clock.limit(call.secs):
                    result = await work(session, replace(call.exchange, clock=clock))
            except (TimeoutError, PeerClosed, RpcError, *UNREADABLE) as error:
                raise await self._failed(call, session, error) from error
            self._breaker = CLOSED
            return result
        finally:
            self.calls -= 1
            self._last_use = time.monotonic()
            if self._empty and not self.calls:
                self._empty.set()
                self._empty = None

    async def _failed(
        self, call: GuardedCall, session: ServerSession, error: Exception
    ) -> CallError:
        """What a call's failure is to its caller, and what it says of the server."""
        ref, busy_secs = call.ref, error.retry_after if isinstance(error, PeerClosed) else None
        if isinstance(error, TimeoutError | PeerClosed) and busy_secs is None:
            await self._doubt(session)
        else:
            self._breaker = CLOSED  # it lives
        match error:
            case TimeoutError():
                return CallTimeout(ref, call.secs, safe=call.safe)
            case PeerClosed(retry_after=None):
                return ServerDown(ref, error.reason, unanswered=True)
            case PeerClosed():
                return ServerDown(ref, error.reason, how="is busy", retry_after=busy_secs)
            case RpcError():
                return UpstreamError(ref, error)
        odd = RpcError(RpcError.INTERNAL_ERROR, f"its answer is odd: {error}")
        return UpstreamError(ref, odd)

    def _admit(self, ref: ToolRef) -> None:
        now = time.monotonic()
        secs = self._breaker.refuses_for(now)
        if secs:
            failures = self._breaker.failures
            text = f"its last {failures} calls got no answer; it is tried again in {secs:.0f} s"
            raise ServerDown(ref, text, retry_after=secs)
        self._breaker = self._breaker.admitted(now)

    async def _doubt(self, session: ServerSession) -> None:
        """A call got no answer; before others are refused for it, ask whether anybody is there."""
        failed = self._breaker.failed(time.monotonic())
        if failed.tripped and await session.answers(PING_SECS):
            failed = CLOSED
        self._breaker = failed


class ServerCalls:
    """The requests to the server ``name``, through its guard."""

    def __init__(self, name: str, guard: CallGuard, server: Served) -> None:
        self._name, self._guard, self._server = name, guard, server
        self._watched: dict[str, bool] = {}  # False: it is not certain that the server knows

    async def call(
        self, exchange: Exchange, ref: ToolRef, arguments: Mapping[str, Json]
    ) -> ToolResult:
        """Call one of the server's tools by its exact name.

        Raises ServerDown, CallTimeout or UpstreamError.
        """
        tool = self._server.tools.get(ref.tool)
        definition = tool.definition if tool else {}

        def work(session: ServerSession, exchange: Exchange) -> Awaitable[ToolResult]:
            return session.call_tool(exchange, ref.tool, arguments, definition)

        bound = GuardedCall(ref, self._server.times.of(ref.tool), exchange, definition)
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
        return GuardedCall(ToolRef(self._name, method), self._server.times.of(method), exchange)

    async def renew(self, session: ServerSession) -> None:
        """Watch with a new session what was watched with the last one. Raises PeerClosed."""
        for uri in sorted(uri for uri, certain in self._watched.items() if certain):
            with contextlib.suppress(RpcError, TimeoutError):
                async with asyncio.timeout(WATCH_SECS):
                    await session.watch(NOBODY, uri, wanted=True)
