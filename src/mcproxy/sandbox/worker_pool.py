"""The workers of one profile: one zygote, a few workers ready, the next one on its way.

Heals itself: a dead zygote is replaced, with a bound on how often. It hands out workers that are
locked down and warm, and clears away what each leaves behind. Knows nothing of scripts, nor why the
walls are what they are; ``check`` judges each new zygote before it may serve.
"""

import asyncio
import contextlib
import secrets
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from mcproxy.cancellation import checkpoint, finish
from mcproxy.sandbox import cgroup
from mcproxy.sandbox.cgroup import MemoryGroup
from mcproxy.sandbox.jail.walls import Own, Walls
from mcproxy.sandbox.worker_slot import (
    Dials,
    ScratchFolders,
    Watched,
    WorkerSlot,
    most_kib,
    remove_folder,
)
from mcproxy.sandbox.zygote_process import Zygote, ZygoteFailed, ZygoteReady

STARTS, STARTS_SECS = 3, 10.0  # more zygotes than that within that time: something is wrong
CLOSE_SECS = 30.0  # for the end of a zygote with all its workers
REFILL_SECS = 0.02  # into a script that still runs: a short one has the processors for itself
_TOKEN_BYTES = 16

Check = Callable[[ZygoteReady, Callable[[], Awaitable[WorkerSlot]]], Awaitable[None]]


class EgressListener(Dials, Protocol):
    """The proxy through which scripts reach allowed hosts. Each call runs until it is cancelled."""

    async def serve_listener(self, listener: socket.socket) -> None:
        """Accept on a socket that listens inside the network namespace of the workers."""


class Lane:
    """Hands out workers with the given ``walls``; ``size`` of them are kept ready by ``serve``."""

    def __init__(
        self,
        walls: Walls,
        size: int,
        check: Check,
        tasks: asyncio.TaskGroup,
        egress: EgressListener | None,
    ) -> None:
        self._walls, self._size = walls, size
        self._check, self._tasks, self._egress = check, tasks, egress
        self._seats: deque[WorkerSlot] = deque()
        self._life: contextlib.AsyncExitStack | None = None
        self._zygote: Zygote | None = None
        self._folders: ScratchFolders | None = None
        self._group: MemoryGroup | None = None
        self._shares = 0  # of memory in the group, each for one process
        self._most_kib = 0  # of one worker; known once a zygote has started
        self._starting = asyncio.Lock()
        self._changed = asyncio.Event()
        self._recent: deque[float] = deque(maxlen=STARTS)
        self._retired = self._closed = False
        self._making = asyncio.Lock()  # held while one more is made ready
        self._awaited = False  # somebody waits for that one
        self._behind = False  # a script had to wait for its worker since all were ready
        self.running = 0
        self.starts = 0

    @property
    def ready(self) -> int:
        """Workers that wait for a script."""
        return len(self._seats)

    @property
    def restarts(self) -> int:
        """Zygotes started again after one had ended."""
        return max(0, self.starts - 1)

    async def serve(self) -> None:
        """Keep workers ready until retired or cancelled; then stop all. The owner's task."""
        try:
            while not self._retired or self.running:
                checkpoint()
                # A failure is not lost: the next script meets it again and reports it.
                with contextlib.suppress(ZygoteFailed, TimeoutError, OSError):
                    while len(self._seats) < self._size and not self._retired:
                        async with self._making:
                            zygote = await self._living()
                            self._seats.append(await self._seat(zygote, warm=not self._behind))
                    self._behind = False
                await self._changed.wait()
                self._changed.clear()
        finally:
            await finish(self.close(), CLOSE_SECS)

    def retire(self) -> None:
        """No new scripts; what runs may end."""
        self._retired = True
        self._changed.set()

    async def start(self) -> None:
        """Start the zygote if none lives. Raises ZygoteFailed."""
        await self._living()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[WorkerSlot]:
        """A worker for one script: a ready one, else a new one. Raises ZygoteFailed, TimeoutError.

        It is killed at the end, and its scratch folder removed.
        """
        self.running += 1
        refill = None
        try:
            seat = await self._take_any()
            self._allow_memory()
            refill = asyncio.get_running_loop().call_later(REFILL_SECS, self._changed.set)
            try:
                with Watched(seat, self._most_kib):
                    async with seat.attended(self._walls.scratch_mb << 20, self._egress):
                        yield seat
            finally:
                await seat.clear_away()
        finally:
            if refill is not None:
                refill.cancel()
            self.running -= 1
            self._changed.set()

    async def close(self) -> None:
        """Stop the zygote and every worker, remove what they left, and start no more."""
        async with self._starting:
            self._closed = True
            await self._end_life()

    async def _take_any(self) -> WorkerSlot:
        try:
            return await self._take()
        except TimeoutError:
            raise
        except OSError as error:  # no descriptor, no room for a scratch folder
            raise ZygoteFailed.of(error) from error

    async def _take(self) -> WorkerSlot:
        if not self._seats and self._making.locked() and not self._awaited:
            self._awaited = self._behind = True  # it is half made; a new one would take longer
            try:
                async with self._making:
                    pass
            finally:
                self._awaited = False
        while self._seats:
            seat = self._seats.popleft()
            if seat.worker.is_alive:
                return seat
            await seat.clear_away()
        self._behind = True  # warming would take the processors from scripts that wait
        try:
            return await self._seat(await self._living(), warm=False)
        except ZygoteFailed:
            # It may have died a moment ago, unnoticed. Nothing of the script has run: once more.
            await asyncio.sleep(0)
            return await self._seat(await self._living(), warm=False)

    async def _seat(self, zygote: Zygote, *, warm: bool = True) -> WorkerSlot:
        folder = self._folders.make() if self._folders else None
        try:
            return await self._seat_with(zygote, folder, warm=warm)
        except BaseException:
            if folder:  # whatever becomes of the worker, it will have no script: nothing is in it
                remove_folder(folder)
            raise

    async def _seat_with(self, zygote: Zygote, folder: Path | None, *, warm: bool) -> WorkerSlot:
        place = str(folder) if folder else None
        if not self._walls.network:
            return WorkerSlot(await zygote.spawn(Own(place, warm=warm)), folder)
        if self._walls.namespaces:
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            worker = await zygote.spawn(Own(place, token, warm=warm))
            return WorkerSlot(worker, folder, token=token)
        ours, theirs = socket.socketpair()  # no network of its own: a line to the proxy
        with theirs:
            try:
                worker = await zygote.spawn(Own(place, warm=warm), theirs)
            except BaseException:
                ours.close()
                raise
        return WorkerSlot(worker, folder, ours)

    async def _living(self) -> Zygote:
        async with self._starting:
            if self._closed:
                raise ZygoteFailed("it is stopped")
            if self._zygote is None or self._zygote.gone.is_set():
                await self._end_life()
                self._zygote = await self._start()
            return self._zygote

    async def _start(self) -> Zygote:
        """Start a zygote with all that lives as long as it, and have it judged."""
        self._allow_start(asyncio.get_running_loop().time())
        async with contextlib.AsyncExitStack() as life:
            group = self._make_group()
            if group:
                life.push_async_callback(lambda: finish(group.remove(), CLOSE_SECS))
            try:
                zygote, ready = await Zygote.start(self._walls, self._changed.set, group)
            except ZygoteFailed as error:
                if error.scarce:
                    self._recent.pop()  # no fault of it
                raise
            life.push_async_callback(lambda: finish(zygote.close(), CLOSE_SECS))
            self._most_kib = most_kib(self._walls, ready.data_bytes)
            self._group, self._shares = group if ready.cgroup else None, 0
            self._allow_memory()
            if ready.listener:
                life.enter_context(ready.listener)
                if self._egress:
                    accepting = self._tasks.create_task(self._egress.serve_listener(ready.listener))
                    life.callback(accepting.cancel)
            if self._walls.landlock and not self._walls.namespaces:
                self._folders = ScratchFolders(ready.uid)
                life.callback(self._folders.remove_all)
            await self._check(ready, lambda: self._seat(zygote, warm=False))
            self._life = life.pop_all()
        self.starts += 1
        return zygote

    async def _end_life(self) -> None:
        await finish(self._clear_away(), CLOSE_SECS)

    async def _clear_away(self) -> None:
        while self._seats:
            await self._seats.pop().clear_away()
        if self._life:
            await self._life.aclose()
        self._life = self._zygote = self._folders = self._group = None

    def _make_group(self) -> MemoryGroup | None:
        place = None if "cgroup" in self._walls.withhold else cgroup.find()
        with contextlib.suppress(OSError):
            return MemoryGroup(place) if place else None
        return None

    def _allow_memory(self) -> None:
        """The zygote and each worker have their share of it; it grows as more run at once."""
        processes = 1 + self._size + self.running
        if self._group and processes > self._shares:
            self._shares = processes
            with contextlib.suppress(OSError):
                self._group.allow(processes * self._most_kib << 10)

    def _allow_start(self, now: float) -> None:
        if len(self._recent) == STARTS and now - self._recent[0] < STARTS_SECS:
            wait = STARTS_SECS - (now - self._recent[0])
            raise ZygoteFailed(
                f"it ended {STARTS} times within {STARTS_SECS:g} s; next try in {wait:.0f} s"
            )
        self._recent.append(now)
