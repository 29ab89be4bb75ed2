"""The resources of all servers in sight, and the gateway's own. URIs stay as they are; here is
found whose one is.

A URI belongs to the first server, by name, that lists it; else to the first with a template that
matches it. One that nobody lists may still exist (a tool's result can link to it), so then all
servers with resources are tried. A script names the server itself (``api.read_resource``).
"""

import functools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import jsonschema_rs
import msgspec

from mcproxy import mcp
from mcproxy.call_errors import UpstreamError
from mcproxy.errors import RpcError
from mcproxy.exchange import Exchange, ServerCall, Upstream
from mcproxy.gateway import own_resources
from mcproxy.gateway.request import LIST_TTL_MS, Call, RequestContext
from mcproxy.gateway.server_requests import forward, items, offering, page
from mcproxy.types import Json, JsonObject, ToolRef, ToolResult
from mcproxy.wire.message import UNREADABLE

MAX_TEMPLATE_CHARS = 2000  # of one that is matched; real ones have a hundred
_LINEAR = jsonschema_rs.RegexOptions()  # templates come from servers, URIs from clients
_SYNTAX = re.compile(r"[\^$\\.*+?()\[\]{}|/]")  # ECMA-262, "SyntaxCharacter"
_EXPRESSION = re.compile(r"\{([+#./;?&]?)[^{}]*\}")


KeptResult: TypeAlias = Callable[[RequestContext, str, str | None], Awaitable[bytes | None]]
"""The JSON text behind a reference of the client that asks, in the session of the handle that it
names, where it names one; None where there is none."""


class OwnedResource(NamedTuple):
    """A server's resource, by the URI that it has there."""

    server: str
    uri: str


FindOwners: TypeAlias = Callable[[RequestContext, str], Awaitable[Sequence[OwnedResource] | None]]
"""Whose a resource is, in the order in which they are to be tried, where an extension has a say in
it; else None. Raises RpcError for one that it refuses."""


class ExtendedResources(Protocol):
    """What extensions have to say of resources."""

    async def owners(self, context: RequestContext, uri: str) -> Sequence[OwnedResource] | None:
        """See ``FindOwners``."""

    def read(self, context: RequestContext, uri: str) -> JsonObject | None:
        """The result of ``resources/read`` for a resource of the gateway's own."""


class Resources:
    """``resources/list``, ``resources/templates/list`` and ``resources/read``. ``extended`` is
    asked first."""

    def __init__(self, upstream: Upstream, kept: KeptResult, extended: ExtendedResources) -> None:
        self._upstream, self._kept, self._extended = upstream, kept, extended

    async def list(self, call: Call, context: RequestContext) -> bytes:
        """All resources; of several with one URI, the one that ``read`` reads."""
        own = own_resources.listed(context.surface)
        return await self._list(call, context, mcp.LIST_RESOURCES, "resources", "uri", own)

    async def list_templates(self, call: Call, context: RequestContext) -> bytes:
        """All templates."""
        own = own_resources.templates(context.surface)
        return await self._list(
            call, context, mcp.LIST_TEMPLATES, "resourceTemplates", "uriTemplate", own
        )

    async def read(self, call: Call, context: RequestContext) -> bytes:
        """The contents of one resource. Raises RpcError."""
        uri = call.params.get("uri")
        if not isinstance(uri, str):
            raise RpcError(RpcError.INVALID_PARAMS, 'resources/read needs "uri", a string')
        missing = RpcError.INVALID_PARAMS if call.modern else mcp.RESOURCE_NOT_FOUND
        refused = RpcError(missing, f"there is no resource {uri!r}; resources/list has their URIs")
        own = own_resources.read(context.surface, uri) or self._extended.read(context, uri)
        if own:
            return call.result(own, ttl_ms=LIST_TTL_MS)
        if result := own_resources.result_of(context.surface, uri):
            text = await self._kept(context, *result)
            if text is None:
                raise refused
            return call.result(own_resources.result(uri, text), ttl_ms=LIST_TTL_MS)
        for server, own_uri in await self.owners(context, uri):
            params: JsonObject = {"uri": own_uri}
            try:
                raw = await forward(
                    self._upstream, context.exchange, server, mcp.READ_RESOURCE, params
                )
                return call.passed(_as_asked(raw, own_uri, uri), cacheable=True)
            except RpcError as error:
                refused = error
        if refused.code in (
            mcp.RESOURCE_NOT_FOUND,
            RpcError.INVALID_PARAMS,
        ):  # the eras name it differently
            raise RpcError(missing, refused.message, refused.data)
        raise refused

    async def owners(self, context: RequestContext, uri: str) -> Sequence[OwnedResource]:
        """The servers that may have a resource, to be tried in this order."""
        extended = await self._extended.owners(context, uri)
        if extended is not None:
            return extended
        servers = offering(context, "resources")
        listed = await items(self._upstream, servers, mcp.LIST_RESOURCES)
        listing = [server for server, item in listed if item.get("uri") == uri][:1]
        found = listing or await self.template_owner(context, uri) or servers
        return [OwnedResource(server, uri) for server in found]

    async def template_owner(self, context: RequestContext, uri: str) -> Sequence[str]:
        """The first server with a template that is this, or that matches it; none where none is."""
        servers = offering(context, "resources")
        for server, item in await items(self._upstream, servers, mcp.LIST_TEMPLATES):
            template = str(item.get("uriTemplate"))
            if template == uri or matches(template, uri):
                return (server,)
        return ()

    async def _list(
        self,
        call: Call,
        context: RequestContext,
        method: str,
        member: str,
        key: str,
        own: Sequence[JsonObject] = (),
    ) -> bytes:
        listed = await items(self._upstream, offering(context, "resources"), method)
        firsts: dict[Json, JsonObject] = {str(item[key]): item for item in own}
        for _, item in listed:
            firsts.setdefault(str(item.get(key)), item)
        body = page(member, [*firsts.values()], call.params.get("cursor"))
        return call.result(body, ttl_ms=LIST_TTL_MS)


def _as_asked(raw: bytes, own_uri: str, uri: str) -> bytes:
    """A server's resource under the URI by which the client asked for it."""
    if own_uri == uri:
        return raw
    try:
        result = _object.decode(raw)
    except UNREADABLE as error:
        raise RpcError(RpcError.INTERNAL_ERROR, f"the answer is no object: {error}") from error
    contents = result.get("contents")
    listed = contents if isinstance(contents, list) else []
    renamed = [
        {**each, "uri": uri} if isinstance(each, dict) and each.get("uri") == own_uri else each
        for each in listed
    ]
    return _encode({**result, "contents": renamed})


def matches(template: str, uri: str) -> bool:
    """Whether a URI can come of a template (RFC 6570).

    Lenient: a simple expression stands for anything within one path segment, one with an operator
    for anything at all. Takes time in proportion to the URI, whatever the template.
    """
    pattern = _pattern(template) if len(template) <= MAX_TEMPLATE_CHARS else None
    return pattern is not None and pattern.is_valid(uri)


@functools.lru_cache(maxsize=1024)
def _pattern(template: str) -> jsonschema_rs.Validator | None:
    """The URIs of a template as a schema: that engine never goes back, as Python's does. None for a
    template beyond its bounds."""
    pattern, end = "^", 0
    for expression in _EXPRESSION.finditer(template):
        pattern += _SYNTAX.sub(r"\\\g<0>", template[end : expression.start()])
        pattern += r"[\s\S]*" if expression[1] else "[^/]+"
        end = expression.end()
    pattern += _SYNTAX.sub(r"\\\g<0>", template[end:]) + "$"
    try:
        return jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=_LINEAR)
    except ValueError:
        return None


_object = msgspec.json.Decoder(dict[str, Json])
_encode = msgspec.json.Encoder().encode


def resource_reader(upstream: Upstream) -> ServerCall:
    """A ``ServerCall`` whose "tool" is the URI. Raises CallError."""

    async def read(exchange: Exchange, ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        raw = await upstream.request(exchange, ref.server, mcp.READ_RESOURCE, {"uri": ref.tool})
        try:
            contents = _object.decode(raw).get("contents")
        except UNREADABLE as error:
            odd = RpcError(RpcError.INTERNAL_ERROR, f"the answer is no object: {error}")
            raise UpstreamError(ref, odd) from error
        return ToolResult(_encode({"content": [], "structuredContent": value_of(contents)}))

    return read


def value_of(contents: Json) -> Json:
    """The text where that is all there is, not decoded even if it is JSON; else the contents."""
    match contents:
        case [{"text": str(text)}]:
            return text
        case _:
            return contents
