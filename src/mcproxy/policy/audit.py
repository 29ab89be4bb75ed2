"""The audit log: one record for each script and for each upstream call, refused ones included.

Says who did what, when, and how it ended. Never says with which values: arguments and code stand
there as a SHA-256 and a size, by which a known value can be recognised (and a value of few possible
ones guessed). A tool's name is what was asked, as one line of at most ``MAX_NAME_CHARS``: a script
chooses it; of a tool that does not exist it may be anything, so secrets in it are masked.

A record is a JSON line of a file, and at level DEBUG a line of the log; where there is neither,
there is no audit, and nothing on the way of a call. A line that cannot be written (disk full) is
lost, which the log tells once; calls go on.
"""

import hashlib
import io
import itertools
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from mcproxy.call_errors import NO_SUCH_TOOL, failure_code
from mcproxy.config.model import Audit
from mcproxy.errors import ConfigError, Problem
from mcproxy.foreign_text import short_name
from mcproxy.types import CallTool, Json, Outcome, ToolRef, ToolResult

LOGGER = "mcproxy.audit"
MAX_NAME_CHARS = 128
_MAX_READ_CHARS = 1000  # of a name that somebody asked for, who may have sent a megabyte
_MIB = 1 << 20
_PRIVATE = 0o600

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder(order="deterministic").encode


class Actor(msgspec.Struct, frozen=True):
    """On whose behalf something is done. ``execution`` ties a script's lines together; a call in
    direct mode is an execution of its own."""

    caller: str
    namespace: str
    execution: str


class AuditedExecution(
    msgspec.Struct, frozen=True, kw_only=True, tag="execution", tag_field="event"
):
    """One script; ``time`` is when it began.

    ``outcome``: ``success``, the error's type, or why it did not begin.
    """

    time: str
    execution: str
    caller: str
    namespace: str
    code_sha256: str
    code_bytes: int
    outcome: str
    calls: int
    ms: float


class AuditedCall(msgspec.Struct, frozen=True, kw_only=True, tag="call", tag_field="event"):
    """One upstream call; ``time`` is when it began, ``call`` names it within the whole log.

    ``outcome``: ``ok``, ``tool_error``, or the code of the failure or refusal.
    """

    time: str
    execution: str
    call: str
    caller: str
    namespace: str
    server: str
    tool: str
    arguments_sha256: str
    arguments_bytes: int
    outcome: str
    ms: float


Decision: TypeAlias = Literal[
    "once",
    "session",
    "declined",  # answers of the person behind the client
    "granted",  # by an earlier answer for the session
    "approved",
    "refused",  # with ``mcproxy approvals``
    "waiting",  # nobody could be asked
]
"""What became of a call that a person is asked for."""


class AuditedDecision(msgspec.Struct, frozen=True, kw_only=True, tag="decision", tag_field="event"):
    """Whether a call that a rule asks for may be made; the call has a record of its own."""

    time: str
    execution: str
    caller: str
    namespace: str
    server: str
    tool: str
    arguments_sha256: str
    outcome: Decision


Record: TypeAlias = AuditedExecution | AuditedCall | AuditedDecision


def audited(
    who: Actor, write: Callable[[Record], None], call: CallTool, mask: Callable[[str], str] = str
) -> CallTool:
    """The same call, with a record of each use; the gateway's own services have none. ``mask``
    hides secrets in names that nothing has.

    It belongs around all other links, so that it sees the refusals too.
    """

    numbers = itertools.count(1)

    async def audited_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        if not ref.server:
            return await call(ref, arguments)
        begun, started, number = _utc(), time.monotonic(), next(numbers)
        sent = _encode(arguments)
        outcome = "ok"
        try:
            result = await call(ref, arguments)
            if result.is_error or result.replayed:
                outcome = "tool_error" if result.is_error else "replayed"
        except BaseException as error:
            outcome = failure_code(error)
            raise
        finally:
            told = mask if outcome in NO_SUCH_TOOL else str
            record = AuditedCall(
                time=begun,
                execution=who.execution,
                call=f"{who.execution}-{number}",
                caller=who.caller,
                namespace=who.namespace,
                server=short_name(told(ref.server[:_MAX_READ_CHARS]), MAX_NAME_CHARS),
                tool=short_name(told(ref.tool[:_MAX_READ_CHARS]), MAX_NAME_CHARS),
                arguments_sha256=hashlib.sha256(sent).hexdigest(),
                arguments_bytes=len(sent),
                outcome=outcome,
                ms=_ms_since(started),
            )
            write(record)
        return result

    return audited_call


def execution_record(who: Actor, code: str, ending: str, ended: Outcome) -> AuditedExecution:
    """The record of a script that has just ended, or that was refused; ``ending`` is how, in one
    word."""
    source = code.encode("utf-8", "surrogatepass")
    return AuditedExecution(
        time=_utc(before_ms=ended.execution_time_ms),
        execution=who.execution,
        caller=who.caller,
        namespace=who.namespace,
        code_sha256=hashlib.sha256(source).hexdigest(),
        code_bytes=len(source),
        outcome=short_name(ending, MAX_NAME_CHARS),
        calls=len(ended.calls),
        ms=ended.execution_time_ms,
    )


def line_of(record: Record) -> str:
    """The record as JSON, one line without its end."""
    return _encode(record).decode()


class AuditLog:
    """Where records go: a file of its own that only its owner can read, and the log.

    Writing blocks for the time that the system takes to buffer a line. Raises ConfigError where the
    file cannot be opened: better no gateway than one that only seems to keep a record.
    """

    def __init__(self, settings: Audit, beside: Path, mask: Callable[[str], str] = str) -> None:
        """A relative ``settings.file`` is in the directory ``beside``; ``mask`` hides secrets."""
        self._file = None
        self._mask = mask
        self._logger = logging.getLogger(LOGGER)
        if settings.file:
            path = beside / Path(settings.file).expanduser()
            try:
                self._file = _PrivateFile(path, settings.max_mb * _MIB, settings.keep)
            except OSError as error:
                raise ConfigError(str(path), [_unusable(path, error)]) from error

    def around(self, who: Actor, call: CallTool) -> CallTool:
        """The same call, audited."""
        return audited(who, self.write, call, self._mask)

    def execution(self, who: Actor, code: str, ending: str, ended: Outcome) -> None:
        """Keep the record of an execution, see ``execution_record``."""
        self.write(execution_record(who, code, ending, ended))

    def decision(
        self, who: Actor, ref: ToolRef, arguments: Mapping[str, Json], outcome: Decision
    ) -> None:
        """Keep the record of what was decided on a call."""
        self.write(
            AuditedDecision(
                time=_utc(),
                execution=who.execution,
                caller=who.caller,
                namespace=who.namespace,
                server=short_name(ref.server[:_MAX_READ_CHARS], MAX_NAME_CHARS),
                tool=short_name(ref.tool[:_MAX_READ_CHARS], MAX_NAME_CHARS),
                arguments_sha256=hashlib.sha256(_encode(arguments)).hexdigest(),
                outcome=outcome,
            )
        )

    def write(self, record: Record) -> None:
        """Append one record."""
        if self._file:
            self._file.handle(logging.makeLogRecord({"msg": line_of(record)}))
        if self._logger.isEnabledFor(logging.DEBUG):
            facts = msgspec.structs.asdict(record)
            del facts["time"]  # the log has its own
            self._logger.debug("%s", _told(facts), extra=facts)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


def audit_of(settings: Audit, beside: Path, mask: Callable[[str], str]) -> AuditLog | None:
    """The audit log, as ``AuditLog``; None where nobody would read of it. The log's level is that
    of the program's start, and so is the file: it is decided once."""
    is_read = settings.file or logging.getLogger(LOGGER).isEnabledFor(logging.DEBUG)
    return AuditLog(settings, beside, mask) if is_read else None


class _PrivateFile(RotatingFileHandler):
    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=keep, encoding="utf-8")
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        before = self._lost
        super().emit(record)
        if before and self._lost == before:
            log.warning("audit.file: lines are written again; %d could not be", before)
            self._lost = 0

    def handleError(self, record: logging.LogRecord) -> None:
        """Each call would bring a traceback of its own."""
        self._lost += 1
        if self._lost == 1:
            log.error("audit.file: lines are lost, nothing can be written: %s", sys.exception())

    def _open(self) -> io.TextIOWrapper:
        opened = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _PRIVATE)
        return os.fdopen(opened, "a", encoding="utf-8")


def _unusable(path: Path, error: OSError) -> Problem:
    missing = f"make the directory {path.parent}" if not path.parent.exists() else ""
    hint = missing or "let this user write there, or choose another place"
    return Problem("audit.file", f"cannot be opened: {error.strerror or error}", hint)


def _told(facts: Mapping[str, object]) -> str:
    """The facts for readers."""
    what = f"{facts['server']}.{facts['tool']}" if "tool" in facts else "script"
    rest = " ".join(
        f"{name}={value}"
        for name, value in facts.items()
        if name not in ("server", "tool", "outcome")
    )
    return f"{what}: {facts['outcome']} {rest}"


def _utc(before_ms: int = 0) -> str:
    moment = datetime.now(UTC) - timedelta(milliseconds=before_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
