"""A store on this machine: a file used by one thread beside the event loop, or memory.

What waits when the thread comes round is done in one transaction, so that calls side by side cost
one commit; what nobody waits for goes with the next that is waited for, and what waits for the
disk is done when the answers are out. Where the file fails, at the start or later, one warning is
logged and memory takes over.
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

from mcproxy import cancellation
from mcproxy.store.interface import Medium, StoreBounds, Tables, Update
from mcproxy.store.memory_tables import MemoryTables
from mcproxy.store.sqlite_tables import SqliteTables

PURGE_SECS = 60.0  # how long what is past its time may still take room
_CLOSE_SECS = 10.0  # for what is still to be written; a transaction takes milliseconds
_ANSWER_SECS = 30.0  # of a medium that neither works nor fails; longer than it waits for others
# How long what nobody waits for may wait for something to go with: to wake the thread costs more
# than to write. A kill of the process within this time loses it.
LATER_SECS = 0.05
_BATCH = 256  # operations in one transaction, so that the first need not wait for very many
_FAULTS = (OSError, sqlite3.Error)

log = logging.getLogger(__name__)
T = TypeVar("T")
_Work: TypeAlias = Callable[[Tables], object]


class _Operation:
    """One operation, and who waits for what it gives; None: nobody does."""

    __slots__ = ("_fault", "_value", "_work", "answer")

    def __init__(self, work: _Work, answer: asyncio.Future[object] | None = None) -> None:
        self._work, self.answer = work, answer
        self._value: object = None
        self._fault: Exception | None = None

    def run(self, tables: Tables) -> None:
        """Do it, in the thread. Raises what the medium raises; what else goes wrong is the
        caller's."""
        self._value = self._fault = None
        try:
            self._value = self._work(tables)
        except _FAULTS:
            raise
        except Exception as fault:  # noqa: BLE001  # of a change that the caller handed over
            self._fault = fault

    def settle(self) -> None:
        """Hand over what it gave, in the loop."""
        if self.answer is None or self.answer.done():  # cancelled
            return
        if self._fault:
            self.answer.set_exception(self._fault)
        else:
            self.answer.set_result(self._value)

    def expire(self) -> None:
        """Nobody waits for longer."""
        if self.answer and not self.answer.done():
            self.answer.set_exception(TimeoutError())


def _settle(operations: Sequence[_Operation]) -> None:
    for operation in operations:
        operation.settle()


class LocalStore:
    """A ``Store``; ``path`` None keeps everything in memory. Use it as a context manager: on
    leaving, what was asked for is written."""

    def __init__(self, path: Path | None, bounds: StoreBounds) -> None:
        self._path, self._bounds = path, bounds
        self._asked: queue.SimpleQueue[Sequence[_Operation] | None] = queue.SimpleQueue()
        self._later: list[_Operation] = []
        self._flushing: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ask()
        self._asked.put(None)
        await cancellation.finish(self._ended.wait(), _CLOSE_SECS)

    async def put(self, owner: str, key: str, value: bytes, ttl_secs: float) -> None:
        """As ``Store`` says."""
        await self._do(lambda tables: tables.put(owner, key, value, ttl_secs))

    async def get(self, owner: str, key: str) -> bytes | None:
        """As ``Store`` says."""
        return await self._do(lambda tables: tables.get(owner, key))

    async def remove(self, owner: str, key: str) -> bool:
        """As ``Store`` says."""
        return await self._do(lambda tables: tables.remove(owner, key))

    async def keys(self, owner: str, prefix: str) -> list[str]:
        """As ``Store`` says."""
        return await self._do(lambda tables: tables.keys(owner, prefix))

    async def append(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> None:
        """As ``Store`` says."""
        await self._do(lambda tables: tables.append(owner, key, entry, ttl_secs))

    def append_later(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> None:
        """As ``Store`` says."""
        self._later.append(_Operation(lambda tables: tables.append(owner, key, entry, ttl_secs)))
        if self._flushing is None:
            self._flushing = self._loop.call_later(LATER_SECS, self._ask)

    async def entries(self, owner: str, key: str) -> list[bytes]:
        """As ``Store`` says."""
        return await self._do(lambda tables: tables.entries(owner, key))

    async def update(self, owner: str, key: str, change: Update, ttl_secs: float) -> bytes:
        """As ``Store`` says."""
        return await self._do(lambda tables: tables.update(owner, key, change, ttl_secs))

    async def _do(self, work: Callable[[Tables], T]) -> T:
        answer: asyncio.Future[object] = self._loop.create_future()
        operation = _Operation(work, answer)
        self._later.append(operation)
        self._ask()
        # By itself: with ``asyncio.timeout`` an operation would cost the loop a sixth more.
        limit = self._loop.call_later(_ANSWER_SECS, operation.expire)
        try:
            return await answer  # type: ignore[return-value]  # what ``work`` gave
        finally:
            limit.cancel()

    def _ask(self) -> None:
        """Wake the thread for all that waits to be asked."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._later:
            self._asked.put(self._later)
            self._later = []

    def _run(self) -> None:
        """The thread: everything below runs in it."""
        try:
            self._serve()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop did not wait for it
                self._loop.call_soon_threadsafe(self._ended.set)

    def _serve(self) -> None:
        medium: Medium | None = None  # until something is to be kept
        purge_at = time.monotonic() + PURGE_SECS
        going = True
        while going:
            batch, going = self._next(max(purge_at - time.monotonic(), 0))
            works: list[_Work] = [asked.run for asked in batch]
            if not going or time.monotonic() >= purge_at:
                purge_at = time.monotonic() + PURGE_SECS
                works += [lambda tables: tables.purge()] if medium or works else []
            if works:
                medium = self._done(medium or self._opened(), works)
            self._tell(batch)
            medium = self._tidied(medium) if medium else None
        if medium:
            medium.close()

    def _tell(self, batch: Sequence[_Operation]) -> None:
        """Hand over what these gave; nobody is left to hear it where the loop has ended."""
        awaited = [operation for operation in batch if operation.answer is not None]
        if awaited:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_settle, awaited)

    def _next(self, secs: float) -> tuple[list[_Operation], bool]:
        """What waits, within ``secs``; and whether to go on after it."""
        batch: list[_Operation] = []
        try:
            asked = self._asked.get(timeout=secs)
        except queue.Empty:
            return batch, True
        while asked is not None:
            batch += asked
            if len(batch) >= _BATCH or self._asked.empty():
                return batch, True
            asked = self._asked.get_nowait()
        return batch, False

    def _opened(self) -> Medium:
        if self._path is None:
            return MemoryTables(self._bounds)
        try:
            return SqliteTables(self._path, self._bounds)
        except _FAULTS as fault:
            return self._memory_instead(fault)

    def _done(self, medium: Medium, works: list[_Work]) -> Medium:
        """Do these together; gives where to go on, which is memory once the file has failed."""
        try:
            with medium.transaction():
                for work in works:
                    work(medium)
        except _FAULTS as fault:
            medium.close()
            return self._done(self._memory_instead(fault), works)
        return medium

    def _tidied(self, medium: Medium) -> Medium:
        """Gives where to go on."""
        try:
            medium.tidy()
        except _FAULTS as fault:
            medium.close()
            return self._memory_instead(fault)
        return medium

    def _memory_instead(self, fault: Exception) -> MemoryTables:
        log.warning(
            "store: %s cannot be used (%s); what scripts leave for later is kept in memory until "
            "the next start. Make the file writable, or move it away if it is damaged",
            self._path,
            fault,
        )
        return MemoryTables(self._bounds)
