"""Frames over the worker's one socket: a 4-byte little-endian length, then that many bytes of JSON.

Knows bytes, locks and end-of-file; it does not know what a frame means. Nothing it sends is
trusted by the gateway, so it checks nothing: sizes and shapes are judged at the other end.

The socket stays in blocking mode for ``send`` and ``read``; ``poll`` asks the kernel not to wait,
so that an event loop and a plain blocking call can use the same socket. It is one of the C module:
the class around it would be a hundred pages more that each worker writes to.
"""

import _socket
import os
import struct
import threading
from collections.abc import Iterator

_LENGTH = struct.Struct("<I")
_CHUNK_BYTES = 1 << 16  # most replies fit; of more, the memory of each recv is mapped anew


class Channel:
    """The worker's end of the socket to the gateway. Sending is safe from any thread."""

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock
        self._sock.setblocking(True)
        self._received = bytearray()
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """The descriptor that an event loop watches."""
        return self._sock.fileno()

    def send(self, *bodies: bytes) -> None:
        """Send frames, with none of another thread between them; waits while the gateway is slow
        to read."""
        data = b"".join(_LENGTH.pack(len(body)) + body for body in bodies)
        with self._sending:
            self._sock.sendall(data)

    def try_send(self, body: bytes) -> bool:
        """Send one frame unless another is being sent, by whatever this has interrupted perhaps."""
        if not self._sending.acquire(blocking=False):
            return False
        try:
            self._sock.sendall(_LENGTH.pack(len(body)) + body)
        finally:
            self._sending.release()
        return True

    def read(self) -> list[bytes]:
        """Wait for at least one frame and give all that have arrived."""
        while not (frames := list(self._take())):
            self._receive(0)
        return frames

    def read_one(self) -> bytes:
        """Wait for exactly one frame; later ones stay for the next reader."""
        while (frame := next(self._take(), None)) is None:
            self._receive(0)
        return frame

    def poll(self) -> list[bytes]:
        """The frames that have arrived, without waiting."""
        try:
            self._receive(_socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        return list(self._take())

    def _receive(self, flags: int) -> None:
        chunk = self._sock.recv(_CHUNK_BYTES, flags)
        if not chunk:
            os._exit(0)  # the gateway is gone: there is nobody left to work for or to tell
        self._received += chunk

    def _take(self) -> Iterator[bytes]:
        received = self._received
        while len(received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(received)[0]
            if len(received) < end:
                return
            frame = bytes(received[_LENGTH.size : end])
            del received[:end]
            yield frame
