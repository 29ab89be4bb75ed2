"""The one stream on which a server of the stateless era tells what changed.

Owns our ``subscriptions/listen`` request (MCP 2026-07-28, basic/patterns/subscriptions). The filter
of an open stream cannot be changed, so a new stream replaces it: first the new one, then the end of
the old one, so that no change is lost between the two. Its reply would only tell the end of the
stream, so nobody waits for it.
"""

import itertools
from collections.abc import Callable, Mapping

import msgspec

from mcproxy import mcp
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import Message, Notification, Request

_CHANGES = {
    "tools": "toolsListChanged",
    "prompts": "promptsListChanged",
    "resources": "resourcesListChanged",
}
_encode = msgspec.json.Encoder().encode


class ChangeStream:
    """What we listen to; ``post`` sends a message to the server."""

    def __init__(self, post: Callable[[Message], None]) -> None:
        self._post = post
        self._numbers = itertools.count(1)
        self._open: str | None = None
        self._changes: JsonObject = {}
        self._meta: JsonObject = {}
        self._uris: set[str] = set()

    def open(self, capabilities: Mapping[str, Json], meta: JsonObject) -> None:
        """Listen to the changes of all lists that the server has and says to announce."""
        self._meta = meta
        self._changes = {
            change: True
            for name, change in _CHANGES.items()
            if isinstance(offer := capabilities.get(name), dict) and offer.get("listChanged")
        }
        self._listen()

    def watch(self, uri: str, *, wanted: bool) -> None:
        """Listen, or no longer, to the changes of one resource."""
        before = set(self._uris)
        (self._uris.add if wanted else self._uris.discard)(uri)
        if self._uris != before:
            self._listen()

    def _listen(self) -> None:
        closing, self._open = self._open, None
        wanted: JsonObject = dict(self._changes)
        if self._uris:
            wanted["resourceSubscriptions"] = [*sorted(self._uris)]
        if wanted:
            self._open = f"listen-{next(self._numbers)}"  # the peer numbers its own requests
            params: JsonObject = {"notifications": wanted, "_meta": self._meta}
            self._post(Request(self._open, mcp.LISTEN, _encode(params)))
        if closing:
            self._post(Notification(mcp.CANCELLED, _encode({"requestId": closing})))
