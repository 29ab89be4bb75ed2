"""What a handler may learn of the connection behind its request: that the client has left."""

import asyncio
from collections.abc import Coroutine
from typing import NoReturn, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")

UNWATCHED_SECS = 0.05  # most requests are answered by then, and need no task that waits beside them


async def disconnected(receive: Receive) -> None:
    """Return when the client has closed the connection; the body has been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_connected(receive: Receive, work: Coroutine[None, None, T]) -> T:
    """Do the work, which raises nothing, and stop it when the client leaves.

    Raises ClientDisconnect. The work has no task of its own, and whether the client is still there
    is asked from UNWATCHED_SECS on: this is on the way of every request.
    """
    leaving: list[asyncio.Task[NoReturn]] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            watch = asyncio.get_running_loop().call_later(
                UNWATCHED_SECS,
                lambda: leaving.append(tasks.create_task(_raise_when_gone(receive))),
            )
            try:
                result = await work
            finally:
                watch.cancel()
            for task in leaving:
                task.cancel()
    except* ClientDisconnect:
        pass
    else:
        return result
    raise ClientDisconnect


async def _raise_when_gone(receive: Receive) -> NoReturn:
    await disconnected(receive)
    raise ClientDisconnect
