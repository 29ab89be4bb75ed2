"""How much of what one peer sends is worked on before everybody else gets a turn.

What arrives can be read without ever waiting, so a peer that sends without end would keep the loop
to itself. After TURN_MESSAGES or TURN_BYTES, whichever comes first, the loop goes round.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

TURN_MESSAGES = 32  # a millisecond, where each is a fault that is logged
TURN_BYTES = 1 << 20  # some milliseconds of reading JSON

T = TypeVar("T")


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
