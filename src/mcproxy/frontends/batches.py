"""Batches of messages (JSON-RPC 2.0, section 6; MCP 2025-03-26): a few at a time, so that what else
goes on has its turn between them, and with a bound on what all their replies come to."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from mcproxy.errors import RpcError
from mcproxy.wire.message import Failure, Message, Request, Response, encode

AT_ONCE = 8  # each may be as dear as a request by itself
MAX_REPLY_BYTES = 16 << 20  # of all replies: as much as one message may have

Reply = Response | Failure


async def answer_batch(
    batch: Sequence[Message | RpcError], answer: Callable[[Message], Awaitable[Reply | None]]
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
                text = encode(reply)
                size += len(text)
                replies[number] = (reply, text)
            await asyncio.sleep(0)  # many are answered without a wait

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(AT_ONCE, len(batch))):
            tasks.create_task(work())
    return [reply for reply in replies if reply]


async def _reply(
    item: Message | RpcError, answer: Callable[[Message], Awaitable[Reply | None]]
) -> Reply | None:
    return Failure(None, item) if isinstance(item, RpcError) else await answer(item)


def _refusal(item: Message | RpcError) -> Failure | None:
    if not isinstance(item, Request):
        return Failure(None, item) if isinstance(item, RpcError) else None
    text = (
        f"not done: the replies to the messages before it in this batch have {MAX_REPLY_BYTES} "
        "bytes already; send it again by itself"
    )
    return Failure(item.id, RpcError(RpcError.INVALID_REQUEST, text))
