"""Time limits that stand still while a person, or a model, is asked on behalf of what they bound.

The limit of a call and the limit of a script are both of this kind, so that an answer that takes
its time costs neither. How long the answer may take is bounded by whoever asks (``Exchange.ask``).
Knows neither calls nor scripts.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from msgspec.structs import replace

from mcproxy.exchange import EXCHANGE, Exchange
from mcproxy.types import JsonObject

_LIMIT: ContextVar[asyncio.Timeout | None] = ContextVar("limit", default=None)


@asynccontextmanager
async def patient(secs: float) -> AsyncIterator[asyncio.Timeout]:
    """``asyncio.timeout`` of ``secs``, not counting the time while the client behind the
    ``EXCHANGE`` in force is asked something within the block. Raises TimeoutError."""
    async with asyncio.timeout(secs) as limit:
        exchange, clock = EXCHANGE.get(), _Clock(limit)
        token = EXCHANGE.set(_stopping(clock, exchange) if exchange else None)
        outer = _LIMIT.set(limit)
        try:
            yield limit
        finally:
            _LIMIT.reset(outer)
            EXCHANGE.reset(token)
            clock.over = True


def secs_left() -> float | None:
    """Until the limit in force runs out; None where there is none, or its clock stands still."""
    limit = _LIMIT.get()
    until = limit.when() if limit else None
    return None if until is None else until - asyncio.get_running_loop().time()


class _Clock:
    """The clock of one limit; it runs while none of the questions asked within it is open.

    ``over``: the block has been left. A question that is still open then moves nothing.
    """

    def __init__(self, limit: asyncio.Timeout) -> None:
        self._limit = limit
        self._open = 0
        self._left = 0.0
        self.over = False

    @contextmanager
    def stopped(self) -> Iterator[None]:
        now = asyncio.get_running_loop().time
        until = self._limit.when()
        if self._movable and until is not None:
            self._left = until - now()
            self._limit.reschedule(None)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            if self._movable and not self._open:
                self._limit.reschedule(now() + self._left)

    @property
    def _movable(self) -> bool:
        return not self.over and not self._limit.expired()


def _stopping(clock: _Clock, exchange: Exchange) -> Exchange:
    async def ask(method: str, params: JsonObject) -> JsonObject:
        with clock.stopped():
            return await exchange.ask(method, params)

    return replace(exchange, ask=ask)
