"""Streamable HTTP towards a server, every revision (MCP 2025-03-26 … 2026-07-28, Transports).

Each message is a POST; a reply is a JSON body or an event stream. Which revision a message is of is
read off the message itself, so this file needs no setting. It holds what the handshake era keeps
between requests: the session, which is begun anew when the server forgot it, and the stream of the
server's own messages. A request is sent again only where the first was surely not processed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress

import httpx
import msgspec

from mcproxy import mcp
from mcproxy.errors import PeerClosed, RpcError
from mcproxy.upstream.remote.endpoint import Endpoint, ErrorResponse, read_refused
from mcproxy.upstream.remote.headers import (
    INITIALIZED,
    Agreed,
    Marks,
    agreed_in,
    headers_of,
    marks_in,
    mirrored,
)
from mcproxy.upstream.remote.http_channel import HttpChannel, Line
from mcproxy.upstream.remote.listen_stream import QUIET_SECS, Source, listen
from mcproxy.upstream.remote.refusal import Gone, is_older, session_lost
from mcproxy.upstream.remote.replies import Replies, is_page, is_stream
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.wire.message import (
    MAX_LINE_BYTES,
    UNREADABLE,
    Failure,
    Message,
    Notification,
    Overlong,
    Request,
    RequestId,
    Response,
    encode,
)

BEGIN_SECS = 30.0  # for a new session in place of one that the server forgot
TELL_SECS = 30.0  # for a notification to be taken
GOODBYE_SECS = 2.0  # for the end of a session
DRAIN_SECS = 1.0  # after the reply a stream ends; read to its end, the connection can be used again
MAX_RESUMES = 5  # in a row, without anything new

log = logging.getLogger(__name__)


class _Cancelled(msgspec.Struct):
    requestId: RequestId = ""


class Streamable:
    """A ``HttpChannel`` over Streamable HTTP. ``older`` opens the one to turn to where the server
    knows only HTTP+SSE, or raises PeerClosed."""

    def __init__(
        self, endpoint: Endpoint, line: Line, older: Callable[[], Awaitable[HttpChannel]]
    ) -> None:
        self._endpoint = endpoint
        self._line = line
        self._older = older
        self._agreed: Agreed | None = None
        self._hello: Request | None = None
        self._marks: Marks = {}
        self._listed = False
        self._asked: dict[RequestId, asyncio.Task[None]] = {}
        self._beginning = asyncio.Lock()  # held while a session begins: requests wait for it

    def post(self, message: Message, data: bytes) -> None:
        """Send a message; replies go to the line's peer, and so do faults."""
        match message:
            case Request(id=id_, method=method):
                send = self._listen if method == mcp.LISTEN else self._ask
                task = self._line.tasks.start(send(message, data))
                self._asked[id_] = task
                task.add_done_callback(lambda _: self._asked.pop(id_, None))
            case Notification(method=mcp.CANCELLED):
                self._cancel(message, data)
            case Notification(method=INITIALIZED.method):
                self._line.tasks.start(self._begun(data))
            case _:
                self._line.tell(self._tell(data), len(data))

    async def close(self) -> None:
        """End the session (MCP 2025-11-25, Transports, "Session Management", 5), within
        GOODBYE_SECS."""
        if self._agreed and self._agreed.session_id:
            with suppress(PeerClosed, TimeoutError):
                async with asyncio.timeout(GOODBYE_SECS):
                    async with self._endpoint.stream("DELETE", headers_of(self._agreed)):
                        pass

    async def _ask(self, request: Request, data: bytes) -> None:
        try:
            await self._exchange(request, data)
        except (PeerClosed, RpcError) as error:
            self._line.peer.fail(request.id, error)
            if isinstance(error, Gone):
                self._gone(error)

    def _gone(self, error: Gone) -> None:
        """End the session, unless others wait for answers that may still come."""
        others = [id_ for id_ in self._asked if self._line.peer.awaits(id_)]
        if not others:
            self._line.lose(error.reason, error.cause)

    async def _exchange(self, request: Request, data: bytes) -> None:
        if request.method == "initialize":
            self._hello = request
        async with self._beginning:
            agreed = self._agreed
        refused = await self._try(request, data, agreed)
        if (
            refused
            and agreed
            and agreed.session_id
            and session_lost(refused.status, refused.body, request.id)
        ):
            renewed = await self._renew(agreed)
            refused = await self._try(request, data, renewed)
        if refused and request.method == "initialize" and is_older(refused.status, refused.body):
            channel = await self._fall_back(refused)
            channel.post(request, data)
        elif refused:
            raise self._endpoint.refused(refused)

    async def _try(
        self, request: Request, data: bytes, agreed: Agreed | None
    ) -> ErrorResponse | None:
        """Send a request once and see it answered; or give the refusal."""
        headers = headers_of(agreed) | mirrored(request, self._marks)
        replies = Replies(self._line.name)
        try:
            async with self._endpoint.stream("POST", headers, data) as response:
                if not response.is_success:
                    return await read_refused(response)
                if is_page(response):
                    raise await self._endpoint.page(response)
                await self._read(request, response, replies)
        except PeerClosed:
            if not (agreed and replies.last_id):
                raise
        while self._line.peer.awaits(request.id):
            await self._resume(request, replies, agreed)
        return None

    async def _resume(self, request: Request, replies: Replies, agreed: Agreed | None) -> None:
        """Read on where a stream broke, until there was something new (MCP 2025-11-25,
        Transports, "Resumability and Redelivery"). Raises PeerClosed where that cannot be."""
        place = replies.last_id
        reason = "the connection ended before the answer came; whether the call ran is not known"
        for _ in range(MAX_RESUMES if agreed and place else 0):
            await asyncio.sleep(replies.retry_secs)
            headers = headers_of(agreed) | {"Last-Event-ID": place}
            try:
                async with self._endpoint.stream("GET", headers) as response:
                    if not (response.is_success and is_stream(response)):
                        break
                    await self._read(request, response, replies)
            except PeerClosed as error:
                reason = error.reason
            if replies.last_id != place or not self._line.peer.awaits(request.id):
                return
        raise PeerClosed(reason)

    async def _read(self, request: Request, response: httpx.Response, replies: Replies) -> None:
        peer = self._line.peer
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as drain:
                async for message in replies.read(response):
                    if isinstance(message, Overlong):
                        peer.fail(request.id, _too_long(message))
                        return
                    if isinstance(message, Response):
                        self._learn(request, response, message)
                    elif isinstance(message, Failure) and message.id is None:
                        peer.fail(request.id, message.error)  # whose else could it be
                    peer.receive(message, request.id)
                    if drain.when() is None and not peer.awaits(request.id):
                        drain.reschedule(asyncio.get_running_loop().time() + DRAIN_SECS)

    def _learn(self, request: Request, response: httpx.Response, reply: Response) -> None:
        """Keep what later requests need of a reply."""
        if request.method == "initialize":
            self._agreed = agreed_in(response, reply.result)
        elif request.method == mcp.LIST_TOOLS:
            self._listed = True
            self._marks = {**self._marks, **marks_in(reply.result)}

    async def _renew(self, lost: Agreed) -> Agreed:
        """Begin a session in place of the lost one, unless another request already did."""
        async with self._beginning:
            if self._agreed is lost or self._agreed is None:
                ServerLog(log, self._line.name).info("it forgot the session, beginning a new one")
                try:
                    async with asyncio.timeout(BEGIN_SECS):
                        self._agreed = await self._begin()
                except (RpcError, TimeoutError) as error:
                    raise Gone(f"it forgot the session and refused a new one: {error}") from error
                self._line.renewed()
            return self._agreed

    async def _begin(self) -> Agreed:
        if self._hello is None:
            raise PeerClosed("there was never a session")
        agreed: Agreed | None = None
        async with self._endpoint.stream("POST", headers_of(None), encode(self._hello)) as response:
            if not response.is_success:
                raise await self._endpoint.refusal(response)
            async for message in Replies(self._line.name).read(response):
                if isinstance(message, Response):
                    agreed = agreed_in(response, message.result)
        if agreed is None:
            raise RpcError(RpcError.INTERNAL_ERROR, "it did not answer `initialize`")
        async with self._endpoint.stream("POST", headers_of(agreed), encode(INITIALIZED)):
            return agreed

    async def _begun(self, data: bytes) -> None:
        # This task was made before those of later requests, so it is the first to get the lock.
        async with self._beginning:
            await self._tell(data)
        if self._agreed:
            await self._listen(None, b"")

    async def _tell(self, data: bytes) -> None:
        """Send what has no reply."""
        try:
            async with asyncio.timeout(TELL_SECS):
                async with self._endpoint.stream("POST", headers_of(self._agreed), data):
                    pass
        except (PeerClosed, TimeoutError) as error:
            ServerLog(log, self._line.name).warning("did not take a notification: %s", error)

    def _cancel(self, note: Notification, data: bytes) -> None:
        """Stop waiting for a request; in the stateless era that alone tells the server."""
        try:
            task = self._asked.get(msgspec.json.decode(note.params, type=_Cancelled).requestId)
        except UNREADABLE:
            return
        if task:
            task.cancel()
        if self._agreed:
            self._line.tell(self._tell(data), len(data))

    async def _listen(self, request: Request | None, data: bytes) -> None:
        """Keep the stream of the server's own messages open: by ``request``, or by GET."""

        def opened(replies: Replies) -> AbstractAsyncContextManager[httpx.Response]:
            if request:
                headers = headers_of(None) | mirrored(request, {})
                return self._endpoint.stream("POST", headers, data, quiet_secs=QUIET_SECS)
            headers = headers_of(self._agreed)
            if replies.last_id:
                headers["Last-Event-ID"] = replies.last_id
            return self._endpoint.stream("GET", headers, quiet_secs=QUIET_SECS)

        async def renew() -> None:
            if self._agreed and self._agreed.session_id:
                await self._renew(self._agreed)

        await listen(self._line, Source(opened, lambda: self._listed, renew, self._gone))

    async def _fall_back(self, refused: ErrorResponse) -> HttpChannel:
        try:
            return await self._older()
        except PeerClosed as error:
            first = self._endpoint.refused(refused)
            raise PeerClosed(
                f"it takes neither Streamable HTTP ({first}) nor HTTP+SSE ({error.reason})"
            ) from error


def _too_long(message: Overlong) -> RpcError:
    text = f"the reply is longer than {MAX_LINE_BYTES} bytes"
    return RpcError(RpcError.INTERNAL_ERROR, f"{text} ({message.size} and more)")
