"""What the transports over HTTP share: the tasks of one connection, and who hears from it.

A request over HTTP is a task of its own, so a connection is a handful of tasks that end with it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from mcproxy.errors import McproxyError
from mcproxy.wire.message import Message, Notification, Request
from mcproxy.wire.peer import Peer


class Tasks:
    """Tasks that are cancelled when their owner leaves, see ``running_tasks``."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run something beside the others."""
        task = self._group.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def cancel(self) -> None:
        """End them all."""
        for task in self._running:
            task.cancel()


@asynccontextmanager
async def running_tasks() -> AsyncIterator[Tasks]:
    """Tasks for as long as the block lasts; what the block raises comes out as it is."""
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        tasks = Tasks(group)
        try:
            yield tasks
        except (McproxyError, OSError) as error:
            failure = error  # a TaskGroup would wrap it, and who waits for it not find it
        finally:
            tasks.cancel()
    if failure:
        raise failure


@dataclass(frozen=True, slots=True)
class Line:
    """One connection: its peer, its tasks, where the server's own messages go.

    ``lose`` ends the connection with a reason.
    """

    name: str
    peer: Peer
    tasks: Tasks
    hear: Callable[[Request | Notification], None]
    lose: Callable[[str], None]


class Channel(Protocol):
    """A way to send messages; what comes back goes to the line's peer."""

    def post(self, message: Message, data: bytes) -> None:
        """Send a message, ``data`` in JSON, without waiting."""

    async def close(self) -> None:
        """Say goodbye, bounded in time."""
