"""``POST /message``: JSON in, JSON out, no session. One ``curl`` line is a client.

Batches of messages (JSON-RPC 2.0, section 6; MCP 2025-03-26) are answered a few at a time, so that
what else goes on has its turn between them, and with a bound on what all their replies come to.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mcproxy.errors import RpcError
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

AT_ONCE = 8  # each may be as dear as a request by itself
MAX_REPLY_BYTES = 16 << 20  # of all replies: as much as one message may have

Reply = wire.Response | wire.Failure


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
    batch = received if isinstance(received, list) else [received]
    account = site.sessions.account(share_of(site, request))
    give_back = account.take(batch, min(AT_ONCE, len(batch)))
    id_ = received.id if isinstance(received, wire.Request) else None
    if give_back is None:
        return answered(wire.Failure(id_, too_many()))
    try:
        with while_connected(request.scope) as block, site.gate.enter(block):
            if isinstance(received, list):
                return await _batch(site.gateway, received, source)
            said = await site.gateway.respond(received, source)
            return answered(said) if said else accepted()
    except ClientDisconnect:
        return gone()
    except TimeoutError:  # of the gate: the gateway raises nothing
        return answered(wire.Failure(id_, stopped()))
    finally:
        give_back()


async def _batch(
    gateway: Gateway, batch: list[wire.Message | RpcError], source: RequestSource
) -> Response:
    answers = await answer_batch(batch, lambda item: gateway.respond(item, source))
    if not answers:
        return accepted()
    replies, texts = zip(*answers, strict=True)
    return raw(wire.batch_of(texts), headers=_when(replies))


def _when(replies: Sequence[Reply]) -> Mapping[str, str]:
    """When to send a batch again that was refused as a whole."""
    waits = [reply.retry_after for reply in replies if reply.retry_after is not None]
    return retry_after(max(waits)) if len(waits) == len(replies) else {}


async def answer_batch(
    batch: Sequence[wire.Message | RpcError],
    answer: Callable[[wire.Message], Awaitable[Reply | None]],
) -> list[tuple[Reply, bytes]]:
    """The replies, each with its text, in the order of the messages. What comes after the replies
    have reached MAX_REPLY_BYTES is not done, and refused."""
    replies: list[tuple[Reply, bytes] | None] = [None] * len(batch)
    waiting = iter(enumerate(batch))
    size = 0

    async def work() -> None:
        nonlocal size
        for number, item in waiting:
            reply = _refusal(item) if size >= MAX_REPLY_BYTES else await _reply(item, answer)
            if reply:
                text = wire.encode(reply)
                size += len(text)
                replies[number] = (reply, text)
            await asyncio.sleep(0)  # many are answered without a wait

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(AT_ONCE, len(batch))):
            tasks.create_task(work())
    return [reply for reply in replies if reply]


async def _reply(
    item: wire.Message | RpcError, answer: Callable[[wire.Message], Awaitable[Reply | None]]
) -> Reply | None:
    return wire.Failure(None, item) if isinstance(item, RpcError) else await answer(item)


def _refusal(item: wire.Message | RpcError) -> wire.Failure | None:
    if not isinstance(item, wire.Request):
        return wire.Failure(None, item) if isinstance(item, RpcError) else None
    text = (
        f"not done: the replies to the messages before it in this batch have {MAX_REPLY_BYTES} "
        "bytes already; send it again by itself"
    )
    return wire.Failure(item.id, RpcError(RpcError.INVALID_REQUEST, text))
