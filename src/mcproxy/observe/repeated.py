"""Lines of the log that others can cause at will: the first are shown, the rest are counted.

A server that writes junk, or a script that is refused, could otherwise fill a disk and keep the
gateway busy with writing. It stands before the one handler, so that no line can be forgotten.
Lines are alike where logger, text (without what is filled in) and server are the same.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

import msgspec

SHOWN = 20  # in WINDOW_SECS: enough to see what it is about
WINDOW_SECS = 60.0
TIMER = "log counts"  # the name of its threads
MAX_KINDS = 1000  # texts are ours and servers are configured: a gateway has some dozens

_Kind: TypeAlias = tuple[str, str, str]


class _Window(msgspec.Struct):
    """What was logged of one kind since ``began``; ``latest`` is the last that was held back, and
    ``timer`` has it told."""

    began: float
    lines: int = 0
    latest: logging.LogRecord | None = None
    timer: threading.Timer | None = None


class RepeatLimit(logging.Filter):
    """A filter before a handler; ``handle`` is the handler's way in, for the counts."""

    def __init__(
        self,
        handle: Callable[[logging.LogRecord], object],
        window_secs: float = WINDOW_SECS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._handle, self._window_secs, self._now = handle, window_secs, now
        self._windows: dict[_Kind, _Window] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is shown (``logging.Filter``)."""
        if _is_never_limited(record):
            return True
        kind = (record.name, str(record.msg), str(getattr(record, "server", "")))
        with self._lock:
            window = self._windows.get(kind)
            if window is None or self._now() - window.began >= self._window_secs:
                ended, window = window, self._begin(kind)
            else:
                ended = None
            window.lines += 1
            shown = window.lines <= SHOWN
            if not shown:
                if window.latest is None:
                    self._tell_later(kind, window)
                window.latest = record
        self._tell(ended)
        return shown

    def close(self) -> None:
        """Tell what was counted: nothing more is logged."""
        with self._lock:
            windows, self._windows = list(self._windows.values()), {}
        for window in windows:
            self._tell(window)

    def _begin(self, kind: _Kind) -> _Window:
        if len(self._windows) >= MAX_KINDS:
            oldest = min(self._windows, key=lambda each: self._windows[each].began)
            del self._windows[oldest]  # the timer of its count still tells it
        window = self._windows[kind] = _Window(self._now())
        return window

    def _tell_later(self, kind: _Kind, window: _Window) -> None:
        """The count is told at the end of the window, even if nothing else happens."""
        secs = max(0.0, window.began + self._window_secs - self._now())
        window.timer = threading.Timer(secs, self._end, (kind, window))
        window.timer.name, window.timer.daemon = TIMER, True
        window.timer.start()

    def _end(self, kind: _Kind, window: _Window) -> None:
        with self._lock:
            if self._windows.get(kind) is window:
                del self._windows[kind]
        self._tell(window)

    def _tell(self, window: _Window | None) -> None:
        with self._lock:
            if window is None or window.latest is None:
                return
            latest, window.latest = window.latest, None
            if window.timer:
                window.timer.cancel()
        self._handle(_count(latest, window.lines - SHOWN, self._window_secs))


def _is_never_limited(record: logging.LogRecord) -> bool:
    """What is a record of something that was allowed, and bounded there; and counts."""
    allowed = record.name == "mcproxy.audit" or getattr(record, "verdict", "") == "allowed"
    return allowed or hasattr(record, "repeated")


def _count(latest: logging.LogRecord, more: int, secs: float) -> logging.LogRecord:
    """The line that stands for those that were held back."""
    told = logging.makeLogRecord({**latest.__dict__, "repeated": more})
    told.msg = "%d more lines like this within %g s; the latest: %s"
    told.args = (more, secs, latest.getMessage())
    told.exc_info = told.exc_text = None
    return told
