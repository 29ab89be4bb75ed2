"""The stdio transport towards one client: a message a line on stdin, replies on stdout.

Nothing but protocol is written to stdout. Requests are answered side by side; a request that the
client cancels is stopped and gets no reply (MCP, basic/utilities/cancellation). All that goes out
stands in one queue, so that a request's notifications come before its reply.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

import msgspec
from msgspec.structs import replace

from mcproxy.errors import RpcError
from mcproxy.exchange import ClientSession, Exchange
from mcproxy.frontends.asking import Asking
from mcproxy.frontends.conversation import MAX_RUNNING, too_many
from mcproxy.frontends.gate import Gate
from mcproxy.frontends.glance import glance
from mcproxy.gateway.core import Gateway, Where
from mcproxy.gateway.listen import METHOD as LISTEN
from mcproxy.gateway.listen import listen
from mcproxy.policy.access import AccessDenied
from mcproxy.types import Caller, Json, JsonObject
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

QUEUED_MESSAGES = 4096  # what a client may leave unread before notifications are dropped
FLUSH_SECS = 5.0  # at the end, a client that still reads has taken what is queued by then

log = logging.getLogger(__name__)

Write = Callable[[bytes], Awaitable[None]]

_encode = msgspec.json.Encoder().encode


async def serve(gateway: Gateway, gate: Gate, chunks: AsyncIterator[bytes], write: Write) -> None:
    """Answer what comes in until the input ends; then let running requests end, bounded.

    A client that takes nothing any more is gone: what it has asked for is stopped at once.
    """
    try:
        await _serve(gateway, gate, chunks, write)
    except* OSError as faults:
        log.warning("nothing can be written to the client any more: %s", faults.exceptions[0])


async def _serve(gateway: Gateway, gate: Gate, chunks: AsyncIterator[bytes], write: Write) -> None:
    outbox = _Outbox()
    client = _Client(gateway, gate, outbox)
    lines = LineSplitter()
    async with asyncio.TaskGroup() as writer:
        writing = writer.create_task(outbox.write_to(write))
        async with asyncio.TaskGroup() as tasks:
            async for chunk in chunks:
                for line in lines.feed(chunk):
                    tasks.create_task(client.take(line))
                await outbox.room()  # who reads no replies is not read either
            await gate.drain()
            client.cancel_all()
        await outbox.flush()
        writing.cancel()


class _Outbox:
    """The messages on their way out, in order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_MESSAGES)
        self._written = asyncio.Event()

    async def room(self) -> None:
        """Return once the queue has room."""
        while self._queue.full():
            self._written.clear()
            await self._written.wait()

    async def put(self, message: bytes) -> None:
        """Append a reply; waits while the queue is full."""
        await self._queue.put(message)

    def post(self, message: Message) -> None:
        """Append a notification or a request of our own; dropped where the client reads nothing."""
        try:
            self._queue.put_nowait(encode(message))
        except asyncio.QueueFull:
            log.warning("the client reads too slowly; a notification was dropped")

    async def write_to(self, write: Write) -> None:
        """Write what comes, until cancelled."""
        while True:
            await write(await self._queue.get())
            self._queue.task_done()
            self._written.set()

    async def flush(self) -> None:
        """Return when all is written, at most after FLUSH_SECS."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECS):
                await self._queue.join()


class _Client:
    """The one client at the other end, and its requests that are being answered."""

    def __init__(self, gateway: Gateway, gate: Gate, outbox: _Outbox) -> None:
        self._gateway = gateway
        self._gate = gate
        self._outbox = outbox
        self._where = Where(Caller())
        self._asking = Asking()
        self._session = ClientSession(self._notify)
        self._exchange = Exchange(self._notify, self._ask, self._session)
        self._unsubscribe: Callable[[], None] | None = None
        self._running: dict[asyncio.Task[Response | Failure | None], RequestId] = {}

    async def take(self, line: bytes | Overlong) -> None:
        """Answer one line."""
        try:
            received = _read(line)
        except RpcError as error:
            await self._outbox.put(encode(Failure(None, error)))
            return
        if isinstance(received, Request) and received.method == LISTEN:
            await self._reply(await self._run(received.id, self._listen(received)))
            return
        with self._gate.enter():
            if not isinstance(received, list):
                await self._reply(await self._answer(received))
                return
            answers = await asyncio.gather(*map(self._answer, received))
            replies = [answer for answer in answers if answer]
            if replies:
                await self._outbox.put(encode_batch(replies))

    def cancel_all(self) -> None:
        """Stop what is still being answered; the client is gone."""
        self._session.ended.set()
        for task in self._running:
            task.cancel()

    async def _reply(self, answer: Response | Failure | None) -> None:
        if answer:
            await self._outbox.put(encode(answer))

    async def _answer(self, item: Message | RpcError) -> Response | Failure | None:
        match item:
            case RpcError():
                return Failure(None, item)
            case Request():
                return await self._respond(item)
            case Notification(method="notifications/cancelled", params=params):
                self._cancel(glance(params).requestId)
            case Response() | Failure():
                self._asking.answered(item)
        return None

    async def _respond(self, request: Request) -> Response | Failure | None:
        if len(self._running) >= MAX_RUNNING:
            return Failure(request.id, too_many())
        if request.method == "initialize":
            self._meet(request.params)
        work = self._gateway.respond(request, self._where, self._exchange)
        return await self._run(request.id, work)

    def _cancel(self, cancelled: Json) -> None:
        for task, id_ in self._running.items():
            if id_ == cancelled:
                task.cancel()

    async def _run(
        self, id_: RequestId, work: Coroutine[None, None, Response | Failure | None]
    ) -> Response | Failure | None:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(work)
            self._running[task] = id_
            try:
                await asyncio.wait([task])
            finally:
                del self._running[task]
        return None if task.cancelled() else task.result()

    def _meet(self, params: bytes) -> None:
        """A client of the handshake era says what it can be asked, and will hear of changes."""
        declared = glance(params).capabilities
        capabilities = declared if isinstance(declared, dict) else {}
        self._exchange = replace(self._exchange, capabilities=capabilities)
        if self._unsubscribe is None:
            self._unsubscribe = self._gateway.subscribe(
                self._where, lambda method: self._notify(method, {})
            )

    async def _listen(self, request: Request) -> Failure | None:
        """Tell of changes until the client cancels, or goes."""
        if self._gate.closed:
            return None
        try:
            subscription = await listen(
                self._gateway, self._where, request, self._outbox.post, self._session
            )
        except RpcError as error:
            return Failure(request.id, error)
        except AccessDenied as denied:
            return Failure(request.id, RpcError(RpcError.INVALID_PARAMS, str(denied)))
        try:
            await asyncio.Event().wait()
        finally:
            subscription.close()
        return None

    def _notify(self, method: str, params: JsonObject) -> None:
        self._outbox.post(Notification(method, _encode(params)))

    async def _ask(self, method: str, params: JsonObject) -> JsonObject:
        return await self._asking.ask(
            method, params, self._exchange.capabilities, self._outbox.post
        )


def _read(line: bytes | Overlong) -> Message | list[Message | RpcError]:
    if isinstance(line, Overlong):
        text = f"the message has {line.size} bytes, the limit is {MAX_LINE_BYTES}"
        raise RpcError(RpcError.INVALID_REQUEST, text)
    return decode_body(line)
