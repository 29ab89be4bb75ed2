"""``POST /message``: JSON in, JSON out, no session. One ``curl`` line is a client."""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mcproxy.errors import RpcError
from mcproxy.frontends.batches import AT_ONCE, answer_batch
from mcproxy.frontends.connection import while_connected
from mcproxy.frontends.conversation import stopped, too_many
from mcproxy.frontends.replies import accepted, answered, raw, retry_after
from mcproxy.frontends.request_auth import (
    Received,
    Site,
    gone,
    read_message,
    refused,
    share_of,
    where,
)
from mcproxy.gateway.core import Gateway, Where
from mcproxy.wire import message as wire


async def answer(site: Site, request: Request) -> Response:
    """Answer a request, or a batch of them."""
    place = where(request)
    refusal = refused(site, request, place)
    if refusal:
        return refusal
    asked = await read_message(site, request, bad=200)
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
    batch = received if isinstance(received, list) else [received]
    account = site.sessions.account(share_of(site, request))
    give_back = account.take(batch, min(AT_ONCE, len(batch)))
    id_ = received.id if isinstance(received, wire.Request) else None
    if give_back is None:
        work.close()
        return answered(wire.Failure(id_, too_many()))
    bound = asyncio.timeout(None)
    try:
        with site.gate.enter(bound):
            async with bound:
                return await while_connected(request.receive, work)
    except ClientDisconnect:
        return gone()
    except TimeoutError:  # of the bound: the work raises nothing
        return answered(wire.Failure(id_, stopped()))
    finally:
        give_back()


async def _one(gateway: Gateway, message: wire.Message, place: Where) -> Response:
    reply = await gateway.respond(message, place)
    return answered(reply) if reply else accepted()


async def _batch(gateway: Gateway, batch: list[wire.Message | RpcError], place: Where) -> Response:
    answers = await answer_batch(batch, lambda item: gateway.respond(item, place))
    if not answers:
        return accepted()
    replies, texts = zip(*answers, strict=True)
    return raw(wire.batch_of(texts), headers=_when(replies))


def _when(replies: Sequence[wire.Response | wire.Failure]) -> Mapping[str, str]:
    """When to send a batch again that was refused as a whole."""
    waits = [reply.retry_after for reply in replies if reply.retry_after is not None]
    return retry_after(max(waits)) if len(waits) == len(replies) else {}
