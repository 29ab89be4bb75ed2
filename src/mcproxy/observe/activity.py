"""What the gateway does now, and did lately: executions with their calls, an hour of figures, and
the tokens that clients were sent. For whoever looks at it; in memory, and bounded.

Everything here is told as it happens and is on the way of every call, so telling costs an append
and a count. Whoever looks on compares ``version`` and looks at the whole: nothing is queued for a
viewer, so one that reads slowly holds up nobody.

Texts are counted when somebody looks, off the event loop, with a real tokenizer where one is
installed (``bpe-openai``: o200k; it takes 100 MB, so it is loaded then, not before). Else, and of
what does not fit until then, tokens are estimated by length, and marked so.
"""

import asyncio
import importlib
import math
import mmap
import time
import warnings
from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from mcproxy.call_errors import NO_SUCH_TOOL, failure_code
from mcproxy.foreign_text import one_line, short_name
from mcproxy.types import CallTool, Json, ToolRef, ToolResult

BUCKET_SECS = 10
BUCKETS = 360  # an hour
# Upper bounds of the durations that are counted together, in ms, each 1.5 times the last: quantiles
# are right to a quarter, and an hour of them takes 100 KB.
_STEP = 1.5
_SLOTS = 32  # up to 300 s


class Interval(msgspec.Struct):
    """What happened within ``BUCKET_SECS``; ``memory_mb`` None where it was not looked at."""

    calls: int = 0
    failed: int = 0
    executions: int = 0
    durations: "array[int] | None" = None
    memory_mb: float | None = None


class Figures(msgspec.Struct):
    """The series for plots, one value a bucket, the oldest first; ``at`` in Unix seconds, durations
    in ms, null where nothing was called."""

    at: list[float]
    calls: list[int]
    failed: list[int]
    executions: list[int]
    p50: list[float | None]
    p95: list[float | None]
    memory_mb: list[float | None]


class History:
    """The last hour."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._buckets = [Interval() for _ in range(BUCKETS)]
        self._now = int(clock() // BUCKET_SECS)

    def call(self, ms: float, *, failed: bool) -> None:
        """Count a call of a tool."""
        bucket = self._bucket()
        bucket.calls += 1
        bucket.failed += failed
        if bucket.durations is None:
            bucket.durations = array("I", bytes(4 * _SLOTS))
        bucket.durations[_slot(ms)] += 1

    def execution(self) -> None:
        """Count a script that has ended."""
        self._bucket().executions += 1

    def memory(self, mb: float) -> None:
        """The memory that gateway and servers hold now."""
        self._bucket().memory_mb = mb

    def figures(self) -> Figures:
        """The series of now."""
        self._bucket()
        numbers = range(self._now - BUCKETS + 1, self._now + 1)
        buckets = [self._buckets[number % BUCKETS] for number in numbers]
        return Figures(
            at=[float(number * BUCKET_SECS) for number in numbers],
            calls=[bucket.calls for bucket in buckets],
            failed=[bucket.failed for bucket in buckets],
            executions=[bucket.executions for bucket in buckets],
            p50=[_quantile(bucket, 0.5) for bucket in buckets],
            p95=[_quantile(bucket, 0.95) for bucket in buckets],
            memory_mb=[bucket.memory_mb for bucket in buckets],
        )

    def _bucket(self) -> Interval:
        """The bucket of now; those that time has passed over are empty. A clock that was set back
        goes on where it was."""
        number = int(self._clock() // BUCKET_SECS)
        if number > self._now:
            for passed in range(max(self._now + 1, number - BUCKETS + 1), number + 1):
                self._buckets[passed % BUCKETS] = Interval()
            self._now = number
        return self._buckets[self._now % BUCKETS]


def _slot(ms: float) -> int:
    return min(_SLOTS - 1, max(0, math.ceil(math.log(ms, _STEP)))) if ms > 1 else 0


def _quantile(bucket: Interval, share: float) -> float | None:
    """The upper bound of the slot in which it lies."""
    if not bucket.calls or bucket.durations is None:
        return None
    wanted, seen = share * bucket.calls, 0
    for slot, count in enumerate(bucket.durations):
        seen += count
        if seen >= wanted:
            return round(_STEP**slot, 1)
    return None


def own_memory_mb() -> float:
    """The resident memory of this process (``proc_pid_statm``), in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE / (1 << 20)


MAX_CLIENTS = 50  # further ones are counted together
OTHER = "(other)"
BYTES_A_TOKEN = 4.0  # of English and JSON, near enough
MAX_PENDING_BYTES = 1 << 20

Kind: TypeAlias = Literal["list", "search", "execute"]


class ClientTokens(msgspec.Struct):
    """What one client was sent, in tokens and in numbers of replies. ``lists``: how often it listed
    the tools of a namespace. ``spared_bytes``: of results of tools that a script saw in its place.
    ``estimated``: part of it was not counted."""

    tokens: dict[Kind, float] = msgspec.field(default_factory=dict)
    replies: dict[Kind, int] = msgspec.field(default_factory=dict)
    lists: dict[str, int] = msgspec.field(default_factory=dict)
    spared_bytes: int = 0
    estimated: bool = False


class ShownTokens:
    """The counts since the start, by the name that a client gives itself."""

    def __init__(self) -> None:
        self._clients: dict[str, ClientTokens] = {}
        self._pending: list[tuple[ClientTokens, Kind, bytes]] = []
        self._pending_bytes = 0

    def sent(self, client: str, kind: Kind, text: bytes, namespace: str = "") -> None:
        """A client was sent a text that its model reads."""
        shown = self._of(client)
        shown.replies[kind] = shown.replies.get(kind, 0) + 1
        if kind == "list":
            shown.lists[namespace] = shown.lists.get(namespace, 0) + 1
        if self._pending_bytes + len(text) <= MAX_PENDING_BYTES:
            self._pending.append((shown, kind, text))
            self._pending_bytes += len(text)
        else:
            shown.estimated = True
            _add(shown, kind, estimate(len(text)))

    def spared(self, client: str, size: int) -> None:
        """A script had a tool's result of so many bytes, which its client's model did not see."""
        self._of(client).spared_bytes += size

    async def counted(self) -> Mapping[str, ClientTokens]:
        """What was sent to whom, all of it counted."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        if pending:
            counts = await asyncio.to_thread(_count, [text for _, _, text in pending])
            for number, (shown, kind, text) in enumerate(pending):
                shown.estimated = shown.estimated or counts is None
                _add(shown, kind, counts[number] if counts else estimate(len(text)))
        return self._clients

    def _of(self, client: str) -> ClientTokens:
        if client not in self._clients and len(self._clients) >= MAX_CLIENTS:
            client = OTHER
        return self._clients.setdefault(client, ClientTokens())


def estimate(size: int) -> float:
    """About how many tokens so many bytes are."""
    return size / BYTES_A_TOKEN


def _count(texts: Sequence[bytes]) -> Sequence[int] | None:
    """The tokens of each; None where no tokenizer is installed."""
    try:
        with warnings.catch_warnings(action="ignore"):  # it reads its data by a function of old
            encoding = importlib.import_module("bpe_openai").get_encoding("o200k_base")
    except ImportError:
        return None
    return [len(encoding.encode_ordinary(text.decode("utf-8", "replace"))) for text in texts]


def _add(shown: ClientTokens, kind: Kind, tokens: float) -> None:
    shown.tokens[kind] = shown.tokens.get(kind, 0.0) + tokens


KEPT_EXECUTIONS = 200  # the latest; with all their calls about 3 MB
KEPT_CALLS = 100  # of one execution, the first; further ones are counted
SAMPLE_SECS = 5.0  # how often memory is looked at
_MAX_NAME_CHARS = 128  # of a name that somebody asked for
_MAX_ARGUMENT_CHARS = 200

_encode = msgspec.json.Encoder().encode


class SeenCall(msgspec.Struct):
    """One call. ``began``: seconds since its execution did; ``ms`` and ``outcome`` (``ok``,
    ``tool_error``, ``replayed`` or a code) are None while it is under way. ``arguments`` are shown
    where the operator wants values to be."""

    server: str
    tool: str
    began: float
    ms: float | None = None
    outcome: str | None = None
    arguments: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than well."""
        return self.outcome not in (None, "ok", "replayed")


class SeenExecution(msgspec.Struct):
    """A script, or a client's own call of a tool. ``at``: when it began, Unix time in seconds;
    ``outcome`` (``success``, ``ok`` or what went wrong) and ``ms`` are None while it runs.
    ``calls`` has the first, ``count`` is how many there were."""

    id: str
    caller: str
    namespace: str
    script: bool
    at: float = msgspec.field(default_factory=time.time)
    started: float = msgspec.field(default_factory=time.monotonic)
    calls: list[SeenCall] = msgspec.field(default_factory=list)
    count: int = 0
    failures: int = 0
    ms: float | None = None
    outcome: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than well."""
        return self.outcome not in (None, "success", "ok", "replayed")


class Activity:
    """What is done and was done. ``version`` grows with every change. ``values``: the heads of
    arguments are kept too, as ``mask`` leaves them."""

    def __init__(self) -> None:
        self.version = 0
        self.values = False
        self.mask: Callable[[str], str] = str
        self.history = History()
        self.tokens = ShownTokens()
        self._executions: OrderedDict[str, SeenExecution] = OrderedDict()
        self._calls: Counter[str] = Counter()

    async def run(self, memory_mb: Callable[[], float]) -> None:
        """Look at the memory now and then, until cancelled."""
        while True:
            self.history.memory(memory_mb())
            self.touch()
            await asyncio.sleep(SAMPLE_SECS)

    def around(
        self, who: SeenExecution, call: CallTool, spared: Callable[[int], None] | None = None
    ) -> CallTool:
        """The same call, seen; ``who`` begins with this. The gateway's own services are not shown.
        ``spared`` is told the size of each result that stays within a script."""
        self._executions[who.id] = who
        if len(self._executions) > KEPT_EXECUTIONS:
            self._forget_one()
        self.version += 1

        async def seen_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
            if not ref.server:
                return await call(ref, arguments)
            seen = self._began(who, ref, arguments)
            outcome = "ok"
            try:
                result = await call(ref, arguments)
                if result.is_error or result.replayed:
                    outcome = "tool_error" if result.is_error else "replayed"
            except BaseException as error:
                outcome = failure_code(error)
                raise
            finally:
                secs = time.monotonic() - who.started
                seen.outcome, seen.ms = outcome, (secs - seen.began) * 1000
                self._answered(who, seen)
            if spared:
                spared(len(result.raw))
            return result

        return seen_call

    def ended(self, who: SeenExecution, outcome: str) -> None:
        """A script has ended, or was refused before it ran."""
        self._executions.setdefault(who.id, who)
        who.outcome, who.ms = outcome, (time.monotonic() - who.started) * 1000
        self.history.execution()
        self.touch()

    def stopped(self, who: SeenExecution) -> None:
        """A script runs no more, whatever became of it: a client may have cancelled it."""
        if who.outcome is None:
            self.ended(who, "cancelled")

    def executions(self) -> Iterator[SeenExecution]:
        """Those that are kept, the latest first."""
        return iter(reversed(self._executions.values()))

    def execution(self, id_: str) -> SeenExecution | None:
        """One of them."""
        return self._executions.get(id_)

    def calls_by_server(self) -> tuple[Counter[str], Counter[str]]:
        """How many calls each server has had since the start, and how many are under way."""
        running = Counter(
            call.server
            for execution in self._executions.values()
            if execution.outcome is None
            for call in execution.calls
            if call.outcome is None
        )
        return self._calls, running

    def touch(self) -> None:
        """Something has changed that viewers see."""
        self.version += 1

    def _began(self, who: SeenExecution, ref: ToolRef, arguments: Mapping[str, Json]) -> SeenCall:
        server = short_name(ref.server[:_MAX_NAME_CHARS], _MAX_NAME_CHARS)
        tool = short_name(ref.tool[:_MAX_NAME_CHARS], _MAX_NAME_CHARS)
        seen = SeenCall(server, tool, time.monotonic() - who.started)
        if self.values:
            text = _encode(arguments)[: 4 * _MAX_ARGUMENT_CHARS].decode(errors="replace")
            seen.arguments = one_line(self.mask(text))[:_MAX_ARGUMENT_CHARS]
        who.count += 1
        if len(who.calls) < KEPT_CALLS:
            who.calls.append(seen)
        self.version += 1
        return seen

    def _answered(self, who: SeenExecution, seen: SeenCall) -> None:
        failed = seen.failed
        self.history.call(seen.ms or 0.0, failed=failed)
        if seen.outcome not in NO_SUCH_TOOL:  # their names are whatever was asked
            self._calls[seen.server] += 1
        who.failures += failed
        if not who.script:
            who.outcome, who.ms = seen.outcome, seen.ms
        self.version += 1

    def _forget_one(self) -> None:
        """The oldest that has ended; where all run, the oldest."""
        ended = (id_ for id_, one in self._executions.items() if one.outcome is not None)
        oldest = next(ended, None) or next(iter(self._executions))
        del self._executions[oldest]
