"""One conversation of JSON-RPC messages: requests out and their replies matched by id.

Owns the pending requests of one connection. Knows no MCP method and no transport: it is given a
function that sends bytes, and is fed the messages that arrive. Late, repeated and unknown replies
are dropped, since servers in the field send all three.
"""

import asyncio
import contextlib
import itertools
import re
from collections.abc import Awaitable, Callable

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
        if ended := self.closed:
            raise ended
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
        reply = self._pending.get(_as_sent(id_)) if id_ is not None else None
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
