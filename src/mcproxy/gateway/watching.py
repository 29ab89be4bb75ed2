"""Who wants to hear of changes of which resource.

A client's session is held weakly: with it its subscriptions go. A server is asked to tell as long
as anybody listens; what nobody listens to any more is turned off when the next one subscribes.
Where clients have instances of their own, each hears of its own one only.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TypeAlias
from weakref import WeakSet

from mcproxy import mcp
from mcproxy.errors import CallError, RpcError
from mcproxy.exchange import ClientSession, Exchange, Tenant, Upstream
from mcproxy.types import JsonObject

MAX_WATCHED = 1000  # resources, of all clients; a server is told of each one again at its restart
OFF_SECS = 5.0  # to turn one off; a client that subscribes to something else waits meanwhile


log = logging.getLogger(__name__)

# A server, a URI, and whom alone the server tells, None where it tells everybody.
_Key: TypeAlias = tuple[str, str, Tenant | None]


@dataclass(slots=True)
class _Watched:
    """``turn`` is held while the server is asked, and whoever holds it looks first whether anybody
    listens: so what it is asked last is what is wanted, however requests overlap."""

    listeners: WeakSet[ClientSession] = field(default_factory=WeakSet)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


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
