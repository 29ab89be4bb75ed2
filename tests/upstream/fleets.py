"""Fleets of real child processes, for tests."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from mcproxy.config.load import load_document
from mcproxy.types import Json, JsonObject, ServerHealth, ToolRef
from mcproxy.upstream.fleet import Fleet

SERVERS = Path(__file__).parents[1] / "servers"
WAIT_SECS = 20.0


def server(script: str, *options: str, **more: Json) -> JsonObject:
    """The definition of one of the servers under ``tests/servers``."""
    return {"command": sys.executable, "args": [str(SERVERS / script), *options], **more}


class Watched:
    """A running fleet, and a way to wait for what it becomes."""

    def __init__(self, servers: dict[str, JsonObject]) -> None:
        loaded = load_document({"servers": {**servers}})
        self._changed = asyncio.Event()
        self.fleet = Fleet(loaded, self._changed.set)

    async def until(self, name: str, condition: Callable[[ServerHealth], bool]) -> ServerHealth:
        """Wait, bounded, until a server is as the condition wants it."""
        async with asyncio.timeout(WAIT_SECS):
            while not condition(health := self.fleet.health()[name]):
                self._changed.clear()
                await self._changed.wait()
        return health

    async def call(self, server: str, tool: str, **arguments: Json) -> JsonObject:
        """Call a tool; its whole result."""
        result = await self.fleet.call(ToolRef(server, tool), arguments)
        decoded: JsonObject = json.loads(result.raw)
        return decoded


@asynccontextmanager
async def running(**servers: JsonObject) -> AsyncIterator[Watched]:
    """Run a fleet; it is ready or failed when the block begins, and gone when it ends."""
    watched = Watched(servers)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watched.fleet.run())
        try:
            async with asyncio.timeout(WAIT_SECS):
                await watched.fleet.settled()
            yield watched
        finally:
            task.cancel()
