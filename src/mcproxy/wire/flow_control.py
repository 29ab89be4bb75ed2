"""How much one peer may leave unread, and how much of what it sends is worked on before everybody
else gets a turn. No I/O.

A peer that does not read must not cost memory without end. Whoever can wait waits (``Outbox.room``:
our requests); what cannot (our replies, notifications) is kept, up to ``UnreadLimits``, beyond
which the peer is to be ended by its owner.

What arrives can be read without ever waiting, so a peer that sends without end would keep the loop
to itself. After TURN_MESSAGES or TURN_BYTES, whichever comes first, the loop goes round.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import msgspec

TURN_MESSAGES = 32  # a millisecond, where each is a fault that is logged
TURN_BYTES = 1 << 20  # some milliseconds of reading JSON
T = TypeVar("T")


class UnreadLimits(msgspec.Struct, frozen=True):
    """What a peer may leave unread. A busy one catches up on less; none needs more."""

    messages: int = 4096
    bytes: int = 32 << 20  # two of the largest


class Unread:
    """Counts what one peer was sent and has not taken yet."""

    def __init__(self, bounds: UnreadLimits | None = None) -> None:
        self._bounds = bounds or UnreadLimits()
        self._messages = 0
        self._bytes = 0

    @property
    def excess(self) -> str:
        """Why the peer is to be ended; empty while it is within its bounds."""
        if self._messages <= self._bounds.messages and self._bytes <= self._bounds.bytes:
            return ""
        return (
            f"it does not read what it is sent: {self._messages} messages of {self._bytes} bytes "
            f"wait, the limits are {self._bounds.messages} and {self._bounds.bytes}"
        )

    def add(self, size: int) -> None:
        """A message was sent."""
        self._messages += 1
        self._bytes += size

    def remove(self, size: int) -> None:
        """A message was taken, or given up."""
        self._messages -= 1
        self._bytes -= size


class Outbox:
    """The messages on their way through ``write``, in order.

    ``pause`` and ``resume`` tell whether ``write`` finds room, as ``asyncio.Protocol`` has them;
    ``on_excess`` is called, with the reason, when more is unread than may be.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        on_excess: Callable[[str], None],
        bounds: UnreadLimits | None = None,
    ) -> None:
        self._write, self._on_excess = write, on_excess
        self._unread = Unread(bounds)
        self._waiting: deque[bytes] = deque()
        self._turn = asyncio.Lock()
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = False

    async def room(self) -> None:
        """Wait, in order of arrival, until the peer takes more: then post without waiting again."""
        if self._writable.is_set():
            return
        async with self._turn:
            while not self._writable.is_set():  # who came by without waiting may have filled it
                await self._writable.wait()

    def post(self, data: bytes) -> None:
        """Send a message without waiting; none once closed."""
        if self._closed:
            return
        if self._writable.is_set():
            self._write(data)
            return
        self._unread.add(len(data))
        self._waiting.append(data)
        if excess := self._unread.excess:
            self.close()
            self._on_excess(excess)

    def pause(self) -> None:
        """There is no room for more."""
        self._writable.clear()

    def resume(self) -> None:
        """There is room again: first for what could not wait."""
        self._writable.set()
        while self._waiting and self._writable.is_set():
            data = self._waiting.popleft()
            self._unread.remove(len(data))
            self._write(data)

    def close(self) -> None:
        """Nobody reads any more: what is kept is dropped, and nobody waits."""
        self._closed = True
        self._waiting.clear()
        self._writable.set()


class Pace:
    """Counts what was worked on of one peer."""

    def __init__(self) -> None:
        self._messages = self._bytes = 0

    def spend(self, size: int) -> bool:
        """Count a message, or a piece of one; whether it is the others' turn now."""
        self._messages += 1
        self._bytes += size
        if self._messages < TURN_MESSAGES and self._bytes < TURN_BYTES:
            return False
        self._messages = self._bytes = 0
        return True

    async def keep(self, size: int) -> None:
        """The same where it can be waited: lets the loop go round when it is time."""
        if self.spend(size):
            await asyncio.sleep(0)


class Paced(Generic[T]):
    """Gives what arrives in chunks to ``take``, one piece after the other, at this pace.

    While there is some left, ``pause`` has been called, and no more chunks are expected until
    ``resume`` is.
    """

    def __init__(
        self, take: Callable[[T], None], pause: Callable[[], None], resume: Callable[[], None]
    ) -> None:
        self._take, self._pause, self._resume = take, pause, resume
        self._left: Iterator[T] | None = None
        self._closing: Callable[[], None] | None = None

    def feed(self, pieces: Iterator[T]) -> None:
        """Take the pieces of a chunk."""
        if self._left is not None:
            self._left = itertools.chain(self._left, pieces)
        elif self._run(pieces):
            self._left = pieces
            self._pause()
            asyncio.get_running_loop().call_soon(self._go_on)

    def close(self, then: Callable[[], None]) -> None:
        """Call ``then`` once all that has arrived is taken; nothing is resumed any more."""
        self._closing = then
        if self._left is None:
            then()

    def _go_on(self) -> None:
        if self._left is not None and self._run(self._left):
            asyncio.get_running_loop().call_soon(self._go_on)
            return
        self._left = None
        if self._closing:
            self._closing()
        else:
            self._resume()

    def _run(self, pieces: Iterator[T]) -> bool:
        """Take one turn's pieces; whether some may be left."""
        for number, piece in enumerate(pieces, 1):
            self._take(piece)
            if number == TURN_MESSAGES:
                return True
        return False
