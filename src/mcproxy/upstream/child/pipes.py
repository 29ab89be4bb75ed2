"""The pipes of a child process, the messages through them, one a line, and the process's end: what
comes goes to a callback, and nobody waits.

What is no message (banners, log lines on stdout) is noted and passed over: one bad line never harms
the session.

By hand rather than by the event loop's ``subprocess_exec``: uvloop gives each child a second copy
of its own pipes, so that the end of its output is never seen while it lives, and does not say why a
process could not be started. Starting takes a millisecond and cannot be cancelled half-way.
"""

import asyncio
import contextlib
import logging
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from typing import IO

from mcproxy.errors import RpcError
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.wire.message import MAX_LINE_BYTES, LineSplitter, Overlong, decode, head, stand_in
from mcproxy.wire.peer import Outbox, Paced, Peer

CHUNK_BYTES = 1 << 16  # what a pipe holds; more costs a system call to allocate
_SHOWN_BYTES = 200

log = logging.getLogger(__name__)


class Incoming:
    """The reading end of a pipe. ``on_end`` is called once, at the end of what comes."""

    def __init__(
        self, file: IO[bytes], on_data: Callable[[bytes], None], on_end: Callable[[], None]
    ) -> None:
        self._file, self._on_data, self._on_end = file, on_data, on_end
        self._loop = asyncio.get_running_loop()
        os.set_blocking(file.fileno(), False)
        self._loop.add_reader(file.fileno(), self._read)

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._file.closed

    def pause(self) -> None:
        """Read nothing until ``resume``: what comes waits in the pipe."""
        if not self._file.closed:
            self._loop.remove_reader(self._file.fileno())

    def resume(self) -> None:
        """Read again."""
        if not self._file.closed:
            self._loop.add_reader(self._file.fileno(), self._read)

    def close(self) -> None:
        """Read no more."""
        if not self._file.closed:
            self._loop.remove_reader(self._file.fileno())
            self._file.close()

    def _read(self) -> None:
        try:
            data = os.read(self._file.fileno(), CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_data(data)
        else:
            self.close()
            self._on_end()


class Outgoing:
    """The writing end of a pipe; what the other end does not read yet is kept. ``on_broken`` is
    called once, where nobody can read it any more; ``on_full`` when something is kept, ``on_room``
    when all of it has gone."""

    def __init__(
        self,
        file: IO[bytes],
        on_broken: Callable[[], None],
        on_full: Callable[[], None],
        on_room: Callable[[], None],
    ) -> None:
        self._file, self._on_broken = file, on_broken
        self._on_full, self._on_room = on_full, on_room
        self._loop = asyncio.get_running_loop()
        self._kept: deque[memoryview] = deque()
        self._full = False
        os.set_blocking(file.fileno(), False)

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._file.closed

    def write(self, data: bytes) -> None:
        """Write, now or as soon as there is room; nothing once closed."""
        if self._file.closed:
            return
        self._kept.append(memoryview(data))
        if not self._full:
            self._push()

    def close(self) -> None:
        """Write no more; what is kept is lost."""
        if not self._file.closed:
            self._loop.remove_writer(self._file.fileno())
            self._file.close()
            self._kept.clear()

    def _push(self) -> None:
        try:
            while self._kept:
                rest = self._kept[0][os.write(self._file.fileno(), self._kept[0]) :]
                if rest:
                    self._kept[0] = rest
                else:
                    self._kept.popleft()
        except BlockingIOError:
            if not self._full:
                self._full = True
                self._loop.add_writer(self._file.fileno(), self._push)
                self._on_full()
        except OSError:
            self.close()
            self._on_broken()
        else:
            if self._full:
                self._full = False
                self._loop.remove_writer(self._file.fileno())
                self._on_room()


class LinePipes:
    """A child's input and output, line by line, once they are ``open``.

    ``on_excess`` is called, with the reason, when the child leaves too much unread; ``on_lost`` is
    called for a line that cannot be sent, and may raise. ``room`` waits while the child does not
    read what was written.
    """

    def __init__(self, on_excess: Callable[[str], None], on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        self._outbox = Outbox(self._write, on_excess)
        self.room = self._outbox.room
        self._lines = LineSplitter()
        self._heard: Paced[bytes | Overlong] | None = None
        self._in: Outgoing | None = None
        self._out: Incoming | None = None

    def open(
        self,
        stdin: IO[bytes],
        stdout: IO[bytes],
        on_line: Callable[[bytes | Overlong], None],
        on_end: Callable[[], None],
    ) -> None:
        """Read and write from now on; ``on_end`` is called where either has an end."""
        self._in = Outgoing(stdin, on_end, self._outbox.pause, self._outbox.resume)
        self._out = Incoming(stdout, self._read, on_end)
        self._heard = Paced(on_line, self._out.pause, self._out.resume)

    @property
    def silent(self) -> bool:
        """Whether nothing more will come."""
        return self._out is None or self._out.closed

    def post(self, data: bytes) -> None:
        """Write a line without waiting for the child to read."""
        if self._in and not self._in.closed:
            self._outbox.post(data + b"\n")
        else:
            self._on_lost()

    def end_input(self) -> None:
        """Write no more; what is kept is lost."""
        if self._in:
            self._in.close()

    def end(self, then: Callable[[], None]) -> None:
        """Call ``then`` once all that has arrived is taken."""
        if self._heard:
            self._heard.close(then)

    def close(self) -> None:
        """Let go of the pipes; whoever waits to write waits no more."""
        self._outbox.close()
        self.end_input()
        if self._out:
            self._out.close()

    def _read(self, data: bytes) -> None:
        if self._heard:
            self._heard.feed(self._lines.feed(data))

    def _write(self, data: bytes) -> None:
        if self._in:
            self._in.write(data)


def receive_line(name: str, peer: Peer, line: bytes | Overlong) -> None:
    """Hand what the server of this name said to its peer."""
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


def on_end(process: subprocess.Popen[bytes], call: Callable[[], None]) -> None:
    """Have ``call`` called in the running loop once the process has ended and was reaped."""
    loop = asyncio.get_running_loop()
    try:
        pidfd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or no descriptor is left
        _wait_in_thread(process, loop, call)
        return

    def ended() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        process.wait()  # it has ended: this only reaps it
        call()

    loop.add_reader(pidfd, ended)


def _wait_in_thread(
    process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, call: Callable[[], None]
) -> None:
    def wait() -> None:
        process.wait()
        with contextlib.suppress(RuntimeError):  # the loop has ended before
            loop.call_soon_threadsafe(call)

    threading.Thread(target=wait, name=f"process {process.pid}", daemon=True).start()
