"""A text stream that never makes its writer wait: a thread of its own writes.

Whoever starts ``--stdio`` may never read stderr, and a full pipe would stop the gateway at its next
log line. Lines that nobody reads are lost instead, and counted. Knows nothing of what it carries.
"""

import contextlib
import io
import logging
import queue
import threading
from typing import TextIO

MAX_WAITING = 10_000  # lines, some 2 MiB
LAST_SECS = 1.0  # at the end, a reader that is there has had all by then

log = logging.getLogger(__name__)


class Unblocked(io.TextIOBase):
    """Writes to ``stream`` what it is given, in order, until ``close``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: queue.Queue[str | None] = queue.Queue(MAX_WAITING)
        self._lost = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str, /) -> int:
        """Take ``text``; never waits. Where too much is waiting, it is lost."""
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            with self._counting:
                self._lost += 1
        return len(text)

    def close(self) -> None:
        """Write what is waiting, for at most LAST_SECS."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
            self._thread.join(LAST_SECS)
        super().close()

    def _write_all(self) -> None:
        while (text := self._waiting.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # nobody is there to be told of it
                self._stream.write(text)
                self._stream.flush()
            self._tell_losses()

    def _tell_losses(self) -> None:
        with self._counting:
            lost, self._lost = self._lost, 0
        if lost:
            log.warning("%d lines of the log were lost: they were not read in time", lost)
