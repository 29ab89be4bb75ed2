"""The figures of the last hour, of a fixed size: calls, their durations, scripts, memory. And how
many tokens models were sent, by client: lists of tools, found tools, results of scripts; and what
of the servers' own they were spared.

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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

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
    durations: bytearray | None = None
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
        self._now = self._number()

    def call(self, ms: float, *, failed: bool) -> None:
        """Count a call of a tool."""
        bucket = self._bucket()
        bucket.calls += 1
        bucket.failed += failed
        if bucket.durations is None:
            bucket.durations = bytearray(4 * _SLOTS)
        counts = memoryview(bucket.durations).cast("I")
        counts[_slot(ms)] += 1

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

    def _number(self) -> int:
        return int(self._clock() // BUCKET_SECS)

    def _bucket(self) -> Interval:
        """The bucket of now; those that time has passed over are empty. A clock that was set back
        goes on where it was."""
        number = self._number()
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
    counts: Sequence[int] = memoryview(bucket.durations).cast("I")
    wanted, seen = share * bucket.calls, 0
    for slot, count in enumerate(counts):
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
