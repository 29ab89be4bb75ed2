"""The stream on which a remote server says things of its own accord, kept open.

A GET in the handshake era, the POST of ``subscriptions/listen`` in the stateless one: how it is
opened is handed in. Such a stream breaks now and then, and what was said meanwhile is lost, so
after a break everything is listed anew. That it cannot be opened again is how a dead server is noticed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

import httpx

from mcproxy.errors import PeerClosed
from mcproxy.upstream.endpoint import read_refusal
from mcproxy.upstream.line import Line
from mcproxy.upstream.refusal import Gone, session_lost
from mcproxy.upstream.replies import MAX_RETRY_SECS, Replies, is_stream
from mcproxy.wire.lines import MAX_LINE_BYTES, Overlong
from mcproxy.wire.message import Notification

QUIET_SECS = 300.0  # a stream that carries nothing, not even a heartbeat, may be a dead connection
STEADY_SECS = 30.0  # a stream that lasted so long is opened again without a growing delay

ALL_CHANGED = tuple(
    Notification(f"notifications/{kind}/list_changed") for kind in ("tools", "prompts", "resources")
)

Opener: TypeAlias = Callable[[Replies], AbstractAsyncContextManager[httpx.Response]]


@dataclass(frozen=True, slots=True)
class Source:
    """How the stream is opened, and what to do about a lost session and a server that is gone.

    ``renew`` begins a session in place of a lost one, and tells whether there was one.
    """

    opened: Opener
    renew: Callable[[], Awaitable[bool]]
    gone: Callable[[Gone], None]


async def listen(line: Line, source: Source) -> None:
    """Pass on what the server says, until it turns out not to offer such a stream."""
    replies = Replies(line.name)
    delay = replies.retry_secs
    opened_before = False
    while True:
        began = _now()
        try:
            async with source.opened(replies) as response:
                if not (response.is_success and is_stream(response)):
                    if not await _may_come(response, source):
                        return
                    replies = Replies(line.name)
                else:
                    if opened_before and not replies.last_id:
                        hear_all_changed(line)
                    opened_before = True
                    await deliver(line, replies, response)
        except Gone as error:
            source.gone(error)
        except PeerClosed:
            pass  # a break like any other; it is opened again
        steady = _now() - began >= STEADY_SECS
        delay = replies.retry_secs if steady else min(delay * 2, MAX_RETRY_SECS)
        await asyncio.sleep(delay)


def hear_all_changed(line: Line) -> None:
    """Have everything listed anew: what changed meanwhile was not heard."""
    for note in ALL_CHANGED:
        line.hear(note)


async def deliver(line: Line, replies: Replies, response: httpx.Response) -> None:
    """Give everything on a stream to the peer."""
    async for message in replies.read(response):
        if isinstance(message, Overlong):
            line.peer.receive_overlong(message, MAX_LINE_BYTES)
        else:
            line.peer.receive(message)


async def _may_come(response: httpx.Response, source: Source) -> bool:
    """Whether another try may succeed after a refusal; begins a new session where it takes one."""
    if session_lost(response.status_code, await read_refusal(response)):
        return await source.renew()
    return response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error


def _now() -> float:
    return asyncio.get_running_loop().time()
