"""The stdio transport towards a server: one child process, one message a line.

Ties a ``Child`` to a ``Peer``. What is no message (banners, log lines on stdout) is noted and
passed over: one bad line never harms the session.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from mcproxy.cancellation import finish
from mcproxy.errors import RpcError
from mcproxy.upstream.child.process import STOP_SECS, Child, Command
from mcproxy.upstream.protocol.session import ServerSession
from mcproxy.upstream.serverlog import ServerLog, log_stderr
from mcproxy.wire.lines import MAX_LINE_BYTES, Overlong, head
from mcproxy.wire.message import decode, stand_in
from mcproxy.wire.peer import Peer

log = logging.getLogger(__name__)

_SHOWN_BYTES = 200


@asynccontextmanager
async def connect(
    name: str,
    command: Command,
    prepare: Callable[[], Awaitable[None]],
    wake: Callable[[ServerSession], None],
) -> AsyncIterator[tuple[ServerSession, Child]]:
    """Start the server and tie a session to it; on leaving, the process group is ended.

    ``prepare`` is awaited before, and there is no start where it raises. The session is not open
    yet; for ``wake`` see there. Raises OSError when the command cannot be started.
    """
    await prepare()
    session = ServerSession(name, wake)
    peer: Peer

    def on_line(line: bytes | Overlong) -> None:
        if isinstance(line, Overlong):
            ServerLog(log, name).warning("skipped a line of %d bytes on stdout", line.size)
            peer.receive_overlong(line, MAX_LINE_BYTES)
            return
        try:
            message = decode(line)
        except RpcError as error:
            ServerLog(log, name).warning("no message on stdout: %r", head(line, _SHOWN_BYTES))
            if failure := stand_in(line, error):
                peer.receive(failure)
            return
        try:
            peer.receive(message)
        except Exception:  # the other lines of the same chunk are still to be read
            log.exception("%s: a fault of the gateway", name, extra={"server": name})

    def on_exit() -> None:
        peer.close(child.obituary, child.cause)
        session.on_closed()

    child = Child(on_line, on_exit, partial(log_stderr, name))
    peer = Peer(
        child.post,
        child.room,
        on_message=session.on_message,
        on_abandon=session.on_abandon,
        on_late=session.on_late,
    )
    session.attach(peer)
    try:
        child.start(command)
        yield session, child
    finally:
        try:
            await finish(child.stop(), STOP_SECS)
        finally:
            peer.close(f"the server was stopped; {child.obituary}")
