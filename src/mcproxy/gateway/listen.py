"""``subscriptions/listen``: one stateless client's stream of what changes at one endpoint.

MCP 2026-07-28, basic/patterns/subscriptions: the first message says what of the client's filter is
honoured; every message names the subscription, which is the request's id.
"""

import contextlib
from collections.abc import Callable

import msgspec

from mcproxy import mcp
from mcproxy.errors import RpcError
from mcproxy.exchange import ClientSession
from mcproxy.gateway.core import Gateway
from mcproxy.gateway.extensions.tasks import require_declared
from mcproxy.gateway.request import RequestSource, read_call
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import Notification, Request

MAX_URIS = 100  # of one subscription; each is looked up at its server

_KINDS = {
    "toolsListChanged": mcp.TOOLS_CHANGED,
    "promptsListChanged": mcp.PROMPTS_CHANGED,
    "resourcesListChanged": mcp.RESOURCES_CHANGED,
}

_encode = msgspec.json.Encoder().encode


class Listening(msgspec.Struct, frozen=True):
    """An open subscription; ``meta`` is the ``_meta`` of all that is sent for it.

    Hold it as long as it is open: with it its subscriptions to resources go.
    """

    meta: JsonObject
    close: Callable[[], None]
    session: ClientSession


async def listen(
    gateway: Gateway,
    source: RequestSource,
    request: Request,
    send: Callable[[Notification], None],
    connection: ClientSession | None = None,
) -> Listening:
    """Send the acknowledgement, and from then on what changes.

    ``connection``: the one that the request came by, where it outlives the subscription. Raises
    RpcError for a filter that is none, and AccessDenied.
    """
    wanted = _filter(request)
    meta: JsonObject = {mcp.META_SUBSCRIPTION: request.id}

    def notify(method: str, params: JsonObject) -> None:
        send(Notification(method, _encode({**params, "_meta": meta})))

    def tell(method: str) -> None:
        if method in methods:
            notify(method, {})

    honoured: JsonObject = {kind: True for kind in _KINDS if wanted.get(kind) is True}
    methods = {_KINDS[kind] for kind in honoured}
    opened = False

    def updated(method: str, params: JsonObject) -> None:
        if opened:  # the acknowledgement comes first
            notify(method, params)

    session = ClientSession(updated, connection.tenant) if connection else ClientSession(updated)
    with contextlib.ExitStack() as closing:
        if connection is None:
            closing.callback(session.tenant.ended.set)
        if uris := _uris(wanted.get("resourceSubscriptions")):
            honoured["resourceSubscriptions"] = [*await gateway.watch(source, uris, session)]
        closing.callback(gateway.subscribe(source, tell))
        notify(mcp.SUBSCRIPTION_ACKNOWLEDGED, {"notifications": honoured})
        opened = True
        return Listening(meta, closing.pop_all().close, session)


def _filter(request: Request) -> JsonObject:
    call = read_call(request.params)
    wanted = call.params.get("notifications")
    if not isinstance(wanted, dict):
        text = f'{mcp.LISTEN} needs "notifications", an object such as {{"toolsListChanged": true}}'
        raise RpcError(RpcError.INVALID_PARAMS, text)
    if "taskIds" in wanted:  # of which nothing is told: clients look
        require_declared(call)
    return wanted


def _uris(listed: Json) -> list[str]:
    uris = [uri for uri in listed if isinstance(uri, str)] if isinstance(listed, list) else []
    if len(uris) > MAX_URIS:
        text = f"a subscription may name {MAX_URIS} resources; open several"
        raise RpcError(RpcError.INVALID_PARAMS, text)
    return uris
