"""What is asked of servers beside calls: a request of one, and the lists of several as one.

A server that is down or slow is left out of a list, so that it hides none of the others; servers
remember their own lists, so that asking again costs nothing. Owns the cursors towards clients.
"""

import asyncio
import base64
import binascii
import logging
from collections.abc import Iterable, Sequence

from mcproxy.call_errors import CallError, UpstreamError
from mcproxy.errors import RpcError
from mcproxy.exchange import Exchange, Upstream
from mcproxy.gateway.request import RequestContext
from mcproxy.types import Json, JsonObject

LIST_WAIT_SECS = 5.0  # a server that takes longer for its list is left out of it
PAGE_ITEMS = 1000  # most clients read the first page only, so it is large

log = logging.getLogger(__name__)


def offering(context: RequestContext, kind: str) -> list[str]:
    """The servers in sight that have a capability, by name."""
    servers = context.view.manifest.servers
    return sorted(name for name, server in servers.items() if kind in server.capabilities)


async def items(
    upstream: Upstream, servers: Iterable[str], method: str
) -> list[tuple[str, JsonObject]]:
    """The items of all these servers' lists, each with its server, in the order given."""

    async def of(server: str) -> Sequence[JsonObject]:
        try:
            async with asyncio.timeout(LIST_WAIT_SECS):
                return await upstream.list(server, method)
        except (CallError, TimeoutError) as error:
            log.info("%s: %s is left out: %s", server, method, error, extra={"server": server})
            return ()

    async with asyncio.TaskGroup() as tasks:
        asked = [(server, tasks.create_task(of(server))) for server in servers]
    return [(server, item) for server, task in asked for item in task.result()]


def page(member: str, listed: Sequence[JsonObject], cursor: Json) -> JsonObject:
    """One page of a list as the body of a result. Raises RpcError for a cursor not of ours."""
    start = _offset(cursor)
    body: JsonObject = {member: [*listed[start : start + PAGE_ITEMS]]}
    if start + PAGE_ITEMS < len(listed):
        body["nextCursor"] = _cursor(start + PAGE_ITEMS)
    return body


def _cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(b"after %d" % offset).decode()


def _offset(cursor: Json) -> int:
    if cursor is None:
        return 0
    try:
        text = base64.b64decode(str(cursor).encode(), b"-_", validate=True)
        return int(text.removeprefix(b"after "))
    except (ValueError, binascii.Error) as error:
        raise RpcError(
            RpcError.INVALID_PARAMS,
            "this cursor is not one that the list gave; leave it out to begin at the first page",
        ) from error


async def forward(
    upstream: Upstream, exchange: Exchange, server: str, method: str, params: JsonObject
) -> bytes:
    """The raw result. Raises RpcError: the server's own, or one that tells how the server is."""
    try:
        return await upstream.request(exchange, server, method, params)
    except UpstreamError as error:
        raise error.rpc from error
    except CallError as error:
        raise RpcError(RpcError.INTERNAL_ERROR, error.message) from error
