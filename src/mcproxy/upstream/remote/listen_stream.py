"""The stream on which a remote server says things of its own accord, kept open.

A GET in the handshake era, the POST of ``subscriptions/listen`` in the stateless one: how it is
opened is handed in. Such a stream breaks now and then, and what was said meanwhile is lost, so
after a break everything is listed anew. That it cannot be opened again shows that a server is dead.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import httpx
import msgspec

from mcproxy.cancellation import checkpoint
from mcproxy.errors import PeerClosed
from mcproxy.upstream.remote.http_channel import Line
from mcproxy.upstream.remote.refusal import Gone
from mcproxy.upstream.remote.replies import MAX_RETRY_SECS, Replies, is_stream
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.wire.message import MAX_LINE_BYTES, Notification, Overlong

QUIET_SECS = 300.0  # a stream that carries nothing, not even a heartbeat, may be a dead connection
STEADY_SECS = 30.0  # a stream that lasted so long is opened again without a growing delay

ALL_CHANGED = tuple(
    Notification(f"notifications/{kind}/list_changed") for kind in ("tools", "prompts", "resources")
)

log = logging.getLogger(__name__)

Opener: TypeAlias = Callable[[Replies], AbstractAsyncContextManager[httpx.Response]]


class Source(msgspec.Struct, frozen=True):
    """How the stream is opened, and what to do about a lost session and a server that is gone.

    ``listed`` tells whether there is something that may have changed before the stream was open.
    ``renew`` begins a session in place of a lost one, if there was one.
    """

    opened: Opener
    listed: Callable[[], bool]
    renew: Callable[[], Awaitable[None]]
    gone: Callable[[Gone], None]


async def listen(line: Line, source: Source) -> None:
    """Pass on what the server says, until it turns out not to offer such a stream."""
    replies = Replies(line.name)
    delay = replies.retry_secs
    was_open = False
    while True:
        checkpoint()
        began = _now()
        try:
            async with source.opened(replies) as response:
                if response.is_success and is_stream(response):
                    was_open = True
                    await _hear(line, source, replies, response)
                elif was_open and response.status_code == httpx.codes.NOT_FOUND:
                    await source.renew()
                    replies = Replies(line.name)
                elif not _is_busy(response):
                    return
        except Gone as error:
            source.gone(error)
        except PeerClosed as error:
            ServerLog(log, line.name).debug("the event stream broke: %s", error.reason)
        if _now() - began >= STEADY_SECS:
            delay = replies.retry_secs
        await asyncio.sleep(delay)
        delay = min(delay * 2, MAX_RETRY_SECS)


async def _hear(line: Line, source: Source, replies: Replies, response: httpx.Response) -> None:
    if source.listed() and not replies.last_id:
        for note in ALL_CHANGED:
            line.peer.receive(note)
    await deliver(line, replies, response)


async def deliver(line: Line, replies: Replies, response: httpx.Response) -> None:
    """Give everything on a stream to the peer."""
    async for message in replies.read(response):
        if isinstance(message, Overlong):
            line.peer.receive_overlong(message, MAX_LINE_BYTES)
        else:
            line.peer.receive(message)


def _is_busy(response: httpx.Response) -> bool:
    return response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error


def _now() -> float:
    return asyncio.get_running_loop().time()
