"""The messages in an HTTP response, be it a JSON body or an event stream.

Reads; does not send and does not decide. Keeps the place in a stream, so that whoever asked can
resume it (MCP 2025-11-25, Transports, "Resumability and Redelivery").
"""

import logging
from collections.abc import AsyncIterator, Callable

import httpx

from mcproxy.errors import RpcError
from mcproxy.upstream.remote.endpoint import read_body
from mcproxy.upstream.remote.events import EventParser, ServerSentEvent
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.wire.lines import MAX_LINE_BYTES, Overlong, head
from mcproxy.wire.message import Message, decode, decode_body, stand_in
from mcproxy.wire.pace import Pace

RETRY_SECS = 1.0  # before a broken stream is opened again, where the server names no time
MAX_RETRY_SECS = 60.0
_SHOWN_BYTES = 200

log = logging.getLogger(__name__)


class Replies:
    """The messages of one stream, over as many responses as it takes.

    ``on_endpoint`` is given the data of ``endpoint`` events, which HTTP+SSE begins with.
    """

    def __init__(self, name: str, on_endpoint: Callable[[str], None] | None = None) -> None:
        self.last_id = ""
        self.retry_secs = RETRY_SECS
        self._name = name
        self._on_endpoint = on_endpoint

    async def read(self, response: httpx.Response) -> AsyncIterator[Message | Overlong]:
        """The messages of a successful response. What is no message is noted and passed over."""
        if not is_stream(response):
            for message in await self._in_body(response):
                yield message
            return
        parser, pace = EventParser(), Pace()
        async for chunk in response.aiter_bytes():
            for event in parser.feed(chunk):
                found = event if isinstance(event, Overlong) else self._in_event(event)
                if found is not None:
                    yield found
                await pace.keep(0)
            await pace.keep(len(chunk))

    async def _in_body(self, response: httpx.Response) -> list[Message | Overlong]:
        body = await read_body(response)
        if body is None:
            return [Overlong(MAX_LINE_BYTES + 1, b"")]
        if not body.strip():
            return []
        try:
            messages = decode_body(body)
        except RpcError as error:
            ServerLog(log, self._name).warning(
                "no message in the body: %r", head(body, _SHOWN_BYTES)
            )
            failure = stand_in(body, error)
            return [failure] if failure else []
        batch = messages if isinstance(messages, list) else [messages]
        return [message for message in batch if not isinstance(message, RpcError)]

    def _in_event(self, event: ServerSentEvent) -> Message | None:
        if event.id is not None:
            self.last_id = event.id
        if event.retry_ms is not None:
            self.retry_secs = min(event.retry_ms / 1000, MAX_RETRY_SECS)
        if event.type == "endpoint" and self._on_endpoint:
            self._on_endpoint(event.data.decode("utf-8", "replace"))
        if not event.data or event.type != "message":
            return None
        try:
            return decode(event.data)
        except RpcError as error:
            ServerLog(log, self._name).warning(
                "no message in an event: %r", head(event.data, _SHOWN_BYTES)
            )
            return stand_in(event.data, error)


def is_stream(response: httpx.Response) -> bool:
    """Whether the response is an event stream."""
    return _media_type(response) == "text/event-stream"


def is_page(response: httpx.Response) -> bool:
    """Whether the response is a page for people."""
    return _media_type(response) in ("text/html", "application/xhtml+xml")


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
