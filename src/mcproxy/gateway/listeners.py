"""Who wants to hear that what an endpoint offers, or a resource, has changed. No transport.

Of tools is told what differs between two snapshots as a client would see them, so that a server's
restart with the same tools wakes nobody. Of prompts and resources the server itself tells.

A client's session is held weakly: with it its subscriptions go. A server is asked to tell of a
resource as long as anybody listens; what nobody listens to any more is turned off when the next one
subscribes. Where clients have instances of their own, each hears of its own one only.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeAlias
from weakref import WeakSet

import msgspec

from mcproxy import mcp
from mcproxy.call_errors import CallError
from mcproxy.config.model import Surface
from mcproxy.errors import RpcError
from mcproxy.exchange import ClientSession, Exchange, Tenant, Upstream
from mcproxy.gateway import listings
from mcproxy.gateway.request import RequestContext
from mcproxy.gateway.snapshot import Snapshot
from mcproxy.types import JsonObject

OnChange = Callable[[str], None]
"""Is given the method of a notification; must not wait."""


class _WatchedList(msgspec.Struct, frozen=True):
    """What a subscriber looks at: an endpoint, by a surface."""

    endpoint: str
    surface: Surface


class Changes:
    """The subscribers by a key of their own, each with its place."""

    def __init__(self) -> None:
        self._subscribers: dict[object, tuple[_WatchedList, OnChange]] = {}

    def subscribe(self, context: RequestContext, on_change: OnChange) -> Callable[[], None]:
        """Call ``on_change`` after each change, until what this returns is called."""
        key = object()
        self._subscribers[key] = (_WatchedList(context.namespace.name, context.surface), on_change)

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe

    def tell(self, before: Snapshot, after: Snapshot) -> None:
        """Tell those whose tools are others now."""
        places = {place for place, _ in self._subscribers.values()}
        changed = {place for place in places if _offer(before, place) != _offer(after, place)}
        self._tell(mcp.TOOLS_CHANGED, changed)

    def announce(self, method: str, server: str, snapshot: Snapshot) -> None:
        """Pass on to those who see this server that one of its lists changed."""
        endpoints = snapshot.policy.endpoints
        places = {place for place, _ in self._subscribers.values()}
        seen = {
            place
            for place in places
            if place.endpoint in endpoints and server in endpoints[place.endpoint].servers
        }
        self._tell(method, seen)

    def _tell(self, method: str, places: set[_WatchedList]) -> None:
        for place, on_change in list(self._subscribers.values()):
            if place in places:
                on_change(method)


def _offer(snapshot: Snapshot, place: _WatchedList) -> listings.ToolOffer | None:
    """What ``tools/list`` is made of there; None where the endpoint does not exist."""
    namespace = snapshot.policy.endpoints.get(place.endpoint)
    if namespace is None:
        return None
    return listings.tool_offer(snapshot.views[place.endpoint], place.surface, namespace.limits)


MAX_WATCHED = 1000  # resources, of all clients; a server is told of each one again at its restart
OFF_SECS = 5.0  # to turn one off; a client that subscribes to something else waits meanwhile


log = logging.getLogger(__name__)

# A server, a URI, and whom alone the server tells, None where it tells everybody.
_Key: TypeAlias = tuple[str, str, Tenant | None]


class _Watched(msgspec.Struct):
    """``turn`` is held while the server is asked, and whoever holds it looks first whether anybody
    listens: so what it is asked last is what is wanted, however requests overlap."""

    listeners: WeakSet[ClientSession] = msgspec.field(default_factory=WeakSet)
    turn: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)


class Watching:
    """The resources that servers tell of, and who listens."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._watched: dict[_Key, _Watched] = {}

    async def add(self, server: str, uri: str, session: ClientSession, exchange: Exchange) -> None:
        """Tell this session of the resource's changes; ``exchange`` is that of its request. Raises
        CallError and RpcError."""
        key = server, uri, self._upstream.whose(server, exchange.tenant)
        if len(self._watched) >= MAX_WATCHED:
            await self._forget_unheard()
        if len(self._watched) >= MAX_WATCHED and key not in self._watched:
            text = f"{MAX_WATCHED} resources are subscribed to; unsubscribe from some first"
            raise RpcError(RpcError.INTERNAL_ERROR, text)
        watched = self._watched.setdefault(key, _Watched())
        heard, told = session in watched.listeners, False
        watched.listeners.add(session)
        try:
            async with watched.turn:
                await self._upstream.watch(exchange, *key)
            told = True
        finally:
            if not (heard or told):
                watched.listeners.discard(session)
        await self._forget_unheard()

    async def remove(self, uri: str, session: ClientSession) -> None:
        """Tell this session no longer."""
        for (_, watched_uri, _), watched in self._watched.items():
            if watched_uri == uri:
                watched.listeners.discard(session)
        await self._forget_unheard()

    def updated(self, server: str, params: JsonObject, tenant: Tenant | None) -> None:
        """Pass a server's notification on to those who listen."""
        uri = params.get("uri")
        watched = self._watched.get((server, str(uri), tenant))
        for session in tuple(watched.listeners) if watched else ():
            session.notify(mcp.RESOURCE_UPDATED, {"uri": uri})

    async def _forget_unheard(self) -> None:
        for key, watched in list(self._watched.items()):
            if not watched.listeners:
                async with watched.turn:
                    if not watched.listeners:
                        await self._turn_off(key)
                    if not watched.listeners and self._watched.get(key) is watched:
                        del self._watched[key]

    async def _turn_off(self, key: _Key) -> None:
        server, uri, tenant = key
        if tenant and tenant.ended.is_set():  # its instance goes
            return
        try:
            async with asyncio.timeout(OFF_SECS):
                await self._upstream.unwatch(*key)
        except (CallError, TimeoutError) as error:
            log.info("%s: still tells of %s: %r", server, uri, error, extra={"server": server})
