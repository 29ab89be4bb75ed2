"""A store that several gateways share: Valkey or Redis, by its asyncio client.

All that waits goes in one pipeline over one connection, in the order in which it was asked for. A
batch whose answers were lost is sent again, within a bound, and what it did before is not done
twice (``shared_script``). Where the store stays away, what was asked of it fails
(``StateUnavailable``), what nobody waits for is lost and the log says so once; nothing is kept here
in its stead, for another gateway would not know of it.
"""

import asyncio
import contextlib
import hashlib
import itertools
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeAlias
from weakref import WeakValueDictionary

import msgspec
from valkey.asyncio import Valkey
from valkey.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # its name
    NoPermissionError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,  # its name
    TryAgainError,
    ValkeyError,
)

from mcproxy import cancellation
from mcproxy.call_errors import StateUnavailable
from mcproxy.store.interface import StoreBounds, Update
from mcproxy.store.shared_script import TEXT

PATIENCE_SECS = 5.0  # a store that starts anew is back by then; callers have more time than that
PURGE_SECS = 60.0  # how long what is past its time may still take room
_CONNECT_SECS = 3.0
_ANSWER_SECS = 5.0  # for a batch; the largest value takes a tenth of it
_CLOSE_SECS = 10.0  # for what is still to be written
_PAUSES_SECS = (0.05, 0.1, 0.2, 0.4)  # between attempts; the last one from then on
_BATCH = 256  # operations in one pipeline, so that the first need not wait for very many
_MAX_WAITING_BYTES = 64 << 20  # of all that waits to be written: no gateway dies with its store
_CONFLICTS = 50  # times that other gateways may come first with the same value
_CONFLICT_SECS = 0.01  # a random part of it passes before the next attempt
LATER_SECS = 0.02  # how long what nobody waits for may wait for something to go with

_SHA = hashlib.sha1(TEXT.encode(), usedforsecurity=False).hexdigest()
# What may be over in a moment, and is tried again.
_PASSING = (
    ConnectionError, TimeoutError, OSError, BusyLoadingError, NoScriptError, ReadOnlyError,
    TryAgainError,
)  # fmt: skip
_LASTING = (AuthenticationError, NoPermissionError)  # connection errors, as the client sorts them

_ENDED = "it was ended before all was written"

log = logging.getLogger(__name__)
_Answer: TypeAlias = bytes | int | list[bytes] | None
_Argument: TypeAlias = bytes | str | float


class _AskedOfStore(msgspec.Struct, frozen=True):
    """What is asked of the script, and who waits for the answer; None: nobody does."""

    arguments: tuple[_Argument, ...]
    size: int
    answer: "asyncio.Future[_Answer] | None"

    def settle(self, answer: object) -> None:
        """Hand over what it gave, or failed with."""
        if self.answer is None or self.answer.done():  # cancelled
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)  # type: ignore[arg-type]  # what the script gives


class SharedStore:
    """A ``Store`` below ``prefix``; ``bounds`` are of what lies there. Use it as a context manager:
    on leaving, what was asked for is written. ``now`` gives seconds since 1970. ``url`` as in the
    configuration (``state.url``); it is in no message, for it may have a password."""

    def __init__(
        self, url: str, prefix: str, bounds: StoreBounds, now: Callable[[], float] = time.time
    ) -> None:
        self._client = client_of(url)
        self._where = _shown(self._client)
        self._prefix, self._bounds, self._now = f"{{{prefix}}}:", bounds, now
        self._id = secrets.token_hex(8)
        self._batches = 0
        self._asked: deque[_AskedOfStore] = deque()
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self._flushing: asyncio.TimerHandle | None = None
        self._fault = ""  # with which the last batch failed
        self._ending = False
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._writing = self._tasks.create_task(self._run(), name="shared store")
        self._purging = self._tasks.create_task(self._keep_purging(), name="shared store's purge")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._purging.cancel()
        self._ending = True
        self._wake()
        try:
            await cancellation.finish(self._ended(), _CLOSE_SECS)
        finally:
            self._writing.cancel()
            await self._tasks.__aexit__(None, None, None)  # what ended the context stays as it is

    async def _ended(self) -> None:
        await asyncio.wait([self._writing])
        await self._client.aclose()

    async def put(self, owner: str, key: str, value: bytes, ttl_secs: float) -> None:
        """As ``Store`` says."""
        await self._do("put", owner, key, value, *self._kept(ttl_secs))

    async def get(self, owner: str, key: str) -> bytes | None:
        """As ``Store`` says."""
        found = await self._do("get", owner, key)
        return found if isinstance(found, bytes) else None

    async def remove(self, owner: str, key: str) -> bool:
        """As ``Store`` says."""
        return await self._do("remove", owner, key) == b"1"

    async def keys(self, owner: str, prefix: str) -> list[str]:
        """As ``Store`` says."""
        found = await self._do("keys", owner, prefix)
        return sorted(map(_text, found if isinstance(found, list) else ()))

    async def append(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> None:
        """As ``Store`` says."""
        await self._do("append", owner, key, entry, *self._kept(ttl_secs))

    def append_later(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> None:
        """As ``Store`` says."""
        try:
            self._ask(None, "append", owner, key, entry, *self._kept(ttl_secs))
        except StateUnavailable as fault:
            self._say(str(fault))

    async def entries(self, owner: str, key: str) -> list[bytes]:
        """As ``Store`` says."""
        found = await self._do("entries", owner, key)
        return found if isinstance(found, list) else []

    async def update(self, owner: str, key: str, change: Update, ttl_secs: float) -> bytes:
        """As ``Store`` says. Changes made here wait for each other, so that only those of other
        gateways can come between."""
        async with self._turns.setdefault((owner, key), asyncio.Lock()):
            for _ in range(_CONFLICTS):
                before = await self.get(owner, key)
                value = change(before)
                seen = _digest(before)
                if await self._do("swap", owner, key, value, *self._kept(ttl_secs), seen) == b"1":
                    return value
                await asyncio.sleep(random.random() * _CONFLICT_SECS)  # noqa: S311  # no secret
        raise StateUnavailable("other gateways change the same value all the time")

    async def take(self, bucket: str, burst: float, per_minute: int) -> float | None:
        """Take a token from a bucket that holds ``burst`` and gains ``per_minute``. None: there was
        one; else there will be, in so many seconds."""
        secs = await self._do("take", "", bucket, burst, per_minute)
        return float(secs) if isinstance(secs, bytes) and secs else None

    def _kept(self, ttl_secs: float) -> tuple[float, int, int, int]:
        bounds = self._bounds
        return ttl_secs, bounds.owner_bytes, bounds.owner_items, bounds.all_bytes

    async def _do(self, operation: str, owner: str, key: str, *more: _Argument) -> _Answer:
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._ask(answer, operation, owner, key, *more)
        return await answer  # bounded: the writer settles each, see ``_done``

    def _ask(
        self,
        answer: "asyncio.Future[_Answer] | None",
        operation: str,
        owner: str,
        key: str,
        *more: _Argument,
    ) -> None:
        size = sum(len(one) for one in more if isinstance(one, bytes))
        if self._waiting_bytes + size > _MAX_WAITING_BYTES or self._ending:
            raise StateUnavailable(self._fault or "too much waits to be written")
        named = (_bytes(owner), _bytes(key), repr(self._now()))
        self._asked.append(_AskedOfStore((operation, *named, *more), size, answer))
        self._waiting_bytes += size
        if answer is not None or len(self._asked) >= _BATCH:
            self._wake()
        elif self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(LATER_SECS, self._wake)

    def _wake(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        self._news.set()

    async def _run(self) -> None:
        """Do what is asked for, until the end; where that is cut short, nobody waits on."""
        try:
            while self._asked or not self._ending:
                cancellation.checkpoint()
                if not self._asked:
                    await self._news.wait()
                    self._news.clear()
                batch = [self._asked.popleft() for _ in range(min(_BATCH, len(self._asked)))]
                if batch:
                    await self._done(batch)
        finally:
            self._ending = True
            for operation in self._asked:
                operation.settle(StateUnavailable(_ENDED))
            self._asked.clear()

    async def _done(self, batch: Sequence[_AskedOfStore]) -> None:
        """Do these together, or let them all fail."""
        self._batches += 1
        answers: Sequence[object] = [StateUnavailable(_ENDED)] * len(batch)
        try:
            answers = await self._tried(batch)
        except (ValkeyError, OSError) as fault:
            answers = [self._unavailable(fault)] * len(batch)
        else:
            self._back()
        finally:
            self._waiting_bytes -= sum(operation.size for operation in batch)
            for operation, answer in zip(batch, answers, strict=True):
                lost = isinstance(answer, ResponseError)
                operation.settle(self._unavailable(answer) if lost else answer)  # type: ignore[arg-type]

    async def _tried(self, batch: Sequence[_AskedOfStore]) -> Sequence[object]:
        """The answers, after as many attempts as there is time for; one, where the store was away
        before. Raises what the client raises."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (0 if self._fault else PATIENCE_SECS)
        pauses = itertools.chain(_PAUSES_SECS, itertools.repeat(_PAUSES_SECS[-1]))
        while True:
            cancellation.checkpoint()
            try:
                return await self._sent(batch)
            except _LASTING:
                raise
            except _PASSING:
                await self._client.connection_pool.disconnect()
                pause = next(pauses)
                if loop.time() + pause > until:
                    raise
            await asyncio.sleep(pause)

    async def _sent(self, batch: Sequence[_AskedOfStore]) -> Sequence[object]:
        """The answers of one attempt; two where the store does not know the script (any more)."""
        try:
            return await self._answers(batch)
        except NoScriptError:
            async with asyncio.timeout(_ANSWER_SECS + _CONNECT_SECS):
                await self._client.script_load(TEXT)
            return await self._answers(batch)

    async def _answers(self, batch: Sequence[_AskedOfStore]) -> Sequence[object]:
        name = f"{self._id}-{self._batches}"
        pipeline = self._client.pipeline(transaction=False)
        for nth, operation in enumerate(batch):
            what, *more = operation.arguments
            pipeline.evalsha(_SHA, 1, self._prefix, what, name, nth, *more)  # type: ignore[arg-type]
        async with asyncio.timeout(_ANSWER_SECS + _CONNECT_SECS):
            answers: list[object] = await pipeline.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, _PASSING):
                raise answer
        return answers

    def _unavailable(self, fault: Exception) -> StateUnavailable:
        text = _reason(fault)
        self._say(text)
        return StateUnavailable(text)

    def _say(self, fault: str) -> None:
        if not self._fault:
            log.warning(
                "the shared state at %s cannot be used (%s): what needs it is refused until it can",
                self._where,
                fault,
            )
        self._fault = fault

    def _back(self) -> None:
        if self._fault:
            self._fault = ""
            log.info("the shared state at %s can be used again", self._where)

    async def _keep_purging(self) -> None:
        while True:
            await asyncio.sleep(PURGE_SECS * (0.5 + random.random()))  # noqa: S311  # not all at once
            with contextlib.suppress(StateUnavailable):
                await self.purge()

    async def purge(self) -> None:
        """Forget what is past its time, and above the bound of all owners what is oldest."""
        await self._do("purge", "", "", self._bounds.all_bytes)


def client_of(url: str) -> Valkey:
    """A client for one store, which connects when it is first used, and gives up soon."""
    client: Valkey = Valkey.from_url(
        url, socket_timeout=_ANSWER_SECS, socket_connect_timeout=_CONNECT_SECS
    )
    return client


def _shown(client: Valkey) -> str:
    known = client.connection_pool.connection_kwargs
    return f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"


def _reason(fault: Exception) -> str:
    """Why it cannot be used, and what to do; without a password, which no error of it has."""
    if isinstance(fault, _LASTING):
        return f"it refuses this user or password ({fault}); state.url has them"
    if "maxmemory" in str(fault):
        return "it is full: give it more maxmemory, or keep less (results.keep_mb)"
    return str(fault) or type(fault).__name__


def _digest(value: bytes | None) -> str:
    return "" if value is None else hashlib.sha1(value, usedforsecurity=False).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")
