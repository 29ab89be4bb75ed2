"""Which of the gateways that share their state answers a request: this one, or another, to which it
is carried; or this one from now on, where the other is gone."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mcproxy import mcp
from mcproxy.call_errors import STATE_RETRY_SECS, StateUnavailable
from mcproxy.frontends.peers import Carried, OtherGateway, PeerGone, PeerLost, Peers, lost, not_here
from mcproxy.frontends.request_auth import Received, Site, share_of, verdict
from mcproxy.frontends.responses import answered, store_away, unavailable
from mcproxy.frontends.sessions import FULL_SECS, Full, Kind, Session
from mcproxy.frontends.shared_sessions import SharedSessions
from mcproxy.gateway.request import RequestSource
from mcproxy.store.interface import Store
from mcproxy.wire import message as wire

ATTEMPTS = 4  # gateways that are gone one after another, while a request looks for its session
_GATEWAYS = "gateways"
_GATEWAY_SECS = 24 * 3600.0  # after the last word of it; what it has is forgotten long before

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request as it came: whose it is, and whose share it takes; its body, and the message in it,
    where it has one."""

    request: Request
    source: RequestSource
    share: str
    seen: Carried
    body: bytes = b""
    received: Received | None = None

    @property
    def id(self) -> wire.RequestId | None:
        """Of the request that is to be answered, if it is one."""
        return self.received.id if isinstance(self.received, wire.Request) else None

    @property
    def once(self) -> bool:
        """Whether it must not be done twice."""
        return isinstance(self.received, wire.Request) and self.received.method == mcp.CALL_TOOL


class SharedSite:
    """What the routes need where gateways share their state. ``name_of`` gives a caller's name."""

    def __init__(
        self,
        store: Store,
        peers: Peers,
        sessions: SharedSessions,
        name_of: Callable[[RequestSource], str],
    ) -> None:
        self._store, self._name_of = store, name_of
        self.peers, self.sessions = peers, sessions

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be known to the others. Raises StateUnavailable."""
        me = self.peers.me
        await self._store.put(_GATEWAYS, me.id, me.url.encode(), _GATEWAY_SECS)
        async with self.peers.running(), asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self.sessions.run(), name="shared sessions")
            try:
                yield
            finally:
                looking.cancel()

    async def session(self, id_: str, kind: Kind, arrived: Arrived) -> Session | Response | None:
        """The session, which is here from now on; or what the gateway says that has it. None: there
        is no such session."""
        try:
            return await self._session(id_, kind, arrived)
        except StateUnavailable:
            return store_away()
        except Full:
            return unavailable("all sessions are in use", FULL_SECS)

    async def _session(self, id_: str, kind: Kind, arrived: Arrived) -> Session | Response | None:
        request, name = arrived.request, self._name_of(arrived.source)
        carried = self.peers.carried(request) is not None
        record = await self.sessions.record(id_)
        for _ in range(ATTEMPTS):
            if record is None or not record.is_for(kind, name, arrived.source):
                return None
            here = record.gateway == self.peers.me.id
            if carried and not (here and self.peers.meant(request)):
                return not_here()
            answer = None if here else await self.carry(record.peer, arrived)
            if answer is not None or kind == "sse":  # whose session is its stream
                return answer
            found = await self.sessions.take_over(id_, record, arrived.source, arrived.share)
            if isinstance(found, Session):
                return found
            record = found
        return unavailable("the session's gateways are gone one after another", STATE_RETRY_SECS)

    def arrived(
        self, site: Site, request: Request, source: RequestSource, received: Received | None = None
    ) -> Arrived:
        """A request as it came, its body read where it has one."""
        found = verdict(request)
        return Arrived(
            request,
            source,
            share_of(site, request),
            Carried(found.sender, found.local),
            request.scope["state"].get("body", b""),
            received,
        )

    def not_here(self) -> Response:
        """The answer to a gateway that carried a request here in vain."""
        return not_here()

    async def held(self, gateway: str, arrived: Arrived) -> Response | None:
        """What a gateway says that holds a suspended call; None where it is gone."""
        if self.peers.carried(arrived.request):
            return not_here()
        try:
            url = await self._store.get(_GATEWAYS, gateway)
        except StateUnavailable:
            return store_away()
        return await self.carry(OtherGateway(gateway, url.decode()), arrived) if url else None

    async def carry(self, to: OtherGateway, arrived: Arrived) -> Response | None:
        """The answer of another gateway; None where it is gone and nothing was done, or what
        may be done again."""
        try:
            return await self.peers.carry(
                to, arrived.request, arrived.body, arrived.seen, arrived.id
            )
        except PeerGone as fault:
            log.info("the gateway at %s is gone: %s", to.url, fault)
            return None
        except PeerLost as fault:
            log.warning("the gateway at %s ended under a request: %s", to.url, fault)
            return answered(lost(arrived.id)) if arrived.once else None
        except ClientDisconnect:
            return Response(status_code=400)  # nobody will read it
