"""One ordered stream of messages to a client, the newest of which are kept.

What is kept is both the queue of a reader that is slow and the replay for one that was lost. A
reader that falls too far behind is let go, so nobody waits for it and memory stays bounded; it can
come back and read on from where it was. Knows neither HTTP nor JSON-RPC.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from weakref import WeakSet

import msgspec

from mcproxy.cancellation import Stoppable
from mcproxy.errors import McproxyError

KEPT_MESSAGES = 256  # that were read, or that nobody reads: more than a reconnection misses
KEPT_BYTES = 1 << 20
QUEUED_MESSAGES = 4096  # that a reader has yet to take: a burst of small ones is no fault of it
QUEUED_BYTES = 40 << 20  # two of the largest
BACKLOG_BYTES = 96 << 20  # that wait on all streams together
_COUNTED_BYTES = 16 << 10  # smaller streams are not worth counting: a thousand are 16 MiB
CROWDED_MESSAGES, CROWDED_BYTES = QUEUED_MESSAGES // 2, QUEUED_BYTES // 2


class ReaderLost(McproxyError):
    """The reader of a stream was too slow, or another took over."""


class Event(msgspec.Struct, frozen=True):
    """A message and its number in the stream, from 1."""

    number: int
    message: bytes


class Backlog:
    """What waits on all streams. Beyond ``limit`` bytes, who makes most of them wait loses the
    stream that holds most; streams are held weakly, and counted as they are."""

    def __init__(self, limit: int = BACKLOG_BYTES) -> None:
        self._limit = limit
        self._streams: WeakSet[Stream] = WeakSet()

    def grew(self, stream: "Stream") -> None:
        """A stream holds more than before."""
        if stream.size < _COUNTED_BYTES:
            return
        self._streams.add(stream)
        while (total := sum(one.size for one in self._streams)) > self._limit and total:
            held: Counter[str] = Counter()
            for one in self._streams:
                held[one.owner] += one.size
            owner = held.most_common(1)[0][0]
            of_owner = [one for one in self._streams if one.owner == owner]
            max(of_owner, key=lambda one: one.size).abandon()


class Stream:
    """Messages in order. One reader at a time: a new one takes the place of the old.

    ``owner`` is whose share of the ``backlog`` it takes. ``returns``: a reader that was let go can
    come back; one that cannot is rather spared what it can do without, see ``crowded``.
    """

    def __init__(
        self,
        name: str = "",
        owner: str = "",
        backlog: Backlog | None = None,
        *,
        returns: bool = True,
    ) -> None:
        self.name = name
        self.returns = returns
        self.owner = owner
        self._backlog = backlog
        self.ended = False
        self._kept: deque[Event] = deque()
        self._size = 0
        self._last = 0
        self._taken = 0
        self._reader: Reader | None = None
        self.on_put: Callable[[Event], None] | None = None  # is given each message

    @property
    def size(self) -> int:
        """The bytes of the messages that are kept."""
        return self._size

    @property
    def has_reader(self) -> bool:
        """Whether somebody reads."""
        return self._reader is not None

    @property
    def crowded(self) -> bool:
        """Whether the reader has yet to take so much that only replies should be added."""
        if self._reader is None:
            return False
        waiting = self._last - self._reader.at
        return waiting > CROWDED_MESSAGES or (waiting > 1 and self._size > CROWDED_BYTES)

    def put(self, message: bytes) -> None:
        """Append a message; after the end, nothing."""
        if self.ended:
            return
        self._last += 1
        self._kept.append(Event(self._last, message))
        self._size += len(message)
        if self.on_put is not None:
            self.on_put(self._kept[-1])
        self._trim()
        self._wake()
        if self._backlog:
            self._backlog.grew(self)

    def restore(self, events: Sequence[Event], last: int = 0) -> None:
        """Go on where another stream of this name ended: after these messages, and at least after
        the number ``last``."""
        self._kept.extend(events)
        self._size += sum(len(each.message) for each in events)
        self._last = max(self._last, last, *(each.number for each in events))
        self._trim()

    def abandon(self) -> None:
        """Drop all that is kept, and let the reader go: too much waits for it."""
        self._let_go()
        self._kept.clear()
        self._size = 0

    def end(self, message: bytes | None = None) -> None:
        """Append the last message, if any; readers are done once they have it."""
        if message is not None:
            self.put(message)
        self.ended = True
        self._wake()

    def attach(self, after: int | None = None) -> "Reader":
        """Read on after a message's number; None: after what an earlier reader took."""
        if self._reader:
            self._reader.lose()
            self.detach(self._reader)
        self._reader = Reader(self, self._taken if after is None else after)
        return self._reader

    def detach(self, reader: "Reader") -> None:
        """The reader is gone."""
        if self._reader is reader:
            self._taken = reader.at
            self._reader = None
            self._trim()

    def after(self, number: int) -> list[Event]:
        """The messages that are kept after a number."""
        return [event for event in self._kept if event.number > number]

    def beyond(self, number: int) -> bool:
        """Whether messages are kept after a number."""
        return bool(self._kept) and number < self._last

    def lacks(self, number: int) -> bool:
        """Whether no message with this number was ever here."""
        return number > self._last

    def _trim(self) -> None:
        while len(self._kept) > 1:
            oldest = self._kept[0]
            reader = self._reader if self._reader and self._reader.at < oldest.number else None
            if self._fits(queued=reader is not None):
                return
            if reader:
                self._let_go()
            self._kept.popleft()
            self._size -= len(oldest.message)

    def _let_go(self) -> None:
        if self._reader:
            self._reader.lose()
            self._taken, self._reader = self._reader.at, None

    def _fits(self, *, queued: bool) -> bool:
        if queued:
            return len(self._kept) <= QUEUED_MESSAGES and self._size <= QUEUED_BYTES
        return len(self._kept) <= KEPT_MESSAGES and self._size <= KEPT_BYTES

    def _wake(self) -> None:
        if self._reader:
            self._reader.wake()


class Reader:
    """Who reads a stream now. ``lost`` is set when it was too slow, or when another took over."""

    def __init__(self, stream: Stream, at: int) -> None:
        self.stream = stream
        self.at = at
        self.lost = False
        self._block: Stoppable | None = None
        self._news: asyncio.Future[None] | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self.stream.ended and not self.stream.beyond(self.at)

    def stop_when_lost(self, block: Stoppable) -> None:
        """Have this block end with ReaderLost when it is, or was."""
        self._block = block
        if self.lost:
            block.stop(ReaderLost())

    def lose(self) -> None:
        """It reads no more, and is told so."""
        self.lost = True
        if self._block:
            self._block.stop(ReaderLost())

    async def wait(self) -> None:
        """Return once there is something to take, or nothing more will come."""
        while not (self.stream.ended or self.stream.beyond(self.at)):
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    def wake(self) -> None:
        """There is something to take."""
        if self._news and not self._news.done():
            self._news.set_result(None)

    def next(self, most_bytes: int) -> list[Event]:
        """What comes next: the first, and those after it that are not too large together. They wait
        until they are said to be ``read``."""
        events: list[Event] = []
        size = 0
        for event in self.stream.after(self.at):
            size += len(event.message)
            if events and size > most_bytes:
                break
            events.append(event)
        return events

    def read(self, events: Sequence[Event]) -> None:
        """These have been sent."""
        if events:
            self.at = events[-1].number

    def close(self) -> None:
        """Read no more."""
        self.stream.detach(self)
