"""The tasks of clients: calls that go on in the gateway while nobody waits, and their results.

A task is the gateway's own, whatever its call does, so its id is too: nobody guesses it, and it is
known to its owner alone, a caller in a namespace. What became of it is kept in the store, and found
there by another process of the gateway; of one that was running when its process ended, it is known
that it is lost, and how a script can be resumed.
"""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.call_errors import StateUnavailable
from mcproxy.errors import RpcError
from mcproxy.exchange import Exchange, RunningScript
from mcproxy.gateway.journal import is_seen, lives, this_process
from mcproxy.gateway.request import RequestContext
from mcproxy.gateway.suspended_call import SuspendedCall
from mcproxy.store.interface import Store
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import UNREADABLE

MOST_OF_ONE = 32  # tasks under way of one owner; each may hold a place, a worker, a server's call
MOST_OF_ALL = 256
RETRY_SECS = 10  # they take their time
TTL_SECS = 3600.0  # where the client wishes nothing: somebody comes back from lunch
LEAST_TTL_SECS, MOST_TTL_SECS = 1.0, 24 * 3600.0
LEASE_SECS = 60.0  # so often one that runs says so in the store, for gateways elsewhere
_ID_BYTES = 18
_PREFIX = "task/"

Status: TypeAlias = Literal["working", "completed", "failed", "cancelled"]


class TaskRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a task beside its result; times are seconds of the epoch. ``process`` runs
    it. ``execution`` and ``session`` are those of its script, where it is one. ``failed``: the
    result says that it failed (``isError``); ``error`` is that of JSON-RPC."""

    id: str
    created: float
    updated: float
    ttl_secs: float
    process: str
    status: Status = "working"
    message: str = ""
    execution: str = ""
    session: str = ""
    failed: bool = False
    error: JsonObject = {}


class FoundTask(msgspec.Struct, frozen=True):
    """A task, with its call while that runs here, or its result once it has one."""

    record: TaskRecord
    running: "RunningTask | None" = None
    result: bytes = b""


class RunningTask(msgspec.Struct, eq=False):
    """A task whose call runs in this process, until what became of it is noted (``over``); one
    request at a time may ask its client (``asking``)."""

    owner: str
    record: TaskRecord
    call: SuspendedCall | None = None
    timer: asyncio.TimerHandle | None = None
    asking: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    over: asyncio.Event = msgspec.field(default_factory=asyncio.Event)


Settle: TypeAlias = Callable[[SuspendedCall], bytes | RpcError]
"""What a call that has ended gave, as its client is to see it."""


class _CallOutcome(msgspec.Struct):
    isError: bool = False


_records = msgspec.json.Decoder(TaskRecord)
_outcome = msgspec.json.Decoder(_CallOutcome)


def owner_of(context: RequestContext) -> str:
    """Whose the tasks of a request are: they outlast its connection."""
    return json.dumps([context.caller, context.namespace.name, "", "tasks"])


class TaskTable:
    """All tasks, by owner and id. What waits for the store raises StateUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: dict[tuple[str, str], RunningTask] = {}

    @property
    def under_way(self) -> int:
        """How many run in this process."""
        return len(self._running)

    async def create(self, owner: str, wish: Json) -> RunningTask:
        """A task without a call yet, found by others from now on; ``wish`` is the time to live that
        the client wants, in milliseconds. Raises RpcError where there are too many."""
        of_owner = sum(task.owner == owner for task in self._running.values())
        if of_owner >= MOST_OF_ONE or len(self._running) >= MOST_OF_ALL:
            text = (
                f"as many tasks are under way as may be (of one caller {MOST_OF_ONE}); try again "
                f"in {RETRY_SECS} s, or cancel one"
            )
            raise RpcError(mcp.TOO_MANY_REQUESTS, text, retry_after=RETRY_SECS)
        now = time.time()
        id_ = secrets.token_urlsafe(_ID_BYTES)
        task = RunningTask(owner, TaskRecord(id_, now, now, _ttl_secs(wish), this_process()))
        self._running[owner, id_] = task
        kept = False
        try:
            entry = msgspec.json.encode(task.record)
            await self._store.append(owner, _PREFIX + id_, entry, task.record.ttl_secs)
            kept = True
        finally:
            if not kept:
                del self._running[owner, id_]
        return task

    async def attach(
        self, task: RunningTask, call: SuspendedCall, heard: Exchange | None, settle: Settle
    ) -> None:
        """Let the task be this call, which tells of its progress to ``heard``."""
        task.call = call
        self._tend(task)
        call.when_ended(lambda whole: self._settled(task, settle(call) if whole else None))

        async def on_script(script: RunningScript) -> None:
            with contextlib.suppress(StateUnavailable):  # then it cannot be resumed
                session = await script.handle()
                if task.record.status == "working":
                    self._note(task, execution=script.execution, session=session)

        await call.detach(heard, on_script)

    async def find(self, owner: str, id_: str) -> FoundTask | None:
        """The task, None where the owner has none of this id, or its time has passed."""
        task = self._running.get((owner, id_))
        if task:
            return FoundTask(task.record, task)
        entries = await self._store.entries(owner, _PREFIX + id_)
        if not entries:
            return None
        head, _, result = entries[-1].partition(b"\n")
        record = _records.decode(head)
        if time.time() >= record.created + record.ttl_secs:
            await self._store.remove(owner, _PREFIX + id_)
            return None
        if record.status == "working" and not _runs_elsewhere(record):
            record = _lost(record)
        return FoundTask(record, None, result)

    async def list(self, owner: str) -> list[FoundTask]:
        """All of an owner's tasks, the oldest first."""
        keys = await self._store.keys(owner, _PREFIX)
        found = [await self.find(owner, key.removeprefix(_PREFIX)) for key in keys]
        return sorted(filter(None, found), key=lambda task: task.record.created)

    def cancel(self, task: RunningTask, message: str) -> TaskRecord:
        """End a task; what its call still does changes nothing any more."""
        self._note(task, status="cancelled", message=message)
        self._forget(task)
        if task.call:
            task.call.cancel()
        return task.record

    async def kept(self, task: RunningTask) -> None:
        """Wait until what became of it is kept, for other gateways too."""
        key = _PREFIX + task.record.id
        await self._store.keys(task.owner, key)  # answered after what was asked for before

    def _settled(self, task: RunningTask, outcome: bytes | RpcError | None) -> None:
        """Its call has ended, unless the task was cancelled before; None: the program ends it."""
        if (task.owner, task.record.id) not in self._running:
            return
        if outcome is None:
            task.record = _lost(task.record)
            self._note(task)
        elif isinstance(outcome, bytes):
            self._note(task, outcome, status="completed", failed=_is_error(outcome))
        else:
            error: JsonObject = {"code": outcome.code, "message": outcome.message}
            if outcome.data is not None:
                error["data"] = outcome.data
            self._note(task, status="failed", message=outcome.message, error=error)
        self._forget(task)

    def _note(self, task: RunningTask, result: bytes = b"", **changes: Json) -> None:
        task.record = replace(task.record, updated=time.time(), **changes)
        entry = msgspec.json.encode(task.record) + (b"\n" + result if result else b"")
        key, ttl_secs = _PREFIX + task.record.id, task.record.ttl_secs
        self._store.append_later(task.owner, key, entry, ttl_secs)

    def _tend(self, task: RunningTask) -> None:
        """End the task once its time to live has passed; until then let others see that it runs."""
        left = task.record.created + task.record.ttl_secs - time.time()
        if left <= 0:
            self.cancel(task, "its time to live has passed")
            return
        if task.timer:
            self._note(task)
        task.timer = asyncio.get_running_loop().call_later(min(left, LEASE_SECS), self._tend, task)

    def _forget(self, task: RunningTask) -> None:
        """It is found in the store from now on."""
        self._running.pop((task.owner, task.record.id), None)
        task.over.set()
        if task.timer:
            task.timer.cancel()


def _ttl_secs(wish: Json) -> float:
    if isinstance(wish, bool) or not isinstance(wish, int | float):
        return TTL_SECS
    return min(max(wish, LEAST_TTL_SECS * 1000), MOST_TTL_SECS * 1000) / 1000


def _runs_elsewhere(record: TaskRecord) -> bool:
    """Whether another process of the gateway runs it, as far as one sees from here."""
    if is_seen(record.process):
        return record.process != this_process() and lives(record.process)
    return time.time() < record.updated + 2 * LEASE_SECS


def _lost(record: TaskRecord) -> TaskRecord:
    """A task whose process has ended."""
    text = "the gateway was stopped while this ran; whether servers did what was asked is not known"
    if record.execution:
        text = (
            "the gateway was stopped while this script ran; execute it with "
            f'resume="{record.execution}", session="{record.session}": calls that succeeded are '
            "not sent again"
        )
    error: JsonObject = {"code": RpcError.INTERNAL_ERROR, "message": text}
    return replace(record, status="failed", message=text, error=error)


def _is_error(raw: bytes) -> bool:
    try:
        return _outcome.decode(raw).isError
    except UNREADABLE:
        return False
