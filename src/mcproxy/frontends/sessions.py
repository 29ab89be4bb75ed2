"""The sessions of clients that keep one: Streamable HTTP up to 2025-11-25, and HTTP+SSE.

Owns the tasks of all requests, and the bounds: how many sessions there are, how long an idle one
lives, how much is kept for clients that lost their connection. No client can make it grow further.
"""

import asyncio
import contextlib
import ctypes
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from mcproxy.errors import McproxyError
from mcproxy.frontends.budget import Budget
from mcproxy.frontends.conversation import Account, Conversation
from mcproxy.frontends.drain import Gate
from mcproxy.frontends.responses import HEARTBEAT_SECS
from mcproxy.frontends.session import HOME, Kind, Session, Whose
from mcproxy.frontends.stream import BACKLOG_BYTES, Backlog, Stream
from mcproxy.gateway.core import Gateway
from mcproxy.gateway.request import RequestSource

FULL_SECS = 60  # a session that was opened and never used ends within that time
_ENTRY_BYTES = 2 << 10  # what a kept stream costs beside its messages

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
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
        self._answering: set[asyncio.Task[None]] = set()
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
        for id_ in list(self._sessions):
            self.drop(id_)
        for task in self._answering:
            task.cancel()
        for end in list(self._listeners):
            end()

    def conversation(self, owner: str, home: Stream | None = None) -> Conversation:
        """A conversation whose tasks belong here; without a session it ends with its request.
        ``owner``: whose share its requests take."""
        return Conversation(self._gateway, self._gate, self._run, self.account(owner), home)

    def account(self, owner: str) -> Account:
        """What counts the requests of this owner."""
        return Account(self._requests, self.body_bytes, owner)

    def stream(self, owner: str, name: str = "") -> Stream:
        """A stream whose messages count as waiting for this owner."""
        return Stream(name, owner, self._backlog)

    def open(self, kind: Kind, source: RequestSource, share: str) -> Session:
        """A new session of this caller; ``share``: whose share it takes. Where that is used up, the
        session of it goes that was never used, or is idle. Raises Full, and AccessDenied."""
        name = self._gateway.identify(source)
        id_ = secrets.token_urlsafe(24)
        new_stream = partial(self.stream, share)
        conversation = self.conversation(share, new_stream(HOME))
        session = Session(
            id_, Whose(kind, replace(source, admitted=None), name, share), conversation, new_stream
        )
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

    def _run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        return task

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
