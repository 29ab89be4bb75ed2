"""An HTTP API as an MCP server: answers what a session asks, and calls the API.

Calls go through ``remote.endpoint``, as those of every server that has a URL: its time-outs, its
limits, its redirects within one origin.
"""

import asyncio
import logging
import re
from collections.abc import Collection
from http import HTTPStatus

import httpx
import msgspec

import mcproxy
from mcproxy import mcp
from mcproxy.config.model import ServerConfig
from mcproxy.errors import PeerClosed, RpcError
from mcproxy.types import JsonObject
from mcproxy.upstream.openapi.description import ApiOffer, Description, api_of, read, refresh_secs
from mcproxy.upstream.openapi.document import BadDescription
from mcproxy.upstream.openapi.operations import Operation
from mcproxy.upstream.openapi.replies import ApiReply, refusal_of, refusal_words, result_of
from mcproxy.upstream.openapi.request import request_of
from mcproxy.upstream.remote.endpoint import Endpoint, RemoteTarget, read_body, read_refused
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.wire.message import MAX_LINE_BYTES, UNREADABLE

MAX_LOGGED = 5  # operations that are left out; /health tells more
_HEADER_TEXT = re.compile(r"[\x20-\x7e]{1,8192}")
_AGENT = f"mcproxy/{mcproxy.__version__}"
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

log = logging.getLogger(__name__)


class _Call(msgspec.Struct):
    name: str
    arguments: JsonObject = {}
    meta: JsonObject = msgspec.field(default_factory=dict, name="_meta")

    @property
    def trace(self) -> dict[str, str]:
        """The context of its trace as headers, which W3C has made it for (SEP-414)."""
        named = {key: self.meta.get(key) for key in mcp.META_TRACE}
        return {
            key: value
            for key, value in named.items()
            if isinstance(value, str) and _HEADER_TEXT.fullmatch(value)
        }


class ApiServer:
    """The server ``name``; ``load`` comes first, then it can be asked through ``remote``."""

    def __init__(self, name: str, server: ServerConfig) -> None:
        self._name, self._server = name, server
        self._log = ServerLog(log, name)
        self._description: Description | None = None
        self._api: ApiOffer | None = None
        self._reached = True

    async def load(self) -> RemoteTarget:
        """Read the description; gives where the API is. Raises PeerClosed."""
        self._description = await read(self._name, self._server, None)
        assert self._description is not None  # noqa: S101  there was none to be the same
        self._api = await self._made_of(self._description)
        return RemoteTarget(self._name, self._api.origin, self._server.headers)

    async def changed(self) -> None:
        """Return once the description says something else, which is then offered.

        One that cannot be read leaves all as it is. Raises PeerClosed where the API is now
        somewhere else.
        """
        told = ""
        while True:
            await asyncio.sleep(refresh_secs(self._server))
            try:
                if await self._renewed():
                    return
                told = ""
            except _Moved as error:
                raise PeerClosed(str(error)) from error
            except PeerClosed as error:
                if str(error) != told:
                    told = str(error)
                    self._log.warning("its description is kept, the new one is no good: %s", told)

    async def answer(self, remote: Endpoint, method: str, params: bytes) -> bytes:
        """The raw result of a request. Raises RpcError, and PeerClosed where the API is not
        there."""
        api = self._api
        if api is None:
            raise PeerClosed("its description was never read")
        match method:
            case mcp.DISCOVER:
                return api.about
            case mcp.LIST_TOOLS:
                return api.tools
            case mcp.CALL_TOOL:
                return await self._call(remote, api, params)
            case mcp.PING if self._reached:
                return b"{}"
            case mcp.PING:
                raise PeerClosed("the API did not answer its last call")
        raise RpcError(RpcError.METHOD_NOT_FOUND, f"{method} is nothing that an API offers")

    async def _renewed(self) -> bool:
        new = await read(self._name, self._server, self._description)
        if new is None or self._description is None or self._api is None:
            return False
        before, self._description = self._description, new
        if new.digest == before.digest:
            return False
        api = await self._made_of(new)
        if api.origin != self._api.origin:
            raise _Moved(f"its description names another server now, {api.origin}")
        self._api = api
        return True

    async def _made_of(self, description: Description) -> ApiOffer:
        try:
            api = await asyncio.to_thread(api_of, description, self._server)
        except BadDescription as error:
            raise PeerClosed(str(error), cause="no_api") from error
        if api.left_out:
            told = "; ".join(api.left_out[:MAX_LOGGED])
            self._log.warning("%d operations are left out: %s", len(api.left_out), told)
        return api

    async def _call(self, remote: Endpoint, api: ApiOffer, params: bytes) -> bytes:
        try:
            call = msgspec.json.decode(params, type=_Call)
        except UNREADABLE as error:
            raise RpcError(RpcError.INVALID_PARAMS, f"no call of a tool: {error}") from error
        if call.name not in api.operations:
            raise RpcError(RpcError.INVALID_PARAMS, f"there is no operation {call.name!r}")
        operation, base = api.operations[call.name]
        signatures = [api.signatures[name] for name in operation.signed_by]
        request = request_of(operation, call.arguments, signatures)
        headers = {"User-Agent": _AGENT, **call.trace, **request.headers}
        url = remote.inside(base + request.target)
        self._reached = False
        async with remote.stream(request.method, headers, request.content, url=url) as response:
            self._reached = True
            return await self._result(operation, response)

    async def _result(self, operation: Operation, response: httpx.Response) -> bytes:
        address = str(response.request.url.copy_with(query=None))
        media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not response.is_success:
            refused = await read_refused(response)
            reply = ApiReply(refused.status, media, refused.body, address)
            if refused.status in _BUSY and refused.retry_after is not None:
                words = refusal_words(reply, self._secrets, self._name)
                raise PeerClosed(words, retry_after=refused.retry_after)
            return refusal_of(reply, self._secrets, self._name)
        body = await read_body(response)
        if body is None:
            words = f"the answer is longer than {MAX_LINE_BYTES} bytes; ask for less"
            raise RpcError(RpcError.INTERNAL_ERROR, words)
        return result_of(operation, ApiReply(response.status_code, media, body, address))

    @property
    def _secrets(self) -> Collection[str]:
        return (*self._server.headers.values(), *self._server.credentials.values())


class _Moved(PeerClosed):
    """The API is somewhere else now: the connection begins anew."""
