"""Sessions that any of several gateways serves: each is at one gateway, the others carry its
requests there; where that one is gone, the gateway that is asked takes the session over.

What a session is made of is kept in the store that gateways share, under a digest of its id: whose
it is, how the client introduced itself, and what it asked for once for the whole session (log
level, subscriptions), which the gateway that takes over does again. What is sent on a stream is
kept too, for a while and within a bound, so that a client that comes back with ``Last-Event-ID``
finds it at any gateway. Requests that were under way where a gateway died are told so.
"""

import asyncio
import contextlib
import hashlib
import logging
from functools import partial
from weakref import WeakValueDictionary

import msgspec

from mcproxy import mcp
from mcproxy.call_errors import StateUnavailable
from mcproxy.config.model import Mode
from mcproxy.frontends.conversation import ReplyTo, glance
from mcproxy.frontends.peers import OtherGateway, lost
from mcproxy.frontends.sessions import HOME, MAX_DIGITS, Kind, Session, Sessions
from mcproxy.frontends.stream import Event, Stream
from mcproxy.gateway.request import RequestSource
from mcproxy.store.interface import Store
from mcproxy.wire import message as wire

LOOK_SECS = 15.0  # how long a session may be at two gateways that do not reach each other
EVENTS_SECS = 300.0  # how long what was sent may be asked for again
_SEGMENT = 64  # events in one item of the store: the oldest go as a whole
_MAX_URIS = 100  # subscriptions that are taken over
_MAX_INTRODUCTION = 64 << 10  # bytes; of a longer one only the protocol's part is used anyway
_RECORD, _EVENTS = "session", "events/"
_ONCE = frozenset({mcp.SET_LOG_LEVEL, mcp.SUBSCRIBE, mcp.UNSUBSCRIBE})

log = logging.getLogger(__name__)


class SessionRecord(msgspec.Struct, frozen=True):
    """What another gateway needs to know of a session. ``turn`` counts the gateways that had it;
    ``introduction`` are the parameters of ``initialize``; ``agreed`` what was asked for since, by
    method and URI."""

    gateway: str
    url: str
    kind: Kind
    owner: str
    path: str | None
    header: str | None
    mode: Mode | None
    version: str = ""
    introduction: msgspec.Raw = msgspec.Raw(b"{}")
    agreed: dict[str, msgspec.Raw] = {}
    turn: int = 0

    @property
    def peer(self) -> OtherGateway:
        """The gateway that has it."""
        return OtherGateway(self.gateway, self.url)

    def is_for(self, kind: Kind, name: str, source: RequestSource) -> bool:
        """Whether a request of this caller, to this endpoint, may use it."""
        same_place = kind == "sse" or self.path == source.path
        return self.kind == kind and self.owner == name and same_place


_record = msgspec.json.Decoder(SessionRecord).decode
_encode = msgspec.json.Encoder().encode


class SharedSessions:
    """Keeps the sessions of this gateway in the store, and takes over those of others. ``me`` is
    this gateway."""

    def __init__(self, store: Store, sessions: Sessions, me: OtherGateway) -> None:
        self._store, self._sessions, self._me = store, sessions, me
        self._ttl_secs = sessions.bounds.idle_secs
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def keep(self, session: Session, introduction: bytes = b"{}") -> None:
        """A session has begun here. Raises StateUnavailable."""
        whose = session.whose
        said = introduction if len(introduction) <= _MAX_INTRODUCTION else b"{}"
        record = SessionRecord(
            self._me.id,
            self._me.url,
            whose.kind,
            whose.owner,
            whose.source.path,
            whose.source.header,
            whose.source.mode,
            session.version,
            msgspec.Raw(said),
        )
        await self._store.put(key_of(session.id), _RECORD, _encode(record), self._ttl_secs)

    async def record(self, id_: str) -> SessionRecord | None:
        """What is known of a session, wherever it is. Raises StateUnavailable."""
        found = await self._store.get(key_of(id_), _RECORD)
        return _record(found) if found else None

    async def forget(self, id_: str) -> None:
        """The client has ended its session. Raises StateUnavailable."""
        await self._store.remove(key_of(id_), _RECORD)

    async def run(self) -> None:
        """Keep what the store has of sessions here from ending before they do, and end those that
        another gateway has taken over, which could not reach this one. Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECS)
            with contextlib.suppress(StateUnavailable):
                for session in self._sessions.live:
                    record = await self.record(session.id)
                    if record and record.gateway != self._me.id:
                        self._sessions.drop(session.id)

    async def agree(self, session: Session, request: wire.Request) -> None:
        """Keep what a request asks for the whole session, before it is answered. Raises
        StateUnavailable."""
        if request.method not in _ONCE:
            return
        name = request.method
        if name != mcp.SET_LOG_LEVEL:
            name = f"{mcp.SUBSCRIBE} {glance(request.params).uri}"
        gone = request.method == mcp.UNSUBSCRIBE

        def change(old: bytes | None) -> bytes:
            if old is None:
                return b""
            record = _record(old)
            agreed = {key: value for key, value in record.agreed.items() if key != name}
            if not gone and len(agreed) < _MAX_URIS:
                agreed[name] = msgspec.Raw(request.params)
            return _encode(msgspec.structs.replace(record, agreed=agreed))

        await self._store.update(key_of(session.id), _RECORD, change, self._ttl_secs)

    async def take_over(
        self, id_: str, record: SessionRecord, source: RequestSource, share: str
    ) -> Session | SessionRecord:
        """The session, which is here from now on; or its record, where another gateway was faster.
        Raises StateUnavailable, Full, AccessDenied."""
        async with self._turns.setdefault(id_, asyncio.Lock()):
            found = self._sessions.find(id_, record.kind, source)
            if found:
                return found
            now = await self._claimed(id_, record)
            if now.gateway != self._me.id:
                return now
            session = self._sessions.open(
                record.kind, self._source(now, source), share, id_=id_, turn=now.turn
            )
            session.version = now.version
            session.used = True
            introduction = wire.Request(0, "initialize", bytes(now.introduction))
            session.conversation.meet(introduction)
            await self._restore_home(session)
            self._agree_again(session, now, source)
            log.info("a session of another gateway goes on here, its turn %d", now.turn)
            return session

    async def _claimed(self, id_: str, record: SessionRecord) -> SessionRecord:
        def change(old: bytes | None) -> bytes:
            now = _record(old) if old else record
            if now.gateway != record.gateway or now.gateway == self._me.id:
                return _encode(now)
            me = self._me
            return _encode(
                msgspec.structs.replace(now, gateway=me.id, url=me.url, turn=now.turn + 1)
            )

        return _record(await self._store.update(key_of(id_), _RECORD, change, self._ttl_secs))

    def _source(self, record: SessionRecord, source: RequestSource) -> RequestSource:
        return msgspec.structs.replace(
            source, path=record.path, header=record.header, mode=record.mode, admitted=None
        )

    def _agree_again(self, session: Session, record: SessionRecord, source: RequestSource) -> None:
        """Do again what was asked for once; nobody waits for what comes of it."""
        for name, params in record.agreed.items():
            request = wire.Request(name, name.partition(" ")[0], bytes(params))
            way = ReplyTo(Stream(), lambda _: None)
            session.conversation.start(request, session.source_of(source), way)

    def record_events(self, session: Session, stream: Stream, request: wire.Request | None) -> None:
        """From now on keep what is sent on the stream; ``request`` is the one that it answers, None
        for what belongs to no request."""
        write = partial(self._write, key_of(session.id), stream.name)
        if stream.on_put is not None:
            return
        if request is not None:
            write(Event(0, _encode(request.id)))
        for each in stream.after(0):
            write(each)
        stream.on_put = write

    def _write(self, owner: str, name: str, sent: Event) -> None:
        key = f"{_EVENTS}{name}/{sent.number // _SEGMENT}"
        self._store.append_later(owner, key, b"%d\n%b" % (sent.number, sent.message), EVENTS_SECS)

    async def resumed(self, session: Session, last: str) -> tuple[Stream, int] | None:
        """The stream of an event that a gateway before has sent, and the number after which it goes
        on; None where nothing is kept of it. A request that was not answered has its answer: that
        nobody knows. Raises StateUnavailable."""
        name, _, number = last.partition("-")
        if not number.isdecimal() or len(number) > MAX_DIGITS:
            return None
        # The gateway that died may have sent more than it had kept: what is said now comes after.
        if name == HOME:
            session.home.restore((), int(number))
            return session.home, int(number)
        kept = await self._events(session, name)
        if not kept or kept[0].number != 0:
            return None
        stream = session.restored(name, kept[1:])
        id_: wire.RequestId = msgspec.json.decode(kept[0].message, type=wire.RequestId)
        if not any(_answers(one.message, id_) for one in kept[1:]):
            stream.restore((), int(number))
            stream.put(wire.encode(lost(id_)))
        stream.end()
        return stream, int(number)

    async def _restore_home(self, session: Session) -> None:
        session.home.restore(await self._events(session, HOME))
        session.home.on_put = partial(self._write, key_of(session.id), HOME)

    async def _events(self, session: Session, name: str) -> list[Event]:
        owner = key_of(session.id)
        keys = await self._store.keys(owner, f"{_EVENTS}{name}/")
        found: list[Event] = []
        for key in sorted(keys, key=lambda one: int(one.rpartition("/")[2])):
            for entry in await self._store.entries(owner, key):
                number, _, message = entry.partition(b"\n")
                found.append(Event(int(number), message))
        return found


def key_of(id_: str) -> str:
    """Under which a session is kept; whoever reads the store cannot use it."""
    return hashlib.sha256(id_.encode("utf-8", "replace")).hexdigest()


def _answers(message: bytes, id_: wire.RequestId) -> bool:
    said = wire.decode(message)
    return isinstance(said, wire.Response | wire.Failure) and said.id == id_
