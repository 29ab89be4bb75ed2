"""Who wants to hear of changes of which resource.

A client's session is held weakly: with it its subscriptions go. A server is asked to tell as long
as anybody listens; what nobody listens to any more is turned off when the next one subscribes.
Where clients have instances of their own, each hears of its own one only.
"""

import logging
from weakref import WeakSet

from mcproxy.errors import CallError, RpcError
from mcproxy.exchange import ClientSession, Tenant, Upstream
from mcproxy.types import JsonObject

MAX_WATCHED = 1000  # resources, of all clients; a server is told of each one again at its restart

log = logging.getLogger(__name__)

UPDATED = "notifications/resources/updated"


class Watching:
    """The subscriptions, by server, URI, and whom alone the server tells."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._listeners: dict[tuple[str, str, Tenant | None], WeakSet[ClientSession]] = {}

    async def add(self, server: str, uri: str, session: ClientSession) -> None:
        """Tell this session of the resource's changes. Raises CallError and RpcError."""
        await self._forget_unheard()
        if len(self._listeners) >= MAX_WATCHED and (server, uri, None) not in self._listeners:
            text = f"{MAX_WATCHED} resources are subscribed to; unsubscribe from some first"
            raise RpcError(RpcError.INTERNAL_ERROR, text)
        tenant = await self._upstream.watch(server, uri, True)
        self._listeners.setdefault((server, uri, tenant), WeakSet()).add(session)

    async def remove(self, uri: str, session: ClientSession) -> None:
        """Tell this session no longer."""
        for (_, watched, _), listeners in self._listeners.items():
            if watched == uri:
                listeners.discard(session)
        await self._forget_unheard()

    def updated(self, server: str, params: JsonObject, tenant: Tenant | None) -> None:
        """Pass a server's notification on to those who listen."""
        uri = params.get("uri")
        for session in tuple(self._listeners.get((server, str(uri), tenant), ())):
            session.notify(UPDATED, {"uri": uri})

    async def _forget_unheard(self) -> None:
        unheard = [key for key, listeners in self._listeners.items() if not listeners]
        for server, uri, tenant in unheard:
            self._listeners.pop((server, uri, tenant), None)
            if tenant and tenant.ended.is_set():  # its instance goes; others' are not to be asked
                continue
            try:
                await self._upstream.watch(server, uri, False)
            except CallError as error:
                log.info("%s: still tells of %s: %s", server, uri, error, extra={"server": server})
