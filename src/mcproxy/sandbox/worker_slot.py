"""A worker with what belongs to it on the host: its scratch folder, its line to the proxy.

Attends to both while a script runs, and clears both away afterwards.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from mcproxy.sandbox import scratch
from mcproxy.sandbox.zygote_process import EXIT_SECS, Exit, Worker

CLEAR_SECS = 10.0  # for a killed worker to end and its folder to be removed

Over = Literal["memory", "scratch"]  # what is bounded by looking


class Dials(Protocol):
    """What carries the connections of a worker."""

    def admitted(self, token: str) -> AbstractContextManager[None]:
        """Within it, serve the worker that shows ``token`` at the listener it shares."""

    async def serve_dials(self, dial: socket.socket) -> None:
        """Answer each byte on ``dial`` with a connected AF_UNIX stream (SCM_RIGHTS)."""


@dataclass(slots=True)
class WorkerSlot:
    """One worker. ``over``: the limit for which it was killed, if it was."""

    worker: Worker
    folder: Path | None = None
    dial: socket.socket | None = None
    token: str | None = None
    over: Over | None = None

    async def fate(self) -> Exit | None:
        """How the worker ended; None where nobody can say."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_SECS):
                return await asyncio.shield(self.worker.exited)
        return None

    @asynccontextmanager
    async def attended(self, scratch_bytes: int, dials: Dials | None) -> AsyncIterator[None]:
        """While the script runs: bound its scratch folder, carry its connections."""
        if self.folder is None and self.dial is None:
            with dials.admitted(self.token) if self.token and dials else nullcontext():
                yield
            return
        async with asyncio.TaskGroup() as group:
            tasks = []
            if self.folder:
                tasks.append(group.create_task(self._watch(self.folder, scratch_bytes)))
            if self.dial and dials:
                tasks.append(group.create_task(dials.serve_dials(self.dial)))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def clear_away(self) -> None:
        """Kill the worker; where it has a folder, wait for its end and remove that."""
        self.worker.close()
        if self.dial:
            self.dial.close()
        if self.folder:
            await self.fate()
            await asyncio.to_thread(scratch.remove, self.folder)

    async def _watch(self, folder: Path, limit_bytes: int) -> None:
        while not scratch.is_over(folder, limit_bytes):  # noqa: ASYNC110 - disks tell nobody
            await asyncio.sleep(scratch.LOOK_EVERY_SECS)
        self.over = "scratch"
        self.worker.kill()
