"""The answer to one request over HTTP: a JSON body where the reply is all there is to say, an event
stream where more comes before it, or where it takes long.

MCP, basic/transports: the server chooses per request. JSON is faster and simpler for everybody, so
the choice is put off until something must be sent.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import Receive

from mcproxy.frontends.connection import while_connected
from mcproxy.frontends.conversation import RETRY_SECS
from mcproxy.frontends.events import HEARTBEAT_SECS, EventStream
from mcproxy.frontends.replies import accepted, raw, retry_after, unavailable
from mcproxy.frontends.stream import Reader, Stream
from mcproxy.wire.message import Failure, encode
from mcproxy.wire.message import Response as Reply


class Answer:
    """One request's reply, and what is said before it; the first reader is there from the start."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.reader = stream.attach()
        self.error_code: int | None = None
        self.retry_after: int | None = None

    def reply(self, reply: Reply | Failure | None) -> None:
        """Say the last word; None where the client has cancelled the request."""
        if isinstance(reply, Failure):
            self.error_code = reply.error.code
        self.retry_after = reply.retry_after if reply else None
        self.stream.end(encode(reply) if reply else None)


@dataclass(frozen=True, slots=True)
class ResponseOptions:
    """How an answer may be sent: whether the client reads event streams, and wants one at once;
    the HTTP status for JSON-RPC error codes; ``opening`` and ``resumable`` as in ``EventStream``.
    """

    streams: bool
    at_once: bool = False
    statuses: Mapping[int, int] = field(default_factory=dict)
    opening: bytes = b""
    resumable: bool = False
    quiet_secs: float = HEARTBEAT_SECS


async def deliver(
    answer: Answer, terms: ResponseOptions, receive: Receive, on_close: Callable[[], None]
) -> Response:
    """The HTTP response that brings the answer.

    ``on_close`` is called when an event stream was closed, whether or not all was read. Raises
    ClientDisconnect where the client left before anything was sent.
    """
    if not terms.at_once:
        quiet_secs = terms.quiet_secs if terms.streams else None
        await while_connected(receive, _first_word(answer.reader, quiet_secs))
        if answer.reader.lost.is_set():
            return unavailable("too much waits for clients that read slowly", RETRY_SECS)
        said = answer.stream.after(0)
        if answer.stream.ended and (len(said) <= 1 or not terms.streams):
            answer.reader.close()
            status = terms.statuses.get(answer.error_code or 0, 200)
            headers = retry_after(answer.retry_after)
            return raw(said[-1].message, status, headers) if said else accepted()
    return EventStream(
        answer.reader,
        on_close,
        opening=terms.opening,
        resumable=terms.resumable,
        heartbeat_secs=terms.quiet_secs,
    )


async def _first_word(reader: Reader, secs: float | None) -> None:
    """Wait until there is something to send, or it was quiet for so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(secs):
            await reader.wait()
