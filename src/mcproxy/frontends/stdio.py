"""The stdio transport towards one client: a message a line on stdin, replies on stdout.

Nothing but protocol is written to stdout. What is asked and answered is a ``Conversation``, as over
HTTP. All that goes out stands in one stream, so that a request's notifications come before its
reply; a client that reads too little of it is not read either, and in the end is gone.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from mcproxy import mcp
from mcproxy.cancellation import Stoppable
from mcproxy.errors import RpcError
from mcproxy.exchange import ClientSession
from mcproxy.frontends.conversation import Account, Conversation, ReplyTo, session_on
from mcproxy.frontends.stream import QUEUED_BYTES, ReaderLost, Stream
from mcproxy.gateway.core import Gateway
from mcproxy.gateway.listen import listen
from mcproxy.gateway.request import RequestSource
from mcproxy.policy.access import AccessDenied
from mcproxy.queues import Gate
from mcproxy.types import Caller
from mcproxy.wire.message import (
    MAX_LINE_BYTES,
    Failure,
    LineSplitter,
    Message,
    Notification,
    Overlong,
    Request,
    Response,
    decode_body,
    encode,
    encode_batch,
)
from mcproxy.wire.peer import Pace

FLUSH_SECS = 5.0  # at the end, a client that still reads has taken what is queued by then

log = logging.getLogger(__name__)

Write = Callable[[bytes], Awaitable[None]]


async def serve(gateway: Gateway, gate: Gate, chunks: AsyncIterator[bytes], write: Write) -> None:
    """Answer what comes in until the input ends; then let running requests end, bounded.

    A client that takes nothing any more is gone: what it has asked for is stopped at once.
    """
    try:
        await _serve(gateway, gate, chunks, write)
    except* OSError as faults:
        log.warning("nothing can be written to the client any more: %s", faults.exceptions[0])


async def _serve(gateway: Gateway, gate: Gate, chunks: AsyncIterator[bytes], write: Write) -> None:
    output = _Output(write)
    async with asyncio.TaskGroup() as outside:
        writing = outside.create_task(output.write_all())
        async with asyncio.TaskGroup() as tasks:
            account = Account.of_the_only_client()
            run = tasks.create_task
            conversation = Conversation(
                gateway, gate, run, account, output.stream, session_on(output.stream)
            )
            client = _Client(gateway, conversation)
            await _read(chunks, client, output)
            await gate.drain()
            client.close()
        output.stream.end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECS):
                await asyncio.wait([writing])
        writing.cancel()


async def _read(chunks: AsyncIterator[bytes], client: "_Client", output: "_Output") -> None:
    lines, pace = LineSplitter(), Pace()
    async for chunk in chunks:
        for line in lines.feed(chunk):
            client.take(line)
            await pace.keep(0 if isinstance(line, Overlong) else len(line))
            await output.room()  # who reads no replies is not read either


class _Output:
    """What goes out, in order."""

    def __init__(self, write: Write) -> None:
        self.stream = Stream(returns=False)
        self._write = write
        self._reader = self.stream.attach()
        self._written = asyncio.Event()

    async def room(self) -> None:
        """Return once the client has read most of what it was sent."""
        while self.stream.crowded:
            self._written.clear()
            await self._written.wait()

    async def write_all(self) -> None:
        """Write what comes, to the end of the stream. Raises OSError, also where the client has
        left too much unread."""
        try:
            with Stoppable() as block:
                self._reader.stop_when_lost(block)
                while not self._reader.done:
                    await self._reader.wait()
                    for event in self._reader.next(QUEUED_BYTES):
                        await self._write(event.message)
                        self._reader.read([event])
                        self._written.set()
        except ReaderLost as lost:
            raise BrokenPipeError("it does not read what it is sent") from lost


class _Client:
    """The one client at the other end."""

    def __init__(self, gateway: Gateway, conversation: Conversation) -> None:
        self._gateway = gateway
        self._conversation = conversation
        self._source = RequestSource(Caller())
        self._way = ReplyTo(conversation.home, self._reply)
        self._unsubscribe: Callable[[], None] | None = None

    def take(self, line: bytes | Overlong) -> None:
        """Take one line; a fault in it harms no other."""
        try:
            received = _decoded(line)
            if isinstance(received, list):
                self._take_batch(received)
            else:
                self._take(received, self._way)
        except RpcError as error:
            self._reply(Failure(None, error))
        except Exception:
            log.exception("a message could not be taken")
            text = "internal error; the log has the details"
            self._reply(Failure(None, RpcError(RpcError.INTERNAL_ERROR, text)))

    def close(self) -> None:
        """Stop what is still being answered; the client is gone."""
        self._conversation.cancel_all()
        if self._unsubscribe:
            self._unsubscribe()

    def _take(self, message: Message, way: ReplyTo) -> None:
        if not isinstance(message, Request):
            self._conversation.receive(message)
        elif message.method == mcp.LISTEN:
            self._conversation.keep(message, self._listen, way)
        else:
            self._conversation.start(message, self._source, way)
            if message.method == "initialize":
                self._subscribe()

    def _take_batch(self, batch: list[Message | RpcError]) -> None:
        """Answer a batch by one, when all of its requests have ended."""
        faults = [Failure(None, item) for item in batch if isinstance(item, RpcError)]
        replies: list[Response | Failure | None] = [*faults]
        messages = [item for item in batch if not isinstance(item, RpcError)]
        wanted = len(faults) + sum(isinstance(item, Request) for item in messages)

        def put() -> None:
            given = [reply for reply in replies if reply]
            if given and len(replies) == wanted:
                self._conversation.home.put(encode_batch(given))

        def reply(answer: Response | Failure | None) -> None:
            replies.append(answer)
            put()

        for message in messages:
            self._take(message, ReplyTo(self._conversation.home, reply))
        if wanted == len(faults):
            put()

    def _subscribe(self) -> None:
        """A client of the handshake era will hear of changes; the reply tells one that may not."""
        if self._unsubscribe is None:
            with contextlib.suppress(AccessDenied):
                self._unsubscribe = self._gateway.subscribe(
                    self._source, self._conversation.announce
                )

    async def _listen(self, request: Request, session: ClientSession | None) -> None:
        """Tell of changes until the client cancels, or goes. Raises RpcError."""

        def send(note: Notification) -> None:
            self._conversation.home.put(encode(note))

        try:
            subscription = await listen(self._gateway, self._source, request, send, session)
        except AccessDenied as denied:
            raise RpcError(RpcError.INVALID_PARAMS, str(denied)) from denied
        try:
            await asyncio.Event().wait()
        finally:
            subscription.close()

    def _reply(self, reply: Response | Failure | None) -> None:
        if reply:
            self._conversation.home.put(encode(reply))


def _decoded(line: bytes | Overlong) -> Message | list[Message | RpcError]:
    if isinstance(line, Overlong):
        text = f"the message has {line.size} bytes, the limit is {MAX_LINE_BYTES}"
        raise RpcError(RpcError.INVALID_REQUEST, text)
    return decode_body(line)
