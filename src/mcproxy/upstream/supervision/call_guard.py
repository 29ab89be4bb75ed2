"""The guard of all calls to one server: counted, bounded in time, errors translated.

What stands behind it may change between two calls (a restart, a server that sleeps); who gives the
session is handed in. A server that has fallen silent is closed off by a circuit breaker. Only
silence counts (a call that timed out, a connection that broke); whatever the server answers, an
error too, shows that it lives. While the breaker is open, one call in ``OPEN_SECS`` is let through
to see whether the server is back.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from mcproxy.errors import CallTimeout, PeerClosed, RpcError, ServerDown, UpstreamError
from mcproxy.exchange import Exchange
from mcproxy.patience import Clock
from mcproxy.types import ToolRef
from mcproxy.upstream.protocol.session import ServerSession
from mcproxy.wire.message import UNREADABLE

THRESHOLD = 5  # calls in a row without an answer: more than bad luck with one slow tool
OPEN_SECS = 10.0  # a caller that keeps trying costs the server one call in this time


@dataclass(frozen=True, slots=True)
class Breaker:
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


PING_SECS = 2.0  # a server that is merely busy answers within this time, if it can at all

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GuardedCall:
    """What is called, within how many seconds, and the way back to the client behind it; the time
    during which the client is asked does not count. ``safe``: it may be done twice."""

    ref: ToolRef
    secs: float
    exchange: Exchange
    safe: bool = True


Work: TypeAlias = Callable[[ServerSession, Exchange], Awaitable[T]]


class CallGuard:
    """The calls of one server. ``session`` waits, bounded, for a session; it raises ServerDown."""

    def __init__(self, session: Callable[[ToolRef, Exchange], Awaitable[ServerSession]]) -> None:
        self._session = session
        self._breaker = CLOSED
        self._last_use = time.monotonic()
        self._empty = asyncio.Event()
        self._empty.set()
        self.calls = 0

    @property
    def idle_secs(self) -> float:
        """Since the last call began or ended."""
        return 0.0 if self.calls else time.monotonic() - self._last_use

    async def empty(self) -> None:
        """Return once no call is under way."""
        await self._empty.wait()

    def reset(self) -> None:
        """There is a new session: what the last one did does not count against it."""
        self._breaker = CLOSED
        self._last_use = time.monotonic()

    async def through(self, call: GuardedCall, work: Work[T]) -> T:
        """Do ``work`` with the session. Raises ServerDown, CallTimeout or UpstreamError."""
        ref, clock = call.ref, Clock()
        with self._counted():
            session = await self._session(ref, call.exchange)
            self._admit(ref)
            try:
                async with clock.limit(call.secs):
                    result = await work(session, call.exchange.within(clock))
            except TimeoutError as error:
                await self._doubt(session)
                raise CallTimeout(ref, call.secs, safe=call.safe) from error
            except PeerClosed as error:
                if error.retry_after is not None:
                    self._breaker = CLOSED  # it lives, and says when
                    raise ServerDown(
                        ref, error.reason, how="is busy", retry_after=error.retry_after
                    ) from error
                await self._doubt(session)
                raise ServerDown(ref, error.reason) from error
            except RpcError as error:
                self._breaker = CLOSED
                raise UpstreamError(ref, error) from error
            except UNREADABLE as error:
                odd = RpcError(RpcError.INTERNAL_ERROR, f"its answer is odd: {error}")
                raise UpstreamError(ref, odd) from error
            self._breaker = CLOSED
            return result

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self.calls += 1
        self._empty.clear()
        try:
            yield
        finally:
            self.calls -= 1
            self._last_use = time.monotonic()
            if not self.calls:
                self._empty.set()

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
