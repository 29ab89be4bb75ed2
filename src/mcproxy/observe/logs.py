"""Log formats: one JSON object a line for machines, or readable lines for people; and a stream that
never makes its writer wait.

Everything in a line passes the ``Redactor`` before it is encoded, so that no secret is in it and
nothing that acts on a terminal; further lines of a message are marked, so that none looks like a
line of its own. What a line is about (``server``, ``tool``, ``call`` and the like) is given with
``extra``: as JSON each is a member of the object; for people it stands in the text already.

Whoever starts ``--stdio`` may never read stderr, and a full pipe would stop the gateway at its next
log line. Lines that nobody reads are lost instead, and counted.
"""

import contextlib
import io
import logging
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TextIO, TypeVar

from pythonjsonlogger.json import JsonFormatter

from mcproxy.observe.redact import Redactor
from mcproxy.observe.repeated import RepeatLimit

READABLE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
FIELDS = ("asctime", "levelname", "name", "message")
_FURTHER = "\n  | "


def configure(
    *,
    readable: bool,
    level: int = logging.INFO,
    stream: TextIO | io.TextIOBase = sys.stderr,
    redactor: Redactor | None = None,
    also: Sequence[logging.Handler] = (),
) -> None:
    """Send all logs from a level on to ``stream``, readable, else as JSON; and to other handlers,
    which know by themselves what they want.

    Without a ``redactor`` what has the shape of a token is masked; call it again when the secrets
    of the configuration are known.
    """
    handler = logging.StreamHandler(stream)
    handler.setLevel(level)
    told = redactor or Redactor()
    handler.setFormatter(ReadableFormatter(told) if readable else LineFormatter(told))
    handler.addFilter(RepeatLimit(handler.handle))
    tell_counts()
    root = logging.getLogger()
    root.handlers[:] = [handler, *also]
    root.setLevel(logging.INFO)
    logging.getLogger("mcproxy").setLevel(min(level, logging.INFO))
    for library in ("httpx", "httpx2"):  # httpx tells every URL, and some hold a key
        logging.getLogger(library).setLevel(logging.WARNING)


def tell_counts() -> None:
    """Tell of the lines that were held back so far, see ``RepeatLimit``; before the end."""
    for handler in logging.getLogger().handlers:
        for each in handler.filters:
            if isinstance(each, RepeatLimit):
                each.close()


def configure_for_command(redactor: Redactor | None = None) -> None:
    """Send what goes wrong to stderr, readable, for a command whose own report is the rest.

    Without it Python prints warnings that nobody masked.
    """
    configure(readable=True, level=logging.WARNING, redactor=redactor)


class ReadableFormatter(logging.Formatter):
    """Lines for people: message, arguments and exception alike are masked."""

    def __init__(self, redactor: Redactor, form: str = READABLE) -> None:
        super().__init__(form)
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and marked ones for what it has beside."""
        return self._redactor.text(super().format(record)).replace("\n", _FURTHER)


class LineFormatter(JsonFormatter):
    """One JSON object a line; message, exception and extra fields alike are masked."""

    def __init__(self, redactor: Redactor) -> None:
        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        super().__init__(FIELDS, rename_fields=names)
        self._redactor = redactor

    def process_log_record(self, log_record: dict[str, Any]) -> dict[str, Any]:
        """Mask the values while they are values (``JsonFormatter``)."""
        return {key: self._redactor.whole(value) for key, value in log_record.items()}


MAX_WAITING = 10_000  # lines or records, some 2 MiB
LAST_SECS = 1.0  # at the end, a reader that is there, or a disk that works, has had all by then

log = logging.getLogger(__name__)

T = TypeVar("T")


class WriterThread(Generic[T]):
    """Writes what it is given, in order, in a thread of its own, so that nobody waits for a reader
    or a disk. ``write`` raises nothing; ``end`` is the last that the thread does."""

    def __init__(
        self, name: str, write: Callable[[T], None], end: Callable[[], None] = lambda: None
    ) -> None:
        self._write, self._end = write, end
        self._waiting: queue.Queue[tuple[T] | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> bool:
        """Have it written; False where too much is waiting: it is lost."""
        try:
            self._waiting.put_nowait((item,))
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        """Write what is waiting, for at most LAST_SECS."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
            self._thread.join(LAST_SECS)

    def _run(self) -> None:
        while (taken := self._waiting.get()) is not None:
            self._write(taken[0])
        self._end()


class Unblocked(io.TextIOBase):
    """Writes to ``stream`` what it is given, in order, until ``close``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0
        self._counting = threading.Lock()
        self._writer = WriterThread("log", self._write_now)

    def write(self, text: str, /) -> int:
        """Take ``text``; never waits. Where too much is waiting, it is lost."""
        if not self._writer.put(text):
            with self._counting:
                self._lost += 1
        return len(text)

    def close(self) -> None:
        """Write what is waiting, for at most LAST_SECS."""
        self._writer.close()
        super().close()

    def _write_now(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody is there to be told of it
            self._stream.write(text)
            self._stream.flush()
        self._tell_losses()

    def _tell_losses(self) -> None:
        with self._counting:
            lost, self._lost = self._lost, 0
        if lost:
            log.warning("%d lines of the log were lost: they were not read in time", lost)
