"""What the transports over HTTP share: the tasks of one connection, and who hears of its end.

A request over HTTP is a task of its own, so a connection is a handful of tasks that end with it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Protocol

import msgspec

from mcproxy.errors import McproxyError, PeerClosed
from mcproxy.types import Cause
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.wire.message import Message
from mcproxy.wire.peer import Peer, Unread

TOLD_AT_ONCE = 32  # messages without a reply on their way: each has a connection of its own

log = logging.getLogger(__name__)


class ConnectionTasks:
    """Tasks that are cancelled when their owner leaves, see ``running_tasks``."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run something beside the others. It may outlive the request that it is begun by, so it
        does not inherit its context."""
        task = self._group.create_task(work, context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def cancel(self) -> None:
        """End them all."""
        for task in self._running:
            task.cancel()


@asynccontextmanager
async def running_tasks(name: str) -> AsyncIterator[ConnectionTasks]:
    """Tasks of server ``name`` for as long as the block lasts; what the block raises comes out as
    it is.

    A fault of ours in one of the tasks ends the block with PeerClosed: it is this server that then
    does not work, not the gateway.
    """
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks = ConnectionTasks(group)
            try:
                yield tasks
            except (McproxyError, OSError) as error:
                failure = error  # a TaskGroup would wrap it, and who waits for it not find it
            finally:
                tasks.cancel()
    except ExceptionGroup as faults:
        ServerLog(log, name).exception("a fault in the transport")
        raise PeerClosed(f"a fault in the transport: {faults.exceptions[0]!r}") from faults
    if failure:
        raise failure


class Line(msgspec.Struct, frozen=True):
    """One connection: its peer and its tasks.

    ``lose`` ends it with a reason, ``renewed`` tells that the server knows nothing of what was
    said on it before.
    """

    name: str
    peer: Peer
    tasks: ConnectionTasks
    lose: Callable[[str, Cause | None], None]
    renewed: Callable[[], None]
    _unread: Unread = msgspec.field(default_factory=Unread)
    _turns: asyncio.Semaphore = msgspec.field(
        default_factory=lambda: asyncio.Semaphore(TOLD_AT_ONCE)
    )

    def tell(self, work: Coroutine[None, None, None], size: int) -> None:
        """Have ``work`` send what has no reply, of that size; a server that leaves too much of it
        is lost."""
        self._unread.add(size)
        if excess := self._unread.excess:
            self._unread.remove(size)
            work.close()
            self.lose(excess, None)
            return

        async def in_turn() -> None:
            try:
                async with self._turns:
                    await work
            finally:
                work.close()

        task = self.tasks.start(in_turn())
        task.add_done_callback(lambda _: self._unread.remove(size))


class HttpChannel(Protocol):
    """A way to send messages; what comes back goes to the line's peer."""

    def post(self, message: Message, data: bytes) -> None:
        """Send a message, ``data`` in JSON, without waiting."""

    async def close(self) -> None:
        """Say goodbye, bounded in time."""
