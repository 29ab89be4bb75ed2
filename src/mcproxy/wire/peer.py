"""The other end of a connection: requests out and their replies matched by id, how much it may
leave unread, and how much of what it sends is worked on before everybody else gets a turn. No I/O.

``Peer`` owns the pending requests of one connection. It knows no MCP method and no transport: it is
given a function that sends bytes, and is fed the messages that arrive. Late, repeated and unknown
replies are dropped, since servers in the field send all three.

A peer that does not read must not cost memory without end. Whoever can wait waits (``Outbox.room``:
our requests); what cannot (our replies, notifications) is kept, up to ``UnreadLimits``, beyond
which the peer is to be ended by its owner. What arrives can be read without ever waiting, so a peer
that sends without end would keep the loop to itself. After TURN_MESSAGES or TURN_BYTES, whichever
comes first, the loop goes round.
"""

import asyncio
import contextlib
import itertools
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Generic, TypeVar

import msgspec

from mcproxy.errors import PeerClosed, RpcError
from mcproxy.types import Cause
from mcproxy.wire.message import (
    EMPTY_OBJECT,
    Message,
    Notification,
    Overlong,
    Request,
    RequestId,
    Response,
    encode,
)

_ID = re.compile(rb'"id"\s*:\s*(\d+)')
_MAX_DIGITS = 18  # of an id given back as text; Python refuses to read numbers of thousands


class Peer:
    """The other end of a connection: ``post`` sends bytes, ``room`` waits until it takes more.

    ``on_message`` is given what the other end sends of its own accord (requests and
    notifications), and the request of ours on whose stream it came, where the transport has a
    stream for each. ``on_abandon`` is called with the id of a request that its caller no longer
    waits for (time-out or cancellation), and may return a notification that says so; ``on_late``
    with the id of such a request, or of one that never was, that is answered all the same.
    """

    def __init__(
        self,
        post: Callable[[bytes], None],
        room: Callable[[], Awaitable[None]],
        *,
        on_message: Callable[[Request | Notification, RequestId | None], None],
        on_abandon: Callable[[RequestId], Notification | None],
        on_late: Callable[[RequestId], None],
    ) -> None:
        self._post = post
        self._room = room
        self._on_message = on_message
        self._on_abandon = on_abandon
        self._on_late = on_late
        self._ids = itertools.count(1)
        self._pending: dict[RequestId, asyncio.Future[bytes]] = {}
        self._closed: str | None = None
        self._cause: Cause | None = None

    @property
    def closed(self) -> PeerClosed | None:
        """Why the connection ended; None while it stands.

        A new exception each time: one that is raised again and again grows with each time.
        """
        return None if self._closed is None else PeerClosed(self._closed, cause=self._cause)

    def new_id(self) -> int:
        """The id of a request that is about to be sent."""
        return next(self._ids)

    async def request(
        self, method: str, params: bytes = EMPTY_OBJECT, id_: int | None = None
    ) -> bytes:
        """Send a request, give its result as raw JSON; ``id_`` is of ``new_id``.

        Has no time limit of its own: use ``asyncio.timeout`` around it. Raises RpcError for an
        error reply, PeerClosed when the connection ends first.
        """
        await self._room()  # before it is written down: a slow peer holds back who calls it
        if self._closed is not None:
            raise PeerClosed(self._closed, cause=self._cause)
        id_ = self.new_id() if id_ is None else id_
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[id_] = reply
        try:
            self._post(encode(Request(id_, method, params)))
            return await reply
        except asyncio.CancelledError:
            self._abandon(id_)
            raise
        finally:
            del self._pending[id_]

    def post(self, message: Message) -> None:
        """Send a notification, or the reply to a request of the other end; nothing once closed."""
        if self._closed is None:
            with contextlib.suppress(PeerClosed):
                self._post(encode(message))

    def receive(self, message: Message, within: RequestId | None = None) -> None:
        """Take one message that arrived; ``within``: the request on whose stream it came."""
        if isinstance(message, Request | Notification):
            self._on_message(message, within)
            return
        reply = self._waiting(message.id)
        if reply is None:
            if message.id is not None:
                self._on_late(_as_sent(message.id))
        elif isinstance(message, Response):
            reply.set_result(message.result)
        else:
            reply.set_exception(message.error)

    def awaits(self, id_: RequestId) -> bool:
        """Whether a request has neither been answered nor given up."""
        return self._waiting(id_) is not None

    def fail(self, id_: RequestId | None, error: RpcError | PeerClosed) -> None:
        """Fail one pending request; the conversation goes on."""
        reply = self._waiting(id_)
        if reply:
            reply.set_exception(error)

    def receive_overlong(self, line: Overlong, limit: int) -> None:
        """Fail the request whose reply was too long to be read."""
        found = _ID.findall(line.edges)
        known = [int(digits) for digits in found if int(digits) in self._pending]
        if not known and len(self._pending) == 1:
            known = [int(id_) for id_ in self._pending]
        text = f"the reply has {line.size} bytes in one line, the limit is {limit}"
        for id_ in known[:1]:
            self.fail(id_, RpcError(RpcError.INTERNAL_ERROR, text))

    def close(self, reason: str, cause: Cause | None = None) -> None:
        """Fail all pending requests and every later one with PeerClosed."""
        if self._closed is not None:
            return
        self._closed, self._cause = reason, cause
        for reply in self._pending.values():
            if not reply.done():
                reply.set_exception(PeerClosed(reason, cause=cause))

    def _waiting(self, id_: RequestId | None) -> asyncio.Future[bytes] | None:
        if id_ is None:
            return None
        reply = self._pending.get(id_ if type(id_) is int else _as_sent(id_))
        return reply if reply and not reply.done() else None

    def _abandon(self, id_: RequestId) -> None:
        note = self._on_abandon(id_)
        if note:
            self.post(note)


def _as_sent(id_: RequestId) -> RequestId:
    """An id as we sent it: some servers give ids back as text."""
    if isinstance(id_, str) and id_.isdecimal() and len(id_) <= _MAX_DIGITS:
        return int(id_)
    return id_


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
