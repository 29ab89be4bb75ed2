"""The line to a worker and the frames on it: their shapes, and reading them from a stranger.

A frame is a 4-byte little-endian length and that many bytes of JSON. The worker is not trusted: a
length is judged before anything is read, types and fields are decoded strictly (no NaN, no lone
surrogates), and values may not nest deeper than the rest of the program can walk.
"""

import asyncio
import socket
import struct
from collections.abc import Mapping

import msgspec

from mcproxy.sandbox.jail.script.preview import is_block
from mcproxy.types import Job, Json, JsonObject, Limits, Wrapping
from mcproxy.wire.message import MAX_DEPTH, UNREADABLE, is_deep
from mcproxy.wire.peer import Pace, Unread, UnreadLimits

_LENGTH = struct.Struct("<I")
_CHUNK_BYTES = 1 << 16  # of more, the memory for each recv is mapped anew, which costs 30 µs
_OVERHEAD_BYTES = 1 << 18  # names, notes, a traceback, or a batch of output beside the limits


class WorkerGone(Exception):  # a state, as its name says
    """The worker closed its end, or died."""


class BadFrame(Exception):
    """Bytes that no worker of ours sends."""


class CallFrame(msgspec.Struct, frozen=True, tag_field="t", tag="call"):
    """The script calls a tool in ``line``; ``args`` is a JSON object, still undecoded.

    ``text`` names one more argument, where a frame of its own follows: it is text that stays as it
    is, so that a large value of which only the script knows more is read by nobody else.
    """

    id: int
    server: str
    tool: str
    args: msgspec.Raw
    line: int | None = None
    text: str = ""


class Out(msgspec.Struct, frozen=True, tag_field="t", tag="out"):
    """A piece of what the script printed."""

    s: str


class Where(msgspec.Struct, frozen=True, tag_field="t", tag="where"):
    """Where the script is, shortly before its time is up, and what its variables are."""

    line: int | None
    values: str = ""


class Result(msgspec.Struct, frozen=True, tag_field="t", tag="result"):
    """The script has ended well; ``value`` is still undecoded, and so are the content ``blocks``
    that stood in it. ``whole``: it is a preview, and the JSON text of the whole value follows as a
    frame of its own."""

    value: msgspec.Raw
    notes: list[str] = []
    blocks: msgspec.Raw = msgspec.Raw(b"[]")
    whole: bool = False


class Error(msgspec.Struct, frozen=True, tag_field="t", tag="error"):
    """The script has failed."""

    type: str
    message: str
    line: int | None = None
    traceback: str | None = None
    hint: str | None = None
    retryable: bool = False
    notes: list[str] = []


Frame = CallFrame | Out | Where | Result | Error
_decoder: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)


def job(job: Job) -> bytes:
    """The frame that gives the worker its job; the manifest follows as a frame of its own."""
    limits = job.limits
    return msgspec.json.encode(
        {
            "t": "job",
            "source": job.source,
            "memory_mb": limits.memory_mb,
            "argument_bytes": limits.argument_bytes,
            "result_bytes": limits.result_bytes,
            "stdout_bytes": limits.stdout_bytes,
            "reading": job.reading,
            "timeout_secs": limits.timeout_secs,
        }
    )


_KINDS: Mapping[Wrapping, bytes] = {
    "never": b"result",
    "perhaps": b"perhaps_wrapped",
    "always": b"wrapped",
}


def reply(number: int, result: bytes, wrapping: Wrapping = "never") -> bytes:
    """The answer to a call: a ``CallToolResult`` as it came, and whether its value is wrapped."""
    return b'{"t":"reply","id":%d,"%b":%b}' % (number, _KINDS[wrapping], result)


def refusal(number: int, error: JsonObject) -> bytes:
    """The answer to a call that failed."""
    return b'{"t":"reply","id":%d,"error":%b}' % (number, msgspec.json.encode(error))


def value(raw: msgspec.Raw) -> Json:
    """Decode a value. Raises ``BadFrame`` for what is no JSON, or nests too deeply."""
    try:
        decoded: Json = msgspec.json.decode(raw)
    except UNREADABLE as error:
        raise BadFrame(str(error)) from error
    if is_deep(bytes(raw), decoded):
        raise BadFrame(f"a value nested deeper than {MAX_DEPTH}")
    return decoded


def blocks(raw: msgspec.Raw) -> tuple[JsonObject, ...]:
    """Decode content blocks. Raises ``BadFrame`` for anything else."""
    decoded = value(raw)
    items = decoded if isinstance(decoded, list) else [None]
    found = tuple(item for item in items if isinstance(item, dict) and is_block(item))
    if len(found) < len(items):
        raise BadFrame("content blocks that are none")
    return found


def largest(limits: Limits) -> int:
    """The size in bytes that no honest frame exceeds."""
    return max(limits.argument_bytes, limits.result_bytes) + _OVERHEAD_BYTES


class WorkerLine:
    """Our end of a connected stream socket, which is the line's from now on. One waits for bytes at
    a time.

    What arrives is watched from the first wait on, until the line is closed or something comes for
    which nobody waits. The event loop's own ``sock_recv`` begins and ends that with each wait: four
    system calls and two rounds of the loop.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock, self._loop = sock, asyncio.get_running_loop()
        self._wanted: asyncio.Future[bytes] | None = None
        self._most_bytes = 0
        self._is_watched = False

    async def receive(self, most_bytes: int) -> bytes:
        """Wait for some bytes; none at the end. Raises OSError."""
        self._wanted, self._most_bytes = self._loop.create_future(), most_bytes
        if not self._is_watched:
            self._is_watched = True
            self._loop.add_reader(self._sock, self._on_readable)
        return await self._wanted

    async def send(self, data: bytes) -> None:
        """Send all of it; waits while it is not read. Raises OSError."""
        await self._loop.sock_sendall(self._sock, data)

    def shut_down(self) -> None:
        """Whoever sends or receives now is told that it is over. Raises OSError."""
        self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the socket. Safe to repeat."""
        self._watch_no_more()
        self._sock.close()

    def _watch_no_more(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._loop.remove_reader(self._sock)

    def _on_readable(self) -> None:
        if self._wanted is None or self._wanted.done():
            self._watch_no_more()  # it waits in the socket, and its sender with it
            return
        try:
            self._wanted.set_result(self._sock.recv(self._most_bytes))
        except BlockingIOError:
            return
        except OSError as error:
            self._wanted.set_exception(error)


class FrameReader:
    """Frames from a line, one after the other, at a pace that leaves room for what else the gateway
    does."""

    def __init__(self, line: WorkerLine, limit: int) -> None:
        self._line, self._limit = line, limit
        self._received = bytearray()
        self._pace = Pace()

    async def next(self) -> Frame:
        """Wait for the next frame (the caller bounds the time). Raises ``WorkerGone``,
        ``BadFrame``."""
        body = await self._body()
        await self._pace.keep(len(body))
        try:
            return _decoder.decode(body)
        except UNREADABLE as error:
            raise BadFrame(str(error)) from error

    async def text(self) -> bytes:
        """Wait for a frame that stays as it is. Raises as ``next`` does."""
        body = await self._body()
        await self._pace.keep(len(body))
        return body

    async def _body(self) -> bytes:
        received = self._received
        while len(received) < _LENGTH.size:
            await self._receive()
        (length,) = _LENGTH.unpack_from(received)
        if length > self._limit:
            raise BadFrame(f"a frame of {length} bytes, the limit is {self._limit}")
        end = _LENGTH.size + length
        while len(received) < end:
            await self._receive()
        with memoryview(received) as view:
            body = bytes(view[_LENGTH.size : end])
        del received[:end]
        return body

    async def _receive(self) -> None:
        try:
            chunk = await self._line.receive(_CHUNK_BYTES)
        except OSError as error:
            raise WorkerGone from error
        if not chunk:
            raise WorkerGone
        self._received += chunk


class Writer:
    """Frames to a line; one at a time, so that a slow worker holds one back.

    ``excess``: why nothing is sent or received any more, where more was unread than ``bounds`` are.
    """

    def __init__(self, line: WorkerLine, bounds: UnreadLimits) -> None:
        self._line = line
        self._turn = asyncio.Lock()
        self._unread = Unread(bounds)
        self.excess = ""

    async def send(self, *bodies: bytes) -> None:
        """Send whole frames; waits while the worker does not read. Raises ``WorkerGone``."""
        data = b"".join(_LENGTH.pack(len(body)) + body for body in bodies)
        self._unread.add(len(data))
        try:
            if excess := self._unread.excess:
                self.excess = self.excess or excess
                self._line.shut_down()  # who reads or writes now is told
            async with self._turn:
                await self._line.send(data)
        except OSError as error:
            raise WorkerGone from error
        finally:
            self._unread.remove(len(data))
