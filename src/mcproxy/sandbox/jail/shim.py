"""Sockets for workers that have no network of their own: each connection is handed in by the
gateway.

A worker without a network namespace may not make TCP sockets at all. ``socket.socket`` is replaced
by a class that looks like one and, connected to the proxy, asks the gateway for a stream over the
worker's dial line. This is a convenience, no wall: who goes around it meets the system call filter.

The stream is AF_UNIX for a reason: a TCP socket that was passed in could be connected anew to
anywhere.
"""

import _socket
import errno
import os
import socket

Address = tuple[str, int]

_OWN_ADDRESS = ("127.0.0.1", 0)  # what libraries are told
_TYPE_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def install(dial_fd: int, proxy: Address) -> None:
    """Replace ``socket.socket`` in this process and in those forked from it."""

    class Dialled(DialledSocket):
        DIAL_FD, PROXY = dial_fd, proxy

    Dialled.__name__ = Dialled.__qualname__ = "socket"
    socket.socket = socket.SocketType = Dialled  # type: ignore[misc,assignment]


class DialledSocket(socket.socket):
    """A TCP socket in looks; other kinds are what they are, and refused by the kernel.

    Until it is connected a socket of a pair takes its place.
    """

    DIAL_FD: int
    PROXY: Address

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        is_stream = type == -1 or type & ~_TYPE_FLAGS == socket.SOCK_STREAM
        self._imitates = fileno is None and family in (-1, socket.AF_INET) and is_stream
        if self._imitates:
            placeholder, other = _socket.socketpair()
            other.close()
            family, type, proto = socket.AF_UNIX, socket.SOCK_STREAM, 0
            fileno = placeholder.detach()
        super().__init__(family, type, proto, fileno)

    @property
    def family(self) -> int:  # type: ignore[override]
        return socket.AF_INET if self._imitates else super().family

    def connect(self, address: Address) -> None:  # type: ignore[override]
        """Raises PermissionError for every address but the proxy's."""
        if not self._imitates:
            super().connect(address)
            return
        if tuple(address[:2]) != self.PROXY:
            raise PermissionError(
                errno.EACCES,
                "no direct connections in the sandbox; use the proxy of HTTP_PROXY, HTTPS_PROXY",
            )
        timeout, stream = self.gettimeout(), self._dial()
        os.dup2(stream, self.fileno(), inheritable=False)
        os.close(stream)
        self.settimeout(timeout)  # it belonged to what dup2 closed

    def connect_ex(self, address: Address) -> int:  # type: ignore[override]
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def getpeername(self) -> object:
        return self.PROXY if self._imitates else super().getpeername()

    def getsockname(self) -> object:
        return _OWN_ADDRESS if self._imitates else super().getsockname()

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:  # type: ignore[override]
        if not (self._imitates and level == socket.IPPROTO_TCP):
            super().setsockopt(level, option, value)

    def _dial(self) -> int:
        """One byte asks, one descriptor answers; whichever thread gets which is all the same."""
        with socket.socket(fileno=os.dup(self.DIAL_FD)) as line:
            line.sendall(b"?")
            _, fds, _, _ = socket.recv_fds(line, 1, 1)
        if not fds:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "the proxy takes no more connections")
        return fds[0]
