"""Cutting a byte stream into lines, the framing of MCP's stdio transport and of its event streams.

Pure: chunks in, lines out. A line over the limit is not kept, but its first and last bytes are, so
that whoever waits for the message can be told which one was lost.
"""

import string
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LINE_BYTES = 16 << 20
EDGE_BYTES = 1024  # enough to find "id" at either end of a message


@dataclass(frozen=True, slots=True)
class Overlong:
    """A line that exceeded the limit; ``size`` in bytes, ``edges`` its beginning and its end."""

    size: int
    edges: bytes


# What a secret is made of, as a rule.
_WORD = (string.ascii_letters + string.digits + "+/=_-.~%").encode()


def head(data: bytes, limit: int) -> str:
    """The beginning for a log or an error, at most ``limit`` bytes, and no part of a word: half a
    secret would not be known as one."""
    whole = data if len(data) <= limit else data[:limit].rstrip(_WORD)
    return whole.decode("utf-8", "replace")


def tail(data: bytes, limit: int) -> bytes:
    """The end, likewise."""
    return data if len(data) <= limit else data[-limit:].lstrip(_WORD)


class LineSplitter:
    """Feed it chunks of any size; it gives back whole lines without their line break.

    Empty lines are passed over unless ``blanks`` are wanted.
    """

    def __init__(self, limit: int = MAX_LINE_BYTES, *, blanks: bool = False) -> None:
        self._limit = limit
        self._blanks = blanks
        self._parts: list[bytes] = []
        self._size = 0
        self._head: bytes | None = None
        self._tail = b""

    def feed(self, chunk: bytes) -> Iterator[bytes | Overlong]:
        """Take one chunk; yield the lines that it completes."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            if not (piece or self._size or self._blanks):
                continue
            self._add(piece)
            line = self._take()
            if line or self._blanks:
                yield line
        if rest:
            self._add(rest)

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._head is not None:
            self._tail = (self._tail + piece)[-EDGE_BYTES:]
            return
        self._parts.append(piece)
        if self._size > self._limit:
            whole = b"".join(self._parts)
            self._head, self._tail = whole[:EDGE_BYTES], whole[-EDGE_BYTES:]
            self._parts = []

    def _take(self) -> bytes | Overlong:
        line: bytes | Overlong
        if self._head is not None:
            line = Overlong(self._size, self._head + self._tail)
        else:
            line = (self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)).strip()
        self._parts, self._size, self._head, self._tail = [], 0, None, b""
        return line
