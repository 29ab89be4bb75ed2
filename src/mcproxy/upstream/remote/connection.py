"""A session with a remote server: the counterpart of ``stdio`` for a server that has a URL.

Ties a channel over HTTP to a ``Peer``. The modules that need the HTTP client are imported when the
first remote server is connected to: they cost time and memory that a gateway without one need not
spend.
"""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mcproxy.cancellation import finish
from mcproxy.config.model import ServerConfig
from mcproxy.errors import PeerClosed
from mcproxy.types import Cause
from mcproxy.upstream.child.tree import Table
from mcproxy.upstream.protocol.relay import LAG_SECS
from mcproxy.upstream.protocol.session import ServerSession
from mcproxy.upstream.remote.http_channel import HttpChannel, Line, running_tasks
from mcproxy.upstream.remote.tokens import LoginFile
from mcproxy.wire.message import decode
from mcproxy.wire.peer import Peer

if TYPE_CHECKING:
    import httpx

GOODBYE_SECS = 5.0  # more than any channel takes


class NoProcess:
    """What stands for the process of a server that runs elsewhere."""

    pid = None
    rss_mb = None
    last_words = ""
    cause: Cause | None = None

    def look(self, table: Table) -> float:
        """It holds no memory here."""
        return 0.0

    def kill(self, reason: str) -> None:
        """There is nothing to kill."""


@asynccontextmanager
async def connect(
    name: str, server: ServerConfig, login: Path, wake: Callable[[ServerSession], None]
) -> AsyncIterator[tuple[ServerSession, NoProcess]]:
    """Tie a session to the server at ``url``; on leaving, end it. ``login`` is the file that
    ``mcproxy login`` writes, if it did.

    The session is not open yet; for ``wake`` see there. Raises PeerClosed where the server cannot
    be reached over HTTP+SSE; over Streamable HTTP the first request shows it.
    """
    from mcproxy.upstream.remote import endpoint, http, sse  # noqa: PLC0415  see above

    one_stream = server.transport == "sse"
    session = ServerSession(name, wake, 0.0 if one_stream else LAG_SECS)
    channel: HttpChannel

    def post(data: bytes) -> None:
        channel.post(decode(data), data)

    async def room() -> None:
        """Each request has a connection of its own: there is nothing to wait for."""

    def lose(reason: str, cause: Cause | None) -> None:
        peer.close(reason, cause)
        session.on_closed()

    peer = Peer(
        post,
        room,
        on_message=session.on_message,
        on_abandon=session.on_abandon,
        on_late=session.on_late,
    )
    session.attach(peer)
    target = endpoint.RemoteTarget(name, server.url or "", server.headers, _auth(server, login))
    async with endpoint.opened(target) as remote, running_tasks(name) as tasks:
        line = Line(name, peer, tasks, lose, session.on_renewed)

        async def older() -> HttpChannel:
            nonlocal channel
            channel = await sse.Sse.opened(remote, line)
            return channel

        if server.transport == "sse":
            await older()
        else:
            channel = http.Streamable(remote, line, older)
        try:
            yield session, NoProcess()
        finally:
            peer.close("the connection was ended")
            await finish(channel.close(), GOODBYE_SECS)


def _auth(server: ServerConfig, login: Path) -> "httpx.Auth | None":
    """What signs requests where somebody logged in. Raises PeerClosed without the SDK."""
    url = server.url or ""
    file = LoginFile(login, url)
    configured = any(header.lower() == "authorization" for header in server.headers)
    if configured or not file.read().tokens:
        return None
    try:
        from mcproxy.upstream.remote.oauth import Bearer  # noqa: PLC0415  the SDK is an extra, and large
    except ImportError as error:
        text = f"its login needs another package: {sys.executable} -m pip install 'mcp>=2.3'"
        raise PeerClosed(text) from error
    return Bearer(url, file)
