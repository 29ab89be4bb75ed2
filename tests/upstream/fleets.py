"""Fleets of real child processes, for tests."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path

import psutil
from msgspec.structs import replace

from mcproxy.config.load import Loaded, load_document
from mcproxy.exchange import NOBODY, Exchange
from mcproxy.types import Json, JsonObject, ServerHealth, ToolRef
from mcproxy.upstream.fleet import Fleet, wanted

SERVERS = Path(__file__).parents[1] / "servers"
WAIT_SECS = 20.0
LOOK_SECS = 0.05


def server(script: str, *options: str, **more: Json) -> JsonObject:
    """The definition of one of the servers under ``tests/servers``."""
    return {"command": sys.executable, "args": [str(SERVERS / script), *options], **more}


BEHIND: ContextVar[Exchange] = ContextVar("behind", default=NOBODY)
"""The way back to the client on whose behalf a test calls."""


class Watched:
    """A running fleet, and a way to wait for what it becomes."""

    def __init__(self, document: JsonObject, state: Path) -> None:
        self._state = state
        self._changed = asyncio.Event()
        self.fleet = Fleet(self._loaded(document), lambda _: self._changed.set())

    def apply(self, **servers: JsonObject) -> None:
        """Have the fleet follow other definitions."""
        self.fleet.apply(wanted(self._loaded({"servers": {**servers}})))

    def _loaded(self, document: JsonObject) -> Loaded:
        loaded = load_document(document)
        environment = {"XDG_STATE_HOME": str(self._state), **loaded.environment}
        return replace(loaded, environment=environment)

    async def until(self, name: str, condition: Callable[[ServerHealth], bool]) -> ServerHealth:
        """Wait, bounded, until a server is as the condition wants it."""
        async with asyncio.timeout(WAIT_SECS):
            while not condition(health := self.fleet.health()[name]):
                self._changed.clear()
                await self._changed.wait()
        return health

    async def call(self, server: str, tool: str, **arguments: Json) -> JsonObject:
        """Call a tool on behalf of the client in ``BEHIND``; its whole result."""
        result = await self.fleet.call(BEHIND.get(), ToolRef(server, tool), arguments)
        decoded: JsonObject = json.loads(result.raw)
        return decoded


@asynccontextmanager
async def running(**servers: JsonObject) -> AsyncIterator[Watched]:
    """Run a fleet; it is ready or failed when the block begins, and gone when it ends."""
    with tempfile.TemporaryDirectory() as state:
        async with running_document({"servers": {**servers}}, Path(state)) as watched:
            yield watched


@asynccontextmanager
async def running_document(document: JsonObject, state: Path) -> AsyncIterator[Watched]:
    """The same for a whole configuration; ``state`` is where servers' tools are remembered."""
    watched = Watched(document, state)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watched.fleet.run())
        try:
            async with asyncio.timeout(WAIT_SECS):
                await watched.fleet.settled()
            yield watched
        finally:
            task.cancel()


async def until_gone(*pids: int) -> None:
    """Wait, bounded, until these processes have ended.

    By looking only: to wait for a child would take its exit status away from the event loop.
    """
    async with asyncio.timeout(WAIT_SECS):
        while any(psutil.pid_exists(pid) for pid in pids):  # noqa: ASYNC110  nobody tells of it
            await asyncio.sleep(LOOK_SECS)
