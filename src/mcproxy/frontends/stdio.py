"""The stdio transport towards one client: a message a line on stdin, replies on stdout.

Nothing but protocol is written to stdout. Requests are answered side by side; a request that the
client cancels is stopped and gets no reply (MCP, basic/utilities/cancellation).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from mcproxy.errors import RpcError
from mcproxy.frontends.gate import Gate
from mcproxy.gateway.core import Gateway, Where
from mcproxy.types import Caller
from mcproxy.wire.lines import MAX_LINE_BYTES, LineSplitter, Overlong
from mcproxy.wire.message import (
    Failure,
    Message,
    Notification,
    Request,
    RequestId,
    Response,
    decode_body,
    encode,
    encode_batch,
)

Write = Callable[[bytes], Awaitable[None]]


class _Cancelled(msgspec.Struct):
    requestId: int | str


_cancelled = msgspec.json.Decoder(_Cancelled)


async def serve(gateway: Gateway, gate: Gate, chunks: AsyncIterator[bytes], write: Write) -> None:
    """Answer what comes in until the input ends; then let running requests end, bounded."""
    client = _Client(gateway, gate, write)
    lines = LineSplitter()
    async with asyncio.TaskGroup() as tasks:
        async for chunk in chunks:
            for line in lines.feed(chunk):
                tasks.create_task(client.take(line))
        await gate.drain()
        client.cancel_all()


class _Client:
    """The one client at the other end, and its requests that are being answered."""

    def __init__(self, gateway: Gateway, gate: Gate, write: Write) -> None:
        self._gateway = gateway
        self._gate = gate
        self._write = write
        self._where = Where(Caller())
        self._running: dict[RequestId, asyncio.Task[Response | Failure | None]] = {}

    async def take(self, line: bytes | Overlong) -> None:
        """Answer one line."""
        try:
            received = _read(line)
        except RpcError as error:
            await self._write(encode(Failure(None, error)))
            return
        with self._gate.enter():
            if not isinstance(received, list):
                answer = await self._answer(received)
                if answer:
                    await self._write(encode(answer))
                return
            answers = await asyncio.gather(*map(self._answer, received))
            replies = [answer for answer in answers if answer]
            if replies:
                await self._write(encode_batch(replies))

    def cancel_all(self) -> None:
        """Stop what is still being answered."""
        for task in self._running.values():
            task.cancel()

    async def _answer(self, item: Message | RpcError) -> Response | Failure | None:
        match item:
            case RpcError():
                return Failure(None, item)
            case Notification(method="notifications/cancelled", params=params):
                self._cancel(params)
                return None
            case Request(id=id_):
                return await self._run(id_, item)
            case _:
                return None

    async def _run(self, id_: RequestId, request: Request) -> Response | Failure | None:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self._gateway.respond(request, self._where))
            self._running[id_] = task
            try:
                await asyncio.wait([task])
            finally:
                self._running.pop(id_, None)
        return None if task.cancelled() else task.result()

    def _cancel(self, params: bytes) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            task = self._running.get(_cancelled.decode(params).requestId)
            if task:
                task.cancel()


def _read(line: bytes | Overlong) -> Message | list[Message | RpcError]:
    if isinstance(line, Overlong):
        text = f"the message has {line.size} bytes, the limit is {MAX_LINE_BYTES}"
        raise RpcError(RpcError.INVALID_REQUEST, text)
    return decode_body(line)
