"""Who wants to hear when what an endpoint offers has changed, and who is told. No transport.

Of tools is told what differs between two snapshots as a client would see them, so that a server's
restart with the same tools wakes nobody. Of prompts and resources the server itself tells.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mcproxy import mcp
from mcproxy.config.model import Mode
from mcproxy.gateway import listings
from mcproxy.gateway.request import RequestContext
from mcproxy.gateway.snapshot import Snapshot
from mcproxy.types import JsonObject

OnChange = Callable[[str], None]
"""Is given the method of a notification; must not wait."""


@dataclass(frozen=True, slots=True)
class _WatchedList:
    """What a subscriber looks at: an endpoint, in a mode."""

    endpoint: str
    mode: Mode


class Changes:
    """The subscribers by a key of their own, each with its place."""

    def __init__(self) -> None:
        self._subscribers: dict[object, tuple[_WatchedList, OnChange]] = {}

    def subscribe(self, context: RequestContext, on_change: OnChange) -> Callable[[], None]:
        """Call ``on_change`` after each change, until what this returns is called."""
        key = object()
        self._subscribers[key] = (_WatchedList(context.namespace.name, context.mode), on_change)

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe

    def tell(self, before: Snapshot, after: Snapshot) -> None:
        """Tell those whose tools are others now."""
        places = {place for place, _ in self._subscribers.values()}
        changed = {place for place in places if _tools(before, place) != _tools(after, place)}
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


def _tools(snapshot: Snapshot, place: _WatchedList) -> list[JsonObject] | None:
    """What ``tools/list`` gives there; None where the endpoint does not exist."""
    namespace = snapshot.policy.endpoints.get(place.endpoint)
    if namespace is None:
        return None
    return listings.tools(snapshot.views[place.endpoint], place.mode, namespace.limits)
