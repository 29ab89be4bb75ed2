"""What an execution's calls did, kept so that an edited script need not do it again.

A call is recorded before it is sent, so that whatever dies leaves it ``unknown`` at least. In a run
that resumes another, a call that equals a recorded one (server, tool, arguments, and how many equal
ones came before it) is answered from the record; what is not known to have happened is never sent
again unless it may be repeated, or the client says so.
"""

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from mcproxy.call_errors import CallError, UnknownOutcome
from mcproxy.gateway.arguments import OnUnknown
from mcproxy.store.interface import Store
from mcproxy.types import CallTool, Json, ToolRef, ToolResult

MAX_VALUE_BYTES = 16 << 20  # of all values of one execution; later ones are recorded without
_PREFIX = "execution/"
_NOTHING = b'{"content":[{"type":"text","text":"null"}]}'

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_ENDED = "ZX"  # as which a process is seen that nobody has asked for its status yet
_STARTED = 19  # field 22 of /proc/PID/stat (proc_pid_stat(5)), counted behind the name

_encode = msgspec.json.Encoder(order="sorted").encode


_Outcome: TypeAlias = Literal["ok", "failed", "unknown"]
# ``began``: an earlier version said the process in an entry of its own.
_Kind: TypeAlias = Literal["began", "sent", "ended"] | _Outcome


class CallKey(msgspec.Struct, frozen=True):
    """Which call of an execution: ``digest`` is of its arguments, ``nth`` counts equal ones."""

    server: str
    tool: str
    digest: str
    nth: int


class _Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of the journal. The first says which process runs the execution; a call is ``sent``
    and then ``ok``, ``failed`` or ``unknown``; its value follows the event, where it is kept."""

    kind: _Kind
    call: CallKey | None = None
    process: str = ""
    has_value: bool = False


class PastCall(msgspec.Struct, frozen=True):
    """What is known of a call of an earlier run; ``raw`` is its result, where that is kept."""

    outcome: _Outcome
    raw: bytes | None = None


Permit: TypeAlias = Callable[[ToolRef, Mapping[str, Json]], Awaitable[None]]
"""Returns where a call may be sent. Raises Declined, ApprovalNeeded."""

Past: TypeAlias = Mapping[CallKey, PastCall]


class StillRunning(Exception):  # a state, as its name says
    """The execution has not ended yet."""


_events = msgspec.json.Decoder(_Event)


async def past_calls(store: Store, owner: str, execution: str) -> Past | None:
    """What an execution's calls did; None where there is no such execution. Raises StillRunning."""
    entries = await store.entries(owner, _PREFIX + execution)
    past: dict[CallKey, PastCall] = {}
    process, ended = "", False
    for entry in entries:
        head, _, raw = entry.partition(b"\n")
        event = _events.decode(head)
        process, ended = event.process or process, ended or event.kind == "ended"
        if event.call is not None:
            past[event.call] = _known(event, raw)
    if entries and not ended and lives(process):
        raise StillRunning
    return past if entries else None


def _known(event: _Event, raw: bytes) -> PastCall:
    if event.kind == "ok":
        return PastCall("ok", raw if event.has_value else None)
    return PastCall("failed" if event.kind == "failed" else "unknown")


async def executions(store: Store, owner: str) -> list[str]:
    """The owner's executions of which calls are recorded."""
    return [key.removeprefix(_PREFIX) for key in await store.keys(owner, _PREFIX)]


class Journal:
    """The record of one execution, and of the one that it resumes. ``repeatable``: whether a call
    of a tool may be done twice."""

    def __init__(
        self,
        store: Store,
        owner: str,
        execution: str,
        ttl_secs: float,
        repeatable: Callable[[ToolRef], bool],
    ) -> None:
        self._store, self._owner, self._key = store, owner, _PREFIX + execution
        self._ttl_secs, self._repeatable = ttl_secs, repeatable
        self._past: Past = {}
        self._on_unknown: OnUnknown = "refuse"
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._value_bytes = 0
        self.began = False

    def resume(self, past: Past, on_unknown: OnUnknown) -> None:
        """Go on where another run ended; what it did is this run's past from now on."""
        self._past, self._on_unknown = past, on_unknown
        for key, call in past.items():
            self._note(key, call.outcome, call.raw)

    def end(self) -> None:
        """The execution has ended: it may be resumed from now on."""
        if self.began:
            self._later(self._entry("ended"))

    async def kept(self) -> None:
        """Wait until all that was recorded is kept, whatever happens then."""
        await self._store.keys(self._owner, self._key)  # answered after what was asked for before

    def recorded(self, call: CallTool, permit: Permit | None) -> CallTool:
        """The same call, recorded; or its record, where it was done before. What is sent has to
        pass ``permit`` first."""

        async def recorded_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
            key = self._next(ref, arguments)
            past = self._past.get(key)
            replayed = self._replayed(ref, past) if past else None
            if replayed is not None:
                return replayed
            if permit:
                await self._permitted(permit, ref, arguments, key)
            await self._sent(ref, key)
            try:
                result = await call(ref, arguments)
            except CallError as error:
                self._note(key, "unknown" if error.unanswered else "failed")
                raise
            self._note(key, "failed" if result.is_error else "ok", result.raw)
            return result

        return recorded_call

    async def _permitted(
        self, permit: Permit, ref: ToolRef, arguments: Mapping[str, Json], key: CallKey
    ) -> None:
        try:
            await permit(ref, arguments)
        except CallError:
            self._note(key, "failed")
            raise

    def _next(self, ref: ToolRef, arguments: Mapping[str, Json]) -> CallKey:
        digest = hashlib.sha256(_encode(arguments)).hexdigest()[:32]
        same = (ref.server, ref.tool, digest)
        self._counts[same] += 1
        return CallKey(*same, self._counts[same])

    def _replayed(self, ref: ToolRef, past: PastCall) -> ToolResult | None:
        """The answer from the record; None where the call is to be sent. Raises UnknownOutcome."""
        if past.outcome == "ok" and past.raw is not None:
            return ToolResult(past.raw, replayed=True)
        if past.outcome == "failed" or self._on_unknown == "retry" or self._repeatable(ref):
            return None
        if self._on_unknown == "skip":
            return ToolResult(_NOTHING, replayed=True)
        raise UnknownOutcome(ref, succeeded=past.outcome == "ok")

    async def _sent(self, ref: ToolRef, key: CallKey) -> None:
        entry = self._entry("sent", key)
        if self._repeatable(ref):
            self._later(entry)
        else:
            await self._store.append(self._owner, self._key, entry, self._ttl_secs)

    def _note(self, key: CallKey, outcome: _Outcome, raw: bytes | None = None) -> None:
        if outcome != "ok" or raw is None or self._value_bytes + len(raw) > MAX_VALUE_BYTES:
            self._later(self._entry(outcome, key))
            return
        self._value_bytes += len(raw)
        self._later(self._entry(outcome, key, raw))

    def _entry(self, kind: _Kind, call: CallKey | None = None, raw: bytes | None = None) -> bytes:
        process = "" if self.began else this_process()
        self.began = True
        head = msgspec.json.encode(_Event(kind, call, process, raw is not None))
        return head if raw is None else head + b"\n" + raw

    def _later(self, entry: bytes) -> None:
        self._store.append_later(self._owner, self._key, entry, self._ttl_secs)


@functools.cache
def this_process() -> str:
    """The identity of this process: told apart from a later one of the same number by when it
    started."""
    return _identity(os.getpid()) or "unknown"


def lives(identity: str) -> bool:
    """Whether the process is there. One of another machine, or of another container, is taken to
    be gone: nothing can be seen of it."""
    pid = identity.rpartition(":")[0].rpartition(":")[2]
    return pid.isdigit() and _identity(int(pid)) == identity


def is_seen(identity: str) -> bool:
    """Whether the process is, or was, one of this machine and container."""
    return identity.rsplit(":", 2)[0] == this_process().rsplit(":", 2)[0]


def _identity(pid: int) -> str | None:
    try:
        boot = _BOOT.read_text().strip()
        place = Path("/proc/self/ns/pid").readlink()
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = status.rpartition(")")[2].split()
    return None if fields[0] in _ENDED else f"{boot}:{place}:{pid}:{fields[_STARTED]}"
