"""A session with an HTTP API: the counterpart of ``stdio`` and ``remote`` for a server that is an
OpenAPI description.

The server is in this process, so a request of the session is a task, and its reply goes straight to
the peer. What needs the HTTP client is imported when the first API is connected to.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from mcproxy import mcp
from mcproxy.config.model import ServerConfig
from mcproxy.errors import PeerClosed, RpcError
from mcproxy.types import Json
from mcproxy.upstream.protocol.session import ServerSession
from mcproxy.upstream.remote.connection import NoProcess
from mcproxy.upstream.remote.http_channel import ConnectionTasks, running_tasks
from mcproxy.wire.message import Failure, Notification, Request, RequestId, Response, decode
from mcproxy.wire.peer import Peer

if TYPE_CHECKING:
    from mcproxy.upstream.openapi.api import ApiServer
    from mcproxy.upstream.remote.endpoint import Endpoint


@asynccontextmanager
async def connect(
    name: str, server: ServerConfig, wake: Callable[[ServerSession], None]
) -> AsyncIterator[tuple[ServerSession, NoProcess]]:
    """Tie a session to the API; on leaving, end it.

    The session is not open yet; for ``wake`` see there. Raises PeerClosed where the description
    cannot be read or used.
    """
    from mcproxy.upstream.openapi.api import ApiServer  # noqa: PLC0415  see above
    from mcproxy.upstream.remote.endpoint import opened  # noqa: PLC0415

    session = ServerSession(name, wake)
    served = ApiServer(name, server)
    target = await served.load()
    async with opened(target) as remote, running_tasks(name) as tasks:
        channel = _Channel(served, remote, tasks)
        peer = Peer(
            channel.post,
            _room,
            on_message=session.on_message,
            on_abandon=session.on_abandon,
            on_late=session.on_late,
        )
        channel.peer = peer
        session.attach(peer)
        tasks.start(_follow(served, peer, session))
        try:
            yield session, NoProcess()
        finally:
            peer.close("the connection was ended")


async def _room() -> None:
    """Each request is a task of its own: there is nothing to wait for."""


async def _follow(served: "ApiServer", peer: Peer, session: ServerSession) -> None:
    """Tell of new descriptions, as a server tells of new tools."""
    try:
        while True:
            await served.changed()
            peer.receive(Notification(mcp.TOOLS_CHANGED))
    except PeerClosed as error:
        peer.close(error.reason, error.cause)
        session.on_closed()


class _Channel:
    """Answers what the peer posts."""

    peer: Peer

    def __init__(self, api: "ApiServer", remote: "Endpoint", tasks: ConnectionTasks) -> None:
        self._api, self._remote, self._tasks = api, remote, tasks
        self._asked: dict[RequestId, asyncio.Task[None]] = {}

    def post(self, data: bytes) -> None:
        """Take a message. The stream of changes stays open; there is no reply to it."""
        message = decode(data)
        if isinstance(message, Request) and message.method != mcp.LISTEN:
            task = self._tasks.start(self._answer(message))
            self._asked[message.id] = task
            task.add_done_callback(lambda _: self._asked.pop(message.id, None))
        elif isinstance(message, Notification) and message.method == mcp.CANCELLED:
            self._cancel(message.params)

    async def _answer(self, request: Request) -> None:
        try:
            result = await self._api.answer(self._remote, request.method, request.params)
            self.peer.receive(Response(request.id, result))
        except RpcError as error:
            self.peer.receive(Failure(request.id, error))
        except PeerClosed as error:
            self.peer.fail(request.id, error)

    def _cancel(self, params: bytes) -> None:
        given_up: Json = msgspec.json.decode(params)
        id_ = given_up.get("requestId") if isinstance(given_up, dict) else None
        task = self._asked.get(id_) if isinstance(id_, int | str) else None
        if task:
            task.cancel()
