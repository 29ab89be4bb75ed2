"""``POST /message``: JSON in, JSON out, no session. One ``curl`` line is a client."""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mcproxy.errors import RpcError
from mcproxy.frontends.connection import while_connected
from mcproxy.frontends.entry import Received, Site, gone, read_message, refused, where
from mcproxy.frontends.replies import accepted, answered, raw, retry_after
from mcproxy.gateway.core import Gateway, Where
from mcproxy.wire import message as wire


async def answer(site: Site, request: Request) -> Response:
    """Answer a request, or a batch of them."""
    place = where(request)
    refusal = refused(site, request, place)
    if refusal:
        return refusal
    asked = await read_message(request, bad=200)
    return asked if isinstance(asked, Response) else await reply(site, request, asked, place)


async def reply(
    site: Site,
    request: Request,
    received: Received,
    place: Where,
) -> Response:
    """Answer messages; where the client leaves, what it asked for is stopped."""
    work = (
        _batch(site.gateway, received, place)
        if isinstance(received, list)
        else _one(site.gateway, received, place)
    )
    with site.gate.enter():
        try:
            return await while_connected(request.receive, work)
        except ClientDisconnect:
            return gone()


async def _one(gateway: Gateway, message: wire.Message, place: Where) -> Response:
    reply = await gateway.respond(message, place)
    return answered(reply) if reply else accepted()


async def _batch(gateway: Gateway, batch: list[wire.Message | RpcError], place: Where) -> Response:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_item(gateway, item, place)) for item in batch]
    replies = [reply for task in running if (reply := task.result())]
    return raw(wire.encode_batch(replies), headers=_when(replies)) if replies else accepted()


def _when(replies: Sequence[wire.Response | wire.Failure]) -> Mapping[str, str]:
    """When to send a batch again that was refused as a whole."""
    waits = [reply.retry_after for reply in replies if reply.retry_after is not None]
    return retry_after(max(waits)) if len(waits) == len(replies) else {}


async def _item(
    gateway: Gateway, item: wire.Message | RpcError, place: Where
) -> wire.Response | wire.Failure | None:
    if isinstance(item, RpcError):
        return wire.Failure(None, item)
    return await gateway.respond(item, place)
