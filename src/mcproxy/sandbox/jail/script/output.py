"""What a script prints: one stream for stdout and stderr, sent in frames.

The first lines go out at once, so that a script that hangs has told where; after that, text is
collected. Past the limit nothing more is sent: the gateway, which enforces it, would drop it.
"""

import builtins
import io
import sys
import time
import warnings
from collections.abc import Callable
from typing import Never

_EAGER_LINES = 100  # sent line by line
_BATCH_CHARS = 8192
_MORE_BYTES = 4  # past the limit: any whole character, so that the gateway sees there was more
_FRAME_CHARS = 16_384  # a long text goes out in pieces
_BATCH_SECS = 0.02  # or whatever has come together in this time


class Output(io.TextIOBase):
    """A text stream that hands its text to ``send``; ``written``: there was some."""

    def __init__(self, send: Callable[[str], None], limit: int) -> None:
        self.written = False
        self._send = send
        self._left = limit + _MORE_BYTES
        self._parts: list[str] = []
        self._chars = 0
        self._lines = 0
        self._sent_at = 0.0

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As of a terminal; scripts ask for it."""
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        """Take ``text``. Raises TypeError for anything else, as every text stream does."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.written |= bool(text)
        if self._left > 0 and text:
            self._parts.append(text)
            self._chars += len(text)
            self._lines += text.count("\n")
            if self._due():
                self.flush()
        return len(text)

    def _due(self) -> bool:
        if self._chars >= _BATCH_CHARS:
            return True
        if not self._parts[-1].endswith("\n"):
            return False
        return self._lines <= _EAGER_LINES or time.monotonic() - self._sent_at > _BATCH_SECS

    def flush(self) -> None:
        """Send what has been collected."""
        data = "".join(self._parts).encode("utf-8", "replace")[: max(self._left, 0)]
        self._parts.clear()
        self._chars = 0
        if data:
            self._left -= len(data)
            self._sent_at = time.monotonic()
            text = data.decode("utf-8", "ignore")
            for start in range(0, len(text), _FRAME_CHARS):
                self._send(text[start : start + _FRAME_CHARS])


class captured:
    """Let ``print`` write to ``output``, and turn forgotten awaits into notes."""

    def __init__(self, output: Output, note: Callable[[str], None]) -> None:
        self._output, self._note = output, note

    def __enter__(self) -> None:
        self._before = sys.stdout, sys.stderr, warnings.showwarning
        sys.stdout = sys.stderr = self._output
        warnings.showwarning = self._warned

    def __exit__(self, *_: object) -> None:
        sys.stdout, sys.stderr, warnings.showwarning = self._before
        self._output.flush()

    def _warned(self, message: Warning | str, *_: object, **__: object) -> None:
        if "was never awaited" in str(message):
            self._note(f"{message}: write await before the call")


def prepare_output() -> None:
    """For a process that will run scripts: refuse ``input``, show forgotten awaits."""
    warnings.simplefilter("always", RuntimeWarning)
    builtins.input = _no_input


def _no_input(prompt: object = "", /) -> Never:
    raise EOFError(
        "input() has nobody to ask: a script runs unattended. Put the value into the code."
    )
