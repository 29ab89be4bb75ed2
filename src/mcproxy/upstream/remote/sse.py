"""HTTP+SSE towards a server (MCP 2024-11-05, Transports, "HTTP with SSE").

One event stream carries everything that the server says; its first event names the URL to which
messages are posted. The stream is the connection: when it ends, the session has ended.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from mcproxy.errors import PeerClosed, RpcError
from mcproxy.upstream.remote.endpoint import Endpoint
from mcproxy.upstream.remote.headers import INITIALIZED
from mcproxy.upstream.remote.http_channel import Line
from mcproxy.upstream.remote.listen_stream import deliver
from mcproxy.upstream.remote.replies import Replies, is_page, is_stream
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.wire.message import Message, Request

ENDPOINT_SECS = 10.0  # for the first event
POST_SECS = 60.0  # for a message to be taken that nobody waits for

log = logging.getLogger(__name__)


class Sse:
    """A ``Channel`` over HTTP+SSE; see ``opened``."""

    def __init__(self, endpoint: Endpoint, line: Line) -> None:
        self._endpoint = endpoint
        self._line = line
        self._target: asyncio.Future[httpx.URL] = asyncio.get_running_loop().create_future()
        self._handshake = asyncio.Lock()  # requests wait until `initialized` was taken

    @classmethod
    async def opened(cls, endpoint: Endpoint, line: Line) -> "Sse":
        """Open the event stream. Raises PeerClosed where the server offers none."""
        channel = cls(endpoint, line)
        line.tasks.start(channel._listen())
        try:
            async with asyncio.timeout(ENDPOINT_SECS):
                await channel._target
        except TimeoutError as error:
            raise PeerClosed(
                f"its event stream did not begin with an `endpoint` event in {ENDPOINT_SECS:g} s"
            ) from error
        return channel

    def post(self, message: Message, data: bytes) -> None:
        """Send a message; replies go to the line's peer, and so do faults."""
        if isinstance(message, Request):
            self._line.tasks.start(self._send(message, data))
        else:
            self._line.tell(self._send(message, data), len(data))

    async def close(self) -> None:
        """Nothing is said: the end of the stream, with its task, is the end of the session."""

    async def _listen(self) -> None:
        """Pass on what the server says until the stream ends."""
        try:
            async with self._endpoint.stream("GET", {"Accept": "text/event-stream"}) as response:
                await self._check(response)
                if is_stream(response):
                    replies = Replies(self._line.name, self._found)
                    await deliver(self._line, replies, response)
                    self._ended("it closed the event stream")
                elif is_page(response):
                    self._ended((await self._endpoint.page(response)).reason)
                else:
                    self._ended("it answered GET with something else than an event stream")
        except (PeerClosed, RpcError) as error:
            self._ended(str(error))

    async def _check(self, response: httpx.Response) -> None:
        if not response.is_success:
            raise await self._endpoint.refusal(response)

    def _found(self, location: str) -> None:
        if not self._target.done():
            self._target.set_result(self._endpoint.inside(location))

    def _ended(self, reason: str) -> None:
        if self._target.done():
            self._line.lose(reason, None)
        else:
            self._target.set_exception(PeerClosed(reason))

    async def _send(self, message: Message, data: bytes) -> None:
        try:
            async with self._handshake:
                if message == INITIALIZED:
                    await self._deliver(message, data)
            if message != INITIALIZED:
                await self._deliver(message, data)
        except (PeerClosed, RpcError) as error:
            ServerLog(log, self._line.name).warning("did not take a message: %s", error)
            if isinstance(message, Request):
                self._line.peer.fail(message.id, error)

    async def _deliver(self, message: Message, data: bytes) -> None:
        """Post a message. Some servers take one only when they have dealt with it: as long as
        somebody waits for the reply, that has all the time it needs."""
        headers = {"Content-Type": "application/json"}
        url = self._target.result()
        try:
            async with asyncio.timeout(POST_SECS) as limit:
                with self._while_awaited(message, limit):
                    async with self._endpoint.stream("POST", headers, data, url=url) as response:
                        await self._check(response)
        except TimeoutError as error:
            raise PeerClosed(f"it did not take a message within {POST_SECS:g} s") from error

    @contextmanager
    def _while_awaited(self, message: Message, limit: asyncio.Timeout) -> Iterator[None]:
        """Put off the limit as long as the message is a request that is waited for."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal timer
            if isinstance(message, Request) and self._line.peer.awaits(message.id):
                limit.reschedule(loop.time() + POST_SECS)
                timer = loop.call_later(POST_SECS / 2, look)

        timer = loop.call_later(POST_SECS / 2, look)
        try:
            yield
        finally:
            timer.cancel()
