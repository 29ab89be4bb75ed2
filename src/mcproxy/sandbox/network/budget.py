"""What the network use of one execution is bounded by. Time needs no bound of its own: connections
end with their execution.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from mcproxy.sandbox.network.dialling import SHARE
from mcproxy.sandbox.network.targets import Refused


@dataclass(frozen=True, slots=True)
class Caps:
    """Per execution. ``at_once`` is above what ``Limits.open_files`` lets a script have;
    ``moved_bytes`` counts both directions."""

    connections: int = 200
    at_once: int = 32
    moved_bytes: int = 256 << 20


class EgressBudget:
    """What is left for one execution, and its open connections; ``look_ups``: how many of names may
    be under way."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._connections = caps.connections
        self._bytes = caps.moved_bytes
        self.look_ups = asyncio.Semaphore(SHARE)
        self._tasks: set[asyncio.Task[object]] = set()

    @contextlib.contextmanager
    def connection(self) -> Iterator[None]:
        """Count the running task as one connection, ended by ``close``. Raises Refused."""
        if not self._connections:
            raise Refused(429, f"a script may open {self._caps.connections} connections")
        if len(self._tasks) >= self._caps.at_once:
            raise Refused(429, f"a script may have {self._caps.at_once} connections at once")
        self._connections -= 1
        task = asyncio.current_task()
        assert task  # noqa: S101 - a coroutine of this loop
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def spend(self, count: int) -> None:
        """Count bytes that were moved. Raises Refused."""
        self._bytes -= count
        if self._bytes < 0:
            raise Refused(429, f"a script may move {self._caps.moved_bytes} bytes")

    def close(self) -> None:
        """The execution has ended: so do its connections."""
        for task in self._tasks:
            task.cancel()
