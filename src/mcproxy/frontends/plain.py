"""``POST /message``: JSON in, JSON out, no session. One ``curl`` line is a client."""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mcproxy.errors import RpcError
from mcproxy.frontends.batches import AT_ONCE, answer_batch
from mcproxy.frontends.conversation import stopped, too_many
from mcproxy.frontends.request_auth import (
    Received,
    Site,
    admitted,
    gone,
    read_message,
    share_of,
    source_of,
)
from mcproxy.frontends.responses import accepted, answered, raw, retry_after, while_connected
from mcproxy.gateway.core import Gateway
from mcproxy.gateway.request import RequestSource
from mcproxy.wire import message as wire


async def answer(site: Site, request: Request) -> Response:
    """Answer a request, or a batch of them."""
    source = admitted(site, request, source_of(request))
    if isinstance(source, Response):
        return source
    asked = await read_message(site, request, bad=200)
    return asked if isinstance(asked, Response) else await reply(site, request, asked, source)


async def reply(
    site: Site,
    request: Request,
    received: Received,
    source: RequestSource,
) -> Response:
    """Answer messages; where the client leaves, what it asked for is stopped."""
    work = (
        _batch(site.gateway, received, source)
        if isinstance(received, list)
        else _one(site.gateway, received, source)
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


async def _one(gateway: Gateway, message: wire.Message, source: RequestSource) -> Response:
    reply = await gateway.respond(message, source)
    return answered(reply) if reply else accepted()


async def _batch(
    gateway: Gateway, batch: list[wire.Message | RpcError], source: RequestSource
) -> Response:
    answers = await answer_batch(batch, lambda item: gateway.respond(item, source))
    if not answers:
        return accepted()
    replies, texts = zip(*answers, strict=True)
    return raw(wire.batch_of(texts), headers=_when(replies))


def _when(replies: Sequence[wire.Response | wire.Failure]) -> Mapping[str, str]:
    """When to send a batch again that was refused as a whole."""
    waits = [reply.retry_after for reply in replies if reply.retry_after is not None]
    return retry_after(max(waits)) if len(waits) == len(replies) else {}
