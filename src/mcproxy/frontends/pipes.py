"""Standard input and output as a stream of chunks and a function that writes a line.

Pipes, sockets and terminals go through the event loop. A regular file (``mcproxy --stdio < calls``)
cannot, and needs not: it never blocks.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import IO, Literal

from mcproxy.cancellation import begin

CHUNK_BYTES = 1 << 16
CONNECT_SECS = 5.0  # the event loop has to come round once or twice

Write = Callable[[bytes], Awaitable[None]]


@contextlib.asynccontextmanager
async def connected(read: int, write: int) -> AsyncIterator[tuple[AsyncIterator[bytes], Write]]:
    """What arrives on one file descriptor, and a function that writes to the other. Closes both,
    also where it is cancelled before they are in use."""
    with contextlib.ExitStack() as unused:
        unused.callback(os.close, write)
        async with reading(read) as chunks:
            unused.pop_all()
            async with writing(write) as send:
                yield chunks, send


@contextlib.asynccontextmanager
async def reading(fd: int) -> AsyncIterator[AsyncIterator[bytes]]:
    """The chunks that arrive on a file descriptor, until its end. Closes it."""
    if not _may_block(fd):
        with os.fdopen(fd, "rb") as file:
            yield _once(file.read())
        return
    reader = asyncio.StreamReader()
    connecting = asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), _end(fd, "rb")
    )
    transport, _ = await begin(connecting, _close, CONNECT_SECS)
    try:
        yield _chunks(reader)
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def writing(fd: int) -> AsyncIterator[Write]:
    """A function that writes a line to a file descriptor, and waits while nobody reads it.

    It raises OSError where nothing can be written (any more).
    """
    if not _may_block(fd):

        async def write_file(line: bytes) -> None:
            os.write(fd, line + b"\n")

        try:
            yield write_file
        finally:
            os.close(fd)
        return
    loop = asyncio.get_running_loop()
    connecting = loop.connect_write_pipe(asyncio.streams.FlowControlMixin, _end(fd, "wb"))
    transport, protocol = await begin(connecting, _close, CONNECT_SECS)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)

    async def write(line: bytes) -> None:
        if transport.is_closing():
            raise BrokenPipeError("nobody reads it")
        writer.write(line + b"\n")
        await writer.drain()

    try:
        yield write
    finally:
        transport.close()


def _end(fd: int, mode: Literal["rb", "wb"]) -> IO[bytes]:
    """The descriptor as what the event loop takes. uvloop closes it by itself, then the file: were
    that to close it too, it would close what another thread had opened under that number between.
    """
    by_file = isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop)
    return os.fdopen(fd, mode, buffering=0, closefd=by_file)


async def _close(connected: tuple[asyncio.BaseTransport, object]) -> None:
    connected[0].close()


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while chunk := await reader.read(CHUNK_BYTES):
        yield chunk


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _may_block(fd: int) -> bool:
    """Whether it is a pipe, a socket or a terminal; files and devices like /dev/null are not."""
    mode = os.fstat(fd).st_mode
    return not stat.S_ISREG(mode) and (not stat.S_ISCHR(mode) or os.isatty(fd))
