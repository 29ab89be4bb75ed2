"""The time limit of a call, which does not run while a person, or a model, is asked on its behalf.

How long they may take is bounded by whoever asks them (``Exchange.ask``).
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from mcproxy.types import EXCHANGE, Exchange, JsonObject


@contextmanager
def patient(limit: asyncio.Timeout) -> Iterator[None]:
    """Within the block, stop the clock of ``limit`` whenever the client is asked something."""
    exchange = EXCHANGE.get()
    if exchange is None:
        yield
        return
    token = EXCHANGE.set(_patient(exchange, limit))
    try:
        yield
    finally:
        EXCHANGE.reset(token)


def _patient(exchange: Exchange, limit: asyncio.Timeout) -> Exchange:
    async def ask(method: str, params: JsonObject) -> JsonObject:
        now = asyncio.get_running_loop().time
        until = limit.when()
        if until is None:  # something else is being asked already
            return await exchange.ask(method, params)
        left = until - now()
        limit.reschedule(None)
        try:
            return await exchange.ask(method, params)
        finally:
            if not limit.expired():
                limit.reschedule(now() + left)

    return replace(exchange, ask=ask)
