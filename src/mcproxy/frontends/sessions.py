"""The sessions of clients that keep one: Streamable HTTP up to 2025-11-25, and HTTP+SSE.

A session has a conversation, its streams, and replies that its client has yet to fetch. All of them
together own the tasks of all requests, and the bounds: how many sessions there are, how long an
idle one lives, how much is kept for clients that lost their connection. No client can make it grow
further. Knows no HTTP.
"""

import asyncio
import contextlib
import ctypes
import itertools
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Literal

import msgspec
from msgspec.structs import replace

from mcproxy.cancellation import Stoppable
from mcproxy.errors import McproxyError
from mcproxy.exchange import ClientSession
from mcproxy.frontends.conversation import Account, Conversation, Withdrawn, session_on
from mcproxy.frontends.responses import HEARTBEAT_SECS
from mcproxy.frontends.stream import BACKLOG_BYTES, Backlog, Event, Stream
from mcproxy.gateway.core import Gateway
from mcproxy.gateway.request import RequestSource
from mcproxy.queues import Budget, Gate

Kind = Literal["streamable", "sse"]

MAX_DIGITS = 18  # of an event's number; Python refuses to read numbers of thousands
HOME = "0"  # the stream for what belongs to no request
FULL_SECS = 60  # a session that was opened and never used ends within that time
_ENTRY_BYTES = 2 << 10  # what a kept stream costs beside its messages

log = logging.getLogger(__name__)


class Whose(msgspec.Struct, frozen=True):
    """Whose a session is. ``owner`` is the caller's name: nobody else may use the session, whoever
    knows its id. ``share``: whose share of what the gateway can carry it takes."""

    kind: Kind
    source: RequestSource
    owner: str
    share: str


class Session:
    """``new_stream`` makes streams of that share, by name; ``turn`` counts the gateways that had
    the session before."""

    def __init__(
        self,
        id_: str,
        whose: Whose,
        conversation: Conversation,
        new_stream: Callable[[str], Stream],
        turn: int = 0,
    ) -> None:
        self.id = id_
        self.whose = whose
        self.conversation = conversation
        self.home = conversation.home
        self._new_stream = new_stream
        self.used = False
        self.last_use = 0.0
        self.version = ""
        before = f"{turn}." if turn else ""  # streams of another gateway have other names
        self._names = (f"{before}{number}" for number in itertools.count(1))
        self._streams = {HOME: self.home}
        self._answering: dict[str, Stoppable] = {}  # by the name of its stream
        self._leaving: dict[str, asyncio.TimerHandle] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered and nobody listens."""
        return self.conversation.idle and not self.home.has_reader and not self._leaving

    @property
    def streams(self) -> Sequence[Stream]:
        """Its own, and those of replies that are kept."""
        return tuple(self._streams.values())

    def source_of(self, source: RequestSource) -> RequestSource:
        """A request of this session: it goes to the session's endpoint, for who sent it."""
        own = self.whose.source
        header = source.header or own.header
        if (source.path, source.header, source.mode) == (own.path, header, own.mode):
            return source
        return replace(own, caller=source.caller, header=header, admitted=source.admitted)

    def begin_stream(self, block: Stoppable) -> Stream:
        """A stream for the request that is answered in this block."""
        name = next(self._names)
        stream = self._streams[name] = self._new_stream(name)
        self._answering[name] = block
        return stream

    def cancel(self, stream: Stream) -> None:
        """Stop the request that the stream answers; nobody will come for the reply."""
        if block := self._answering.get(stream.name):
            block.stop(Withdrawn())
        self.forget(stream)

    def forget(self, stream: Stream) -> None:
        """The stream cannot be resumed any more."""
        self._streams.pop(stream.name, None)
        self._answering.pop(stream.name, None)

    def restored(self, name: str, events: Sequence[Event]) -> Stream:
        """A stream that another gateway began, with what it sent."""
        stream = self._streams[name] = self._new_stream(name)
        stream.restore(events)
        return stream

    def find(self, event_id: str) -> tuple[Stream, int] | None:
        """The stream and the number of its event with this id, if the stream is still kept."""
        name, _, number = event_id.partition("-")
        stream = self._streams.get(name)
        readable = number.isdecimal() and len(number) <= MAX_DIGITS
        return (stream, int(number)) if stream and readable else None

    def await_return(self, stream: Stream, secs: float) -> None:
        """The client lost a stream before its end; stop the request unless it comes back."""

        def check() -> None:
            del self._leaving[stream.name]
            self.cancel(stream)

        self.returned(stream)
        self._leaving[stream.name] = asyncio.get_running_loop().call_later(secs, check)

    def returned(self, stream: Stream) -> None:
        """The client reads the stream again."""
        timer = self._leaving.pop(stream.name, None)
        if timer:
            timer.cancel()

    def close(self) -> None:
        """Stop everything that the client asked for, and end its streams; the one that a request
        is being answered on ends with the request."""
        self.conversation.cancel_all()
        for timer in self._leaving.values():
            timer.cancel()
        for name, stream in self._streams.items():
            if name not in self._answering:
                stream.end()


class Bounds(msgspec.Struct, frozen=True):
    """What clients may take and leave behind, all together; one of them alone half of what a
    ``Budget`` counts. A session is idle while no request of it is being answered and no stream of
    it is open."""

    sessions: int = 2000  # some 10 KiB each; a gateway for a team has tens
    idle_secs: float = 3600.0  # an agent's user goes to lunch; many clients cannot start anew
    unused_secs: float = 60.0  # opened and never used: a probe, or a client that crashed
    sweep_secs: float = 30.0  # how often is looked for sessions that are over
    resume_secs: float = 30.0  # a client that lost a reply's stream comes back within this time
    kept_bytes: int = 64 << 20  # of replies that were sent on streams, over all sessions
    heartbeat_secs: float = HEARTBEAT_SECS
    listeners: int = 1000  # subscriptions of stateless clients: open streams without a session
    requests: int = 1024  # being answered; 64 scripts run at once, 256 more wait
    body_bytes: int = 96 << 20  # of requests: twenty-four of the largest
    backlog_bytes: int = BACKLOG_BYTES  # that wait for their readers, on all streams


class Full(McproxyError):
    """There are as many sessions or listeners as there may be, and all of them are in use."""


class Sessions:
    """Opens, finds and ends sessions. Usable while ``running``."""

    def __init__(
        self,
        gateway: Gateway,
        gate: Gate,
        bounds: Bounds | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bounds = bounds or Bounds()
        self._gateway = gateway
        self._gate = gate
        self._now = now
        self._tasks = asyncio.TaskGroup()
        self._sessions: dict[str, tuple[Session, Callable[[], None]]] = {}
        self._listeners: dict[Callable[[], None], str] = {}
        self._backlog = Backlog(self.bounds.backlog_bytes)
        self._sessions_held = Budget(self.bounds.sessions)
        self._listeners_held = Budget(self.bounds.listeners)
        self._requests = Budget(self.bounds.requests)
        self.body_bytes = Budget(self.bounds.body_bytes)
        self._kept: OrderedDict[Stream, tuple[Session, int]] = OrderedDict()
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def live(self) -> Sequence[Session]:
        """All that there are."""
        return [session for session, _ in self._sessions.values()]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Own the tasks of requests; on leaving, end what is left."""
        async with self._tasks:
            sweeping = self._tasks.create_task(self._keep_sweeping(), name="sessions")
            try:
                yield
            finally:
                sweeping.cancel()
                self.close()

    def close(self) -> None:
        """End all sessions, subscriptions and requests; the program stops."""
        self._gate.stop()
        for id_ in list(self._sessions):
            self.drop(id_)
        for end in list(self._listeners):
            end()

    def conversation(
        self, owner: str, home: Stream | None = None, session: ClientSession | None = None
    ) -> Conversation:
        """A conversation whose tasks belong here; without a session it ends with its request.
        ``owner``: whose share its requests take."""
        account = self.account(owner)
        return Conversation(self._gateway, self._gate, self.run, account, home, session)

    def account(self, owner: str) -> Account:
        """What counts the requests of this owner."""
        return Account(self._requests, self.body_bytes, owner)

    def stream(self, owner: str, name: str = "") -> Stream:
        """A stream whose messages count as waiting for this owner."""
        return Stream(name, owner, self._backlog)

    def open(
        self,
        kind: Kind,
        source: RequestSource,
        share: str,
        *,
        id_: str | None = None,
        turn: int = 0,
    ) -> Session:
        """A new session of this caller; ``share``: whose share it takes. Where that is used up, the
        session of it goes that was never used, or is idle. ``id_`` and ``turn`` are of one that was
        at another gateway. Raises Full, and AccessDenied."""
        name = self._gateway.identify(source)
        id_ = id_ or secrets.token_urlsafe(24)
        new_stream = partial(self.stream, share)
        home = new_stream(HOME)
        conversation = self.conversation(share, home, session_on(home, id_, moved=turn > 0))
        whose = Whose(kind, replace(source, admitted=None), name, share)
        session = Session(id_, whose, conversation, new_stream, turn)
        session.last_use = self._now()
        unsubscribe = self._gateway.subscribe(source, session.conversation.announce)
        with contextlib.ExitStack() as undo:
            undo.callback(unsubscribe)
            if not self._sessions_held.take(share):
                self._make_room(share)
                self._sessions_held.take(share)
            undo.pop_all()
        self._sessions[session.id] = (session, unsubscribe)
        return session

    def find(self, id_: str, kind: Kind, source: RequestSource) -> Session | None:
        """The session with this id, if it is this caller's, at this endpoint."""
        session, _ = self._sessions.get(id_, (None, None))
        if session is None or session.whose.kind != kind:
            return None
        if session.whose.owner != self._gateway.identify(source):
            return None
        if kind == "streamable" and session.whose.source.path != source.path:
            return None
        session.used, session.last_use = True, self._now()
        return session

    def drop(self, id_: str) -> None:
        """End a session."""
        session, unsubscribe = self._sessions.pop(id_, (None, None))
        if session and unsubscribe:
            self._sessions_held.give(session.whose.share)
            unsubscribe()
            session.close()
            for stream in session.streams:
                self._release(stream)

    def sweep(self) -> None:
        """Drop the sessions that have been idle for too long."""
        now, before = self._now(), len(self)
        for session, _ in list(self._sessions.values()):
            limit = self.bounds.idle_secs if session.used else self.bounds.unused_secs
            if session.used and not session.idle:
                session.last_use = now
            elif now - session.last_use > limit:
                self.drop(session.id)
        if len(self) < before:
            _give_back()
            log.info(
                "%d sessions ended that nobody used, %d are left", before - len(self), len(self)
            )

    def closed(self, session: Session, stream: Stream) -> None:
        """A connection that carried the stream is gone: a stream that has ended is kept for a
        while, since its last part may be lost; one that has not may be resumed soon."""
        session.last_use = self._now()
        if stream is session.home or stream.has_reader:  # the latter: another took over
            return
        if stream.ended:
            self._keep(session, stream)
        else:
            session.await_return(stream, self.bounds.resume_secs)

    def listen(self, end: Callable[[], None], share: str) -> Callable[[], None]:
        """Count a subscription, to be ended when the program stops; gives what uncounts it.

        ``share``: whose it takes. Raises Full.
        """
        if not self._listeners_held.take(share):
            raise Full
        self._listeners[end] = share

        def uncount() -> None:
            if self._listeners.pop(end, None) is not None:
                self._listeners_held.give(share)

        return uncount

    def run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A task that belongs here."""
        return self._tasks.create_task(work)

    def _keep(self, session: Session, stream: Stream) -> None:
        if session.id not in self._sessions:  # it is over: nobody can come back for it
            return
        self._release(stream)
        size = stream.size + _ENTRY_BYTES
        self._kept[stream] = (session, size)
        self._kept_bytes += size
        while self._kept_bytes > self.bounds.kept_bytes:
            oldest, (its, _) = next(iter(self._kept.items()))
            its.forget(oldest)
            self._release(oldest)

    def _release(self, stream: Stream) -> None:
        _, size = self._kept.pop(stream, (None, 0))
        self._kept_bytes -= size

    def _make_room(self, share: str) -> None:
        """Drop the session that is least likely to be missed, of this share if it is used up, else
        of the largest. Raises Full."""
        full = self._sessions_held.held(share) >= self._sessions_held.of_one
        of = share if full else self._sessions_held.largest
        # One that was opened and never used may go although its stream is open.
        spare = [
            session
            for session, _ in self._sessions.values()
            if session.whose.share == of and (session.idle or not session.used)
        ]
        if not spare:
            raise Full
        self.drop(min(spare, key=lambda session: (session.used, session.last_use)).id)

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(self.bounds.sweep_secs)
            self.sweep()


def _give_back() -> None:
    """Give memory that was freed back to the system; by itself, glibc keeps most of it."""
    with contextlib.suppress(AttributeError):  # musl has no malloc_trim(3), and needs none
        ctypes.CDLL(None).malloc_trim(0)
