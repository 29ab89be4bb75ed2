"""Skills, ``io.modelcontextprotocol/skills`` (SEP-2640): instructions that servers have for models.

A client is listed those of all servers of its namespace, and the gateway's own where it sees
scripts. What is asked of one goes to the server that it is of, see ``skill_uris``.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from mcproxy import mcp
from mcproxy.errors import RpcError
from mcproxy.exchange import Upstream, extensions_in
from mcproxy.gateway.extensions import own_skill
from mcproxy.gateway.extensions.extension import Extension
from mcproxy.gateway.extensions.skill_uris import (
    SCHEME,
    ListedSkills,
    alias,
    is_sound,
    may_be_in,
    named,
    renamed,
)
from mcproxy.gateway.own_resources import WITH_SCRIPTS
from mcproxy.gateway.request import LIST_TTL_MS, Call, RequestContext
from mcproxy.gateway.resources import OwnedResource
from mcproxy.gateway.server_requests import forward, items, page
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import UNREADABLE

ID: Final = "io.modelcontextprotocol/skills"
LIST, GET, DIRECTORY = "skills/list", "skills/get", "resources/directory/read"
_MAX_URI_SHOWN = 200  # characters of one that there is not

log = logging.getLogger(__name__)
_object = msgspec.json.Decoder(dict[str, Json])


def skills(upstream: Upstream) -> Extension:
    """The extension."""
    served = _Skills(upstream)
    return Extension(
        ID,
        _offer,
        methods={LIST: served.list, GET: served.get, DIRECTORY: served.directory},
        schemes=frozenset({"skill"}),
        owners=served.owners,
        read=_read_own,
    )


def _offer(context: RequestContext, declared: Mapping[str, JsonObject]) -> JsonObject | None:
    own = context.surface in WITH_SCRIPTS
    if not own and not declared:
        return None
    folders = own or any(each.get("directoryRead") is True for each in declared.values())
    return {"directoryRead": True} if folders else {}


def _read_own(context: RequestContext, uri: str) -> JsonObject | None:
    return own_skill.read(uri) if context.surface in WITH_SCRIPTS else None


class _Skills:
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def list(self, call: Call, context: RequestContext) -> bytes:
        """All skills that servers list, and the gateway's own."""
        own = [own_skill.entry()] if context.surface in WITH_SCRIPTS else []
        listed = [*own, *(await self._listed(context)).shown()]
        return call.result(page("skills", listed, call.params.get("cursor")), ttl_ms=LIST_TTL_MS)

    async def get(self, call: Call, context: RequestContext) -> bytes:
        """One skill. Raises RpcError."""
        uri = _uri(call, GET)
        if uri == own_skill.URI and context.surface in WITH_SCRIPTS:
            return call.result({"skill": own_skill.entry()}, ttl_ms=LIST_TTL_MS)
        owners = await self.owners(context, uri)
        owner, result = await self._first(context, owners or (), GET, {"uri": uri})
        entry = result.get("skill")
        if not isinstance(entry, dict) or not is_sound(entry) or entry["uri"] != owner.uri:
            text = f"what {owner.server} gives for {_shown(uri)} is no sound skill"
            raise RpcError(RpcError.INTERNAL_ERROR, text)
        skill = entry if owner.uri == uri else renamed(entry, partial(alias, owner.server))
        return call.result({"skill": skill}, ttl_ms=LIST_TTL_MS)

    async def directory(self, call: Call, context: RequestContext) -> bytes:
        """The children of a folder. Raises RpcError."""
        uri = _uri(call, DIRECTORY)
        own = own_skill.directory(uri) if context.surface in WITH_SCRIPTS else None
        if own is not None:
            return call.result({"resources": [*own]})
        able = _declaring(context, lambda settings: settings.get("directoryRead") is True)
        owners = await self.owners(context, uri)
        if owners is None:
            owners = [OwnedResource(server, uri) for server in able]
        owners = [owner for owner in owners if owner.server in able]
        cursor: JsonObject = {"cursor": call.params["cursor"]} if "cursor" in call.params else {}
        owner, result = await self._first(context, owners, DIRECTORY, {"uri": uri, **cursor})
        children = result.get("resources")
        if owner.uri != uri and isinstance(children, list):
            rename = partial(alias, owner.server)
            result["resources"] = [
                renamed(each, rename) if isinstance(each, dict) else each for each in children
            ]
        return call.result({key: result[key] for key in _LISTING if key in result})

    async def owners(self, context: RequestContext, uri: str) -> Sequence[OwnedResource] | None:
        """Whose a skill, or a file or folder in one, is; None where no server has it. Raises
        RpcError where it is in doubt."""
        servers = _declaring(context)
        if found := named(uri, servers):
            return found
        owners = (await self._listed(context)).owners(uri)
        for skill in may_be_in(uri) if servers and not owners else ():
            if owners := await self._having(context, skill):
                break
        if len(owners) > 1:
            raise _in_doubt(uri, owners)
        return [OwnedResource(owner, uri) for owner in owners] or None

    async def _listed(self, context: RequestContext) -> ListedSkills:
        servers = _declaring(context)
        found = await items(self._upstream, servers, LIST)
        sound = [each for each in found if is_sound(each[1])]
        if len(sound) < len(found):
            odd = sorted({server for server, entry in found if not is_sound(entry)})
            log.warning("skills are left out that are not as SEP-2640 wants them: %s", odd)
        return ListedSkills(sound, servers)

    async def _having(self, context: RequestContext, uri: str) -> Collection[str]:
        """The servers that have a skill, be it listed or not ("Listing Skills")."""

        async def has(server: str) -> bool:
            try:
                await forward(self._upstream, context.exchange, server, GET, {"uri": uri})
            except RpcError:
                return False
            return True

        async with asyncio.TaskGroup() as tasks:
            asked = {each: tasks.create_task(has(each)) for each in _declaring(context)}
        return [server for server, task in asked.items() if task.result()]

    async def _first(
        self,
        context: RequestContext,
        owners: Sequence[OwnedResource],
        method: str,
        params: JsonObject,
    ) -> tuple[OwnedResource, JsonObject]:
        """The first answer of those that may have it, and whose it is. Raises RpcError."""
        text = f"nothing is served at {_shown(str(params['uri']))}; {LIST} has the skills"
        refused = RpcError(RpcError.INVALID_PARAMS, text)
        for owner in owners:
            asked: JsonObject = {**params, "uri": owner.uri}
            try:
                raw = await forward(self._upstream, context.exchange, owner.server, method, asked)
                return owner, _object.decode(raw)
            except RpcError as error:
                missing = error.code == mcp.RESOURCE_NOT_FOUND  # of the handshake era
                code = RpcError.INVALID_PARAMS if missing else error.code
                refused = RpcError(code, error.message, error.data)
            except UNREADABLE as error:
                text = f"the answer of {owner.server} is no object: {error}"
                raise RpcError(RpcError.INTERNAL_ERROR, text) from error
        raise refused


_LISTING = ("resources", "nextCursor")


def _declaring(
    context: RequestContext, wanted: Callable[[JsonObject], bool] = lambda _: True
) -> Sequence[str]:
    """The servers in sight that declare the extension, with such settings, by name."""
    declared = {
        server.name: extensions_in(server.capabilities).get(ID)
        for server in context.view.manifest.servers.values()
    }
    return sorted(name for name, said in declared.items() if said is not None and wanted(said))


def _uri(call: Call, method: str) -> str:
    uri = call.params.get("uri")
    if not isinstance(uri, str):
        raise RpcError(RpcError.INVALID_PARAMS, f'{method} needs "uri", a string')
    return uri


def _in_doubt(uri: str, servers: Collection[str]) -> RpcError:
    text = f"several servers have {_shown(uri)}"
    if uri.startswith(SCHEME):
        shown = " or ".join(_shown(alias(server, uri)) for server in sorted(servers))
        text += f"; name one: {shown}"
    return RpcError(RpcError.INVALID_PARAMS, text)


def _shown(uri: str) -> str:
    return repr(uri[:_MAX_URI_SHOWN])
