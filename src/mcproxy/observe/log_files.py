"""The log and each server's stderr as files of the state directory, bounded in size and rate.

One thread masks and writes, so that neither a slow disk nor a server that talks without end holds
up the event loop. Lines are lost rather than waited for, and counted. Several gateways of one user
write to the same files, whole lines each; whoever finds a file full sets it aside.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from mcproxy.observe.logs import ReadableFormatter, WriterThread
from mcproxy.observe.redact import Redactor

FOLDER, GATEWAY = "logs", "gateway"
STDERR_LOGGER = "mcproxy.stderr"  # what servers write; ``server`` of a record is whose it is
MAX_FILE_BYTES = 1 << 20  # then it becomes NAME.1.log, of which there is one
LINES_A_SECOND = 200.0  # of one server, in the long run
BURST_LINES = 2000  # a start may say much at once
OWN_FORM = "%(asctime)s %(process)d %(levelname)-7s %(name)s: %(message)s"
STDERR_FORM = "%(asctime)s %(line)s"
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700

log = logging.getLogger(__name__)


def log_path(state: Path, server: str | None = None) -> Path:
    """The file of a server's stderr, or of the gateway's log. A name is no path."""
    name = GATEWAY if server is None else f"server-{quote(server, safe='')}"
    return state / FOLDER / f"{name}.log"


def set_aside(path: Path) -> Path:
    """Where a full file goes."""
    return path.with_suffix(".1.log")


class RotatedFile:
    """A file that is appended to until it is full. ``write`` raises OSError."""

    def __init__(self, path: Path, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._descriptor: int | None = None

    def write(self, data: bytes) -> None:
        """Append whole lines."""
        descriptor = self._opened()
        if os.fstat(descriptor).st_size + len(data) > self._max_bytes:
            self._rotate(descriptor)
            descriptor = self._opened()
        os.write(descriptor, data)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        if self._descriptor is None:
            self._path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._path, flags, _FILE_MODE)
        return self._descriptor

    def _rotate(self, descriptor: int) -> None:
        """Begin a new file, unless another gateway has."""
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == os.fstat(descriptor).st_ino:
                self._path.replace(set_aside(self._path))
        self.close()


class Allowance:
    """How many lines one server may still write: a token bucket; what is left out is counted."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tokens, self._at = float(BURST_LINES), now()
        self._left_out = 0

    def take(self) -> int | None:
        """None where the line is left out, else how many were before it."""
        now = self._now()
        self._tokens = min(BURST_LINES, self._tokens + (now - self._at) * LINES_A_SECOND)
        self._at = now
        if self._tokens < 1:
            self._left_out += 1
            return None
        self._tokens -= 1
        left_out, self._left_out = self._left_out, 0
        return left_out


class FileLog(logging.Handler):
    """A handler of the root logger: writes what is logged from INFO on, and every line of servers,
    each to its file, until ``close``."""

    def __init__(self, state: Path) -> None:
        super().__init__()
        self._state = state
        self.mask(Redactor())
        self._files: dict[str | None, RotatedFile] = {}
        self._allowed: dict[str, Allowance] = {}
        self._broken = False
        self._writer = WriterThread("log files", self._write_record, self._close_files)

    def mask(self, redactor: Redactor) -> None:
        """Hide what this one knows, from now on."""
        self._own = ReadableFormatter(redactor, OWN_FORM)
        self._stderr = ReadableFormatter(redactor, STDERR_FORM)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; never waits."""
        left_out: int | None = 0
        if record.name == STDERR_LOGGER:
            left_out = self._allowed.setdefault(_server(record), Allowance()).take()
        elif record.levelno < logging.INFO:
            return
        if left_out is not None:
            self._writer.put((record, left_out))

    def close(self) -> None:
        """Write what is waiting, for a bounded time."""
        self._writer.close()
        super().close()

    def _write_record(self, item: tuple[logging.LogRecord, int]) -> None:
        record, left_out = item
        if record.name == STDERR_LOGGER:
            lost = f"… {left_out} lines left out: it writes too fast\n" if left_out else ""
            self._write(_server(record), f"{lost}{self._stderr.format(record)}\n")
        else:
            self._write(None, f"{self._own.format(record)}\n")

    def _close_files(self) -> None:
        for file in self._files.values():
            file.close()

    def _write(self, server: str | None, text: str) -> None:
        file = self._files.setdefault(server, RotatedFile(log_path(self._state, server)))
        try:
            file.write(text.encode("utf-8", "replace"))
        except OSError as error:
            file.close()
            if not self._broken:  # once: this line comes here too
                self._broken = True
                log.warning("no log is kept in %s: %s", self._state, error.strerror or error)


def _server(record: logging.LogRecord) -> str:
    return str(getattr(record, "server", ""))


@contextlib.contextmanager
def kept_in(state: Path) -> Iterator[FileLog]:
    """While inside, what servers write is logged, for this handler to keep."""
    files, stderr = FileLog(state), logging.getLogger(STDERR_LOGGER)
    stderr.setLevel(logging.DEBUG)
    try:
        yield files
    finally:
        stderr.setLevel(logging.NOTSET)
        logging.getLogger().removeHandler(files)
        files.close()
