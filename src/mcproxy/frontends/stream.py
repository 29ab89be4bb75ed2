"""One ordered stream of messages to a client, the newest of which are kept.

What is kept is both the queue of a reader that is slow and the replay for one that was lost. A
reader that falls too far behind is let go, so nobody waits for it and memory stays bounded; it can
come back and read on from where it was. Knows neither HTTP nor JSON-RPC.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

KEPT_MESSAGES = 256  # that were read, or that nobody reads: more than a reconnection misses
KEPT_BYTES = 1 << 20
QUEUED_MESSAGES = 4096  # that a reader has yet to take: a burst of small ones is no fault of it
QUEUED_BYTES = 40 << 20  # two of the largest
CROWDED_MESSAGES, CROWDED_BYTES = QUEUED_MESSAGES // 2, QUEUED_BYTES // 2


@dataclass(frozen=True, slots=True)
class Event:
    """A message and its number in the stream, from 1."""

    number: int
    message: bytes


class Stream:
    """Messages in order. One reader at a time: a new one takes the place of the old."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.ended = False
        self._kept: deque[Event] = deque()
        self._size = 0
        self._last = 0
        self._taken = 0
        self._reader: Reader | None = None

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
        self._trim()
        self._wake()

    def end(self, message: bytes | None = None) -> None:
        """Append the last message, if any; readers are done once they have it."""
        if message is not None:
            self.put(message)
        self.ended = True
        self._wake()

    def attach(self, after: int | None = None) -> "Reader":
        """Read on after a message's number; None: after what an earlier reader took."""
        if self._reader:
            self._reader.lost.set()
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
        """Whether there are messages after a number."""
        return number < self._last

    def _trim(self) -> None:
        while len(self._kept) > 1:
            oldest = self._kept[0]
            reader = self._reader if self._reader and self._reader.at < oldest.number else None
            if self._fits(queued=reader is not None):
                return
            if reader:
                reader.lost.set()
                self._taken, self._reader = reader.at, None
            self._kept.popleft()
            self._size -= len(oldest.message)

    def _fits(self, *, queued: bool) -> bool:
        if queued:
            return len(self._kept) <= QUEUED_MESSAGES and self._size <= QUEUED_BYTES
        return len(self._kept) <= KEPT_MESSAGES and self._size <= KEPT_BYTES

    def _wake(self) -> None:
        if self._reader:
            self._reader.news.set()


class Reader:
    """Who reads a stream now. ``lost`` is set when it was too slow, or when another took over."""

    def __init__(self, stream: Stream, at: int) -> None:
        self.stream = stream
        self.at = at
        self.lost = asyncio.Event()
        self.news = asyncio.Event()

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self.stream.ended and not self.stream.beyond(self.at)

    async def wait(self) -> None:
        """Return once there is something to take, or nothing more will come."""
        while not (self.stream.ended or self.stream.beyond(self.at)):
            self.news.clear()
            await self.news.wait()

    def take(self) -> list[Event]:
        """What came since the last time."""
        events = self.stream.after(self.at)
        if events:
            self.at = events[-1].number
        return events

    def close(self) -> None:
        """Read no more."""
        self.stream.detach(self)
