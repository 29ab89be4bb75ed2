"""What passes through the gateway in every mode: prompts, resources, completions, subscriptions.

``methods`` is the table of them; each method is answered by the server that it concerns.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from mcproxy import mcp
from mcproxy.call_errors import CallError
from mcproxy.errors import RpcError
from mcproxy.exchange import ClientSession, Tenant, Upstream
from mcproxy.gateway.listeners import Watching
from mcproxy.gateway.prompts import Prompts
from mcproxy.gateway.request import Call, RequestContext
from mcproxy.gateway.resources import ExtendedResources, KeptResult, Resources
from mcproxy.gateway.server_requests import forward
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import UNREADABLE, Notification

_object = msgspec.json.Decoder(dict[str, Json])


class Passthrough:
    """The methods, and the notifications that belong to them."""

    def __init__(self, upstream: Upstream, kept: KeptResult, extended: ExtendedResources) -> None:
        self._upstream = upstream
        self._prompts = Prompts(upstream)
        self._resources = Resources(upstream, kept, extended)
        self._watching = Watching(upstream)
        self.methods: Mapping[str, Callable[[Call, RequestContext], Awaitable[bytes]]] = {
            mcp.LIST_PROMPTS: self._prompts.list,
            mcp.GET_PROMPT: self._prompts.get,
            mcp.LIST_RESOURCES: self._resources.list,
            mcp.LIST_TEMPLATES: self._resources.list_templates,
            mcp.READ_RESOURCE: self._resources.read,
            mcp.SUBSCRIBE: self._subscribe,
            mcp.UNSUBSCRIBE: self._unsubscribe,
            mcp.COMPLETE: self._complete,
        }

    async def watch(
        self, context: RequestContext, uris: Sequence[str], session: ClientSession
    ) -> Sequence[str]:
        """Tell ``session`` of changes of resources; gives those for which a server does so."""
        watched: list[str] = []
        for uri in uris:
            for server, own_uri in await self._resources.owners(context, uri):
                if own_uri != uri:  # what the server tells would be of a URI unknown to the client
                    continue
                try:
                    await self._watching.add(server, uri, session, context.exchange)
                except (CallError, RpcError):
                    continue
                watched.append(uri)
                break
        return watched

    def heard(self, server: str, note: Notification, tenant: Tenant | None) -> bool:
        """Take a server's notification, which is for ``tenant`` alone where there is one; False for
        one that is not about a single resource."""
        if note.method != mcp.RESOURCE_UPDATED:
            return False
        with contextlib.suppress(*UNREADABLE):  # what names no resource concerns nobody
            self._watching.updated(server, _object.decode(note.params), tenant)
        return True

    async def _subscribe(self, call: Call, context: RequestContext) -> bytes:
        uri, session = _subscription(call, context)
        if not await self.watch(context, [uri], session):
            text = f"no server tells of changes of {uri!r}; resources/list has the URIs"
            raise RpcError(RpcError.INVALID_PARAMS, text)
        return call.result({})

    async def _unsubscribe(self, call: Call, context: RequestContext) -> bytes:
        uri, session = _subscription(call, context)
        await self._watching.remove(uri, session)
        return call.result({})

    async def _complete(self, call: Call, context: RequestContext) -> bytes:
        server, ref = await self._completed(context, call.params.get("ref"))
        offered = context.view.manifest.servers[server].capabilities if server else {}
        if "completions" not in offered:
            return call.result({"completion": {"values": []}})
        params = {key: value for key, value in call.params.items() if key != "_meta"}
        return call.passed(
            await forward(
                self._upstream, context.exchange, server, mcp.COMPLETE, {**params, "ref": ref}
            )
        )

    async def _completed(self, context: RequestContext, ref: Json) -> tuple[str, JsonObject]:
        """The server that a completion's reference belongs to, and the reference as it knows it.

        The server is "" where there is none.
        """
        asked = ref if isinstance(ref, dict) else {}
        match asked:
            case {"type": "ref/prompt", "name": name}:
                server, prompt = await self._prompts.find(context, name)
                return server, {**asked, "name": prompt}
            case {"type": "ref/resource", "uri": str(uri)}:
                return next(iter(await self._resources.template_owner(context, uri)), ""), asked
        raise RpcError(
            RpcError.INVALID_PARAMS,
            'completion/complete needs "ref": {"type": "ref/prompt", "name": …} or '
            '{"type": "ref/resource", "uri": …}',
        )


def _subscription(call: Call, context: RequestContext) -> tuple[str, ClientSession]:
    uri, session = call.params.get("uri"), context.exchange.session
    if not isinstance(uri, str):
        raise RpcError(RpcError.INVALID_PARAMS, 'a subscription needs "uri", a string')
    if session is None:
        raise RpcError(
            RpcError.INVALID_REQUEST,
            "a subscription needs a session, which this connection has not; stateless clients use "
            "subscriptions/listen",
        )
    return uri, session
