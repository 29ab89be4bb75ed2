"""The gateway's side of a zygote: start it, ask it for workers, hear of their ends, stop it.

Knows processes, sockets and descriptors; not levels, profiles or scripts. The other side, and the
messages, are in ``jail/zygote.py``. Workers are named by pidfd: their process ids mean nothing
outside their namespace.
"""

import asyncio
import contextlib
import errno
import os
import select
import signal
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from mcproxy.cancellation import finish
from mcproxy.sandbox.cgroup import MemoryGroup
from mcproxy.sandbox.frames import WorkerLine
from mcproxy.sandbox.jail.walls import Own, Walls
from mcproxy.sandbox.zygote_launch import EXIT_SECS, Launched, launched
from mcproxy.shortage import lacking

START_SECS = 20.0  # importing the library on a busy machine
SPAWN_SECS = 10.0  # a fork and the lock-down, 5 ms when idle

_MOST_BYTES = 1 << 16
_STDERR_BYTES = 4000
_READY = b"R"
_CUT_SHORT = int(socket.MSG_CTRUNC)  # an enumeration's flag takes longer to look at than to receive


T = TypeVar("T")

Forked: TypeAlias = "tuple[int, asyncio.Future[Exit | None]]"  # pidfd, and its end


class ZygoteFailed(Exception):
    """The zygote could not do its part; ``errno`` where the kernel refused it."""

    def __init__(self, reason: str, errno: int | None = None) -> None:
        self.reason, self.errno = reason, errno
        super().__init__(reason)

    @classmethod
    def of(cls, error: OSError) -> "ZygoteFailed":
        """That a process could not be started."""
        return cls(f"it could not be started: {lacking(error.errno) or error}", error.errno)

    @property
    def scarce(self) -> bool:
        """Whether this machine has no means now, and may have them soon."""
        return lacking(self.errno) is not None


class Exit(msgspec.Struct, frozen=True):
    """How a worker ended: its exit code, or minus the signal; the most memory it had, in KiB, and
    the processor time that it used."""

    code: int
    peak_kib: int
    cpu_secs: float = 0.0


class ZygoteReady(msgspec.Struct, frozen=True):
    """What a zygote found: Landlock's version, its user, packages that are not installed, the size
    of its own data, which each worker begins with; the version of the memory cgroup that it is in,
    0 for none."""

    landlock_abi: int
    uid: int
    absent: tuple[str, ...]
    listener: socket.socket | None
    data_bytes: int = 0
    cgroup: int = 0


class _Found(msgspec.Struct):
    landlock: int
    uid: int
    absent: tuple[str, ...]
    data_bytes: int


class _Message(msgspec.Struct):
    """What a zygote sends (``jail/zygote.py``): one of these, with what belongs to it."""

    ready: _Found | None = None
    failed: str | None = None
    errno: int | None = None
    spawned: int | None = None
    refused: str | None = None
    exited: int | None = None
    status: int = 0
    peak_kib: int = 0
    cpu_secs: float = 0.0


_decoder = msgspec.json.Decoder(_Message)


@dataclass(slots=True)
class Worker:
    """One locked-down process that waits for its one job. ``exited``: None if nobody can say."""

    line: WorkerLine
    pidfd: int
    exited: asyncio.Future[Exit | None] = field(repr=False)

    @property
    def is_alive(self) -> bool:
        """Asked of the kernel: news of its end may still be on the way."""
        ended = select.poll()
        ended.register(self.pidfd, select.POLLIN)
        return not ended.poll(0)

    def kill(self) -> None:
        """End it, whatever it does; safe to repeat until ``close``."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Kill it and let go of its descriptors."""
        self.kill()
        self.line.close()
        os.close(self.pidfd)


class Zygote:
    """A running fork server. ``gone`` is set, and ``on_gone`` called, when it is dead or lost."""

    def __init__(
        self,
        launched: Launched,
        on_gone: Callable[[], None],
    ) -> None:
        self._launched, self._control, self._on_gone = launched, launched.control, on_gone
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[ZygoteReady] = self._loop.create_future()
        self._asked: deque[asyncio.Future[Forked]] = deque()
        self._workers: dict[int, asyncio.Future[Exit | None]] = {}
        self.gone = asyncio.Event()
        self._loop.add_reader(self._control, self._on_readable)

    @classmethod
    async def start(
        cls, walls: Walls, on_gone: Callable[[], None], group: MemoryGroup | None = None
    ) -> tuple["Zygote", ZygoteReady]:
        """Start one, in ``group`` if that can be; raises ZygoteFailed with the step that this
        machine refused."""
        try:
            zygote = cls(launched(), on_gone)
        except OSError as error:
            raise ZygoteFailed.of(error) from error
        try:
            async with asyncio.timeout(START_SECS):
                is_within = group is not None and await zygote._enter(group)
                with contextlib.suppress(ConnectionError):  # it has died: what it sent tells more
                    zygote._control.send(walls.encode())
                ready = await zygote._started
                return zygote, replace(ready, cgroup=group.version if group and is_within else 0)
        except ZygoteFailed as error:
            last_words = await zygote.close()
            raise ZygoteFailed(error.reason + last_words, error.errno) from error
        except BaseException:
            await finish(zygote.close(), 2 * EXIT_SECS)
            raise

    async def spawn(self, own: Own, dial: socket.socket | None = None) -> Worker:
        """A new worker, locked down and warm. ``dial`` becomes its way to the egress proxy.

        Raises ZygoteFailed, TimeoutError.
        """
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise ZygoteFailed.of(error) from error
        line, worker = WorkerLine(ours), None
        answer: asyncio.Future[Forked] = self._loop.create_future()
        try:
            with theirs:
                fds = [theirs.fileno(), *([dial.fileno()] if dial else [])]
                self._ask(msgspec.json.encode(own._asdict()), fds)
            self._asked.append(answer)
            async with asyncio.timeout(SPAWN_SECS):
                worker = Worker(line, *await asyncio.shield(answer))
                await self._until_ready(line)
        except BaseException:
            if worker:
                worker.close()
            else:
                line.close()
                answer.add_done_callback(_close_unclaimed)
            raise
        return worker

    async def close(self) -> str:
        """End the zygote and, with it, every worker; wait for that. Gives its last words."""
        self._launched.kill()
        self._lost()
        return await asyncio.to_thread(self._launched.last_words)

    async def _enter(self, group: MemoryGroup) -> bool:
        """Before its orders are sent: what it forks then is in the group too."""
        try:
            await asyncio.to_thread(group.add, self._launched.process.pid)
        except OSError:
            return False
        return True

    def _ask(self, message: bytes, fds: list[int]) -> None:
        try:
            socket.send_fds(self._control, [message], fds)
        except OSError as error:
            self._lost()
            raise ZygoteFailed(f"it takes no orders: {error}") from error

    async def _until_ready(self, line: WorkerLine) -> None:
        first = await line.receive(1)
        if first == _READY:
            return
        reason = await line.receive(_STDERR_BYTES) if first else b""
        raise ZygoteFailed(f"a worker could not lock itself down: {reason.decode() or 'it died'}")

    def _on_readable(self) -> None:
        """One message of the zygote; its end is an empty one."""
        try:
            message, fds, flags, _ = socket.recv_fds(self._control, _MOST_BYTES, 1)
        except BlockingIOError:
            return
        except OSError:
            message, fds, flags = b"", [], 0
        if not message:
            self._lost()
            return
        # Where there was no descriptor left for the one that came with it, it is lost.
        self._take(_decoder.decode(message), None if flags & _CUT_SHORT else fds)

    def _take(self, message: _Message, fds: list[int] | None) -> None:
        if found := message.ready:
            listener = socket.socket(fileno=fds[0]) if fds else None
            ready = ZygoteReady(found.landlock, found.uid, found.absent, listener, found.data_bytes)
            self._answer(self._started, None if fds is None else ready)
        elif message.failed is not None:
            self._started.set_exception(ZygoteFailed(message.failed, message.errno))
        elif message.spawned is not None:
            exited = self._workers[message.spawned] = self._loop.create_future()
            forked = (fds[0], exited) if fds else None  # without, it ends by itself
            self._answer(self._asked.popleft(), forked)
        elif message.refused is not None:
            refusal = ZygoteFailed(f"it cannot fork: {message.refused}")
            self._asked.popleft().set_exception(refusal)
        elif message.exited is not None:
            code = os.waitstatus_to_exitcode(message.status)
            ended = Exit(code, message.peak_kib, message.cpu_secs)
            self._workers.pop(message.exited).set_result(ended)

    @staticmethod
    def _answer(waiting: asyncio.Future[T], given: T | None) -> None:
        if given is None:
            waiting.set_exception(ZygoteFailed.of(OSError(errno.EMFILE, "")))
        else:
            waiting.set_result(given)

    def _lost(self) -> None:
        """No more messages will come: say so to everybody who waits for one."""
        if self.gone.is_set():
            return
        self.gone.set()
        self._loop.remove_reader(self._control)
        self._control.close()
        waiting: list[asyncio.Future[ZygoteReady] | asyncio.Future[Forked]]
        waiting = [self._started, *self._asked]
        for future in waiting:
            if not future.done():
                future.set_exception(ZygoteFailed("it ended unexpectedly"))
                future.exception()  # whoever asked may have been cancelled meanwhile
        for exited in self._workers.values():
            exited.set_result(None)
        self._workers.clear()
        self._on_gone()


def _close_unclaimed(answer: asyncio.Future[Forked]) -> None:
    """A worker that came after its requester had given up."""
    if not answer.cancelled() and answer.exception() is None:
        os.close(answer.result()[0])
