"""``subscriptions/listen``: one client's stream of what changes at one endpoint.

MCP 2026-07-28, basic/patterns/subscriptions: the first message says what of the client's filter is
honoured; every message names the subscription, which is the request's id; when the server ends it,
the request gets its result.
"""

import msgspec
from starlette.responses import Response

from mcproxy.errors import RpcError
from mcproxy.frontends.entry import Site
from mcproxy.frontends.events import EventStream
from mcproxy.frontends.glance import glance
from mcproxy.frontends.replies import refusal
from mcproxy.frontends.sessions import Full
from mcproxy.frontends.stream import Stream
from mcproxy.gateway.core import ANNOUNCED, Where
from mcproxy.gateway.era import read_call, server_info
from mcproxy.policy.access import AccessDenied
from mcproxy.types import Json, JsonObject
from mcproxy.wire import message as wire

METHOD = "subscriptions/listen"

_KINDS = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_SERVER = "io.modelcontextprotocol/serverInfo"

_encode = msgspec.json.Encoder().encode


def response(site: Site, message: wire.Request, place: Where) -> Response:
    """The stream that answers the request. Raises RpcError."""
    read_call(message.params)
    honoured = _honoured(glance(message.params).notifications)
    methods = {_KINDS[kind] for kind in honoured}
    stream = Stream()
    meta: JsonObject = {_SUBSCRIPTION: message.id}

    def tell(method: str) -> None:
        if method in methods:
            stream.put(_notification(method, {"_meta": meta}))

    def end() -> None:
        result: JsonObject = {"resultType": "complete", "_meta": {**meta, _SERVER: server_info()}}
        stream.end(wire.encode(wire.Response(message.id, _encode(result))))

    try:
        unsubscribe = site.gateway.subscribe(place, tell)
    except AccessDenied as denied:
        raise RpcError(RpcError.INVALID_PARAMS, str(denied)) from denied
    try:
        uncount = site.sessions.listen(end)
    except Full:
        unsubscribe()
        return refusal(503, "too many clients listen; try again later", {"Retry-After": "60"})

    def closed() -> None:
        unsubscribe()
        uncount()

    acknowledged: JsonObject = {"_meta": meta, "notifications": honoured}
    stream.put(_notification("notifications/subscriptions/acknowledged", acknowledged))
    quiet_secs = site.sessions.bounds.heartbeat_secs
    return EventStream(stream.attach(), closed, heartbeat_secs=quiet_secs)


def _honoured(wanted: Json) -> JsonObject:
    """The part of a filter that this server can serve."""
    if not isinstance(wanted, dict):
        text = f'{METHOD} needs "notifications", an object such as {{"toolsListChanged": true}}'
        raise RpcError(RpcError.INVALID_PARAMS, text)
    return {
        kind: True
        for kind, method in _KINDS.items()
        if wanted.get(kind) is True and method in ANNOUNCED
    }


def _notification(method: str, params: JsonObject) -> bytes:
    return wire.encode(wire.Notification(method, _encode(params)))
