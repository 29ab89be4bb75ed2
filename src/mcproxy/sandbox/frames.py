"""The frames between a worker and the gateway: their shapes, and reading them from a stranger.

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


class FrameReader:
    """Frames from a non-blocking socket, one after the other, at a pace that leaves room for what
    else the gateway does."""

    def __init__(self, sock: socket.socket, limit: int) -> None:
        self._sock, self._limit = sock, limit
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
        await self._have(_LENGTH.size)
        (length,) = _LENGTH.unpack_from(self._received)
        if length > self._limit:
            raise BadFrame(f"a frame of {length} bytes, the limit is {self._limit}")
        end = _LENGTH.size + length
        await self._have(end)
        with memoryview(self._received) as received:
            body = bytes(received[_LENGTH.size : end])
        del self._received[:end]
        return body

    async def _have(self, size: int) -> None:
        loop = asyncio.get_running_loop()
        while len(self._received) < size:
            try:
                chunk = await loop.sock_recv(self._sock, _CHUNK_BYTES)
            except OSError as error:
                raise WorkerGone from error
            if not chunk:
                raise WorkerGone
            self._received += chunk


class Writer:
    """Frames to a non-blocking socket; one at a time, so that a slow worker holds one back.

    ``excess``: why nothing is sent or received any more, where more was unread than ``bounds`` are.
    """

    def __init__(self, sock: socket.socket, bounds: UnreadLimits) -> None:
        self._sock = sock
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
                self._sock.shutdown(socket.SHUT_RDWR)  # who reads or writes now is told
            async with self._turn:
                await asyncio.get_running_loop().sock_sendall(self._sock, data)
        except OSError as error:
            raise WorkerGone from error
        finally:
            self._unread.remove(len(data))
