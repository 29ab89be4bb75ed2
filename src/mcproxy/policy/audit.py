"""The audit log: one JSON line for each script and for each upstream call, refused ones included.

Says who did what, when, and how it ended. Never says with which values: arguments and code stand
there as a SHA-256 and a size, by which a known value can be recognised (and a value of few possible
ones guessed). A tool's name is what was asked, cut at ``MAX_NAME_CHARS``: a script chooses it.

A line that cannot be written (disk full) is told by ``logging`` on stderr and lost; calls go on.
"""

import hashlib
import io
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from logging.handlers import RotatingFileHandler
from pathlib import Path
from secrets import token_hex
from typing import TypeAlias

import msgspec

from mcproxy.config.model import Audit
from mcproxy.errors import failure_code
from mcproxy.types import CallTool, Json, Outcome, ToolRef, ToolResult

LOGGER = "mcproxy.audit"
MAX_NAME_CHARS = 128
_MIB = 1 << 20
_PRIVATE = 0o600

Write: TypeAlias = Callable[[str], None]
"""Takes one line, without its end."""

_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Actor:
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
    """One upstream call; ``time`` is when it began.

    ``outcome``: ``ok``, ``tool_error``, or the code of the failure or refusal.
    """

    time: str
    execution: str
    caller: str
    namespace: str
    server: str
    tool: str
    arguments_sha256: str
    arguments_bytes: int
    outcome: str
    ms: float


def actor(caller: str, namespace: str) -> Actor:
    """Whoever begins an execution now."""
    return Actor(caller, namespace, token_hex(8))


def audited(who: Actor, write: Write, call: CallTool) -> CallTool:
    """The same call, with a line for each use; the gateway's own services have none.

    It belongs around all other links, so that it sees the refusals too.
    """

    async def audited_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        if not ref.server:
            return await call(ref, arguments)
        begun, started = _utc(), time.monotonic()
        sent = _encode(arguments)
        outcome = "ok"
        try:
            result = await call(ref, arguments)
            outcome = "tool_error" if result.is_error else "ok"
        except BaseException as error:
            outcome = failure_code(error)
            raise
        finally:
            record = AuditedCall(
                time=begun,
                execution=who.execution,
                caller=who.caller,
                namespace=who.namespace,
                server=ref.server[:MAX_NAME_CHARS],
                tool=ref.tool[:MAX_NAME_CHARS],
                arguments_sha256=hashlib.sha256(sent).hexdigest(),
                arguments_bytes=len(sent),
                outcome=outcome,
                ms=_ms_since(started),
            )
            write(_encode(record).decode())
        return result

    return audited_call


def execution_record(who: Actor, code: str, outcome: Outcome | str) -> AuditedExecution:
    """The line for a script that has just ended, or that was refused (``outcome`` says why)."""
    source = code.encode("utf-8", "surrogatepass")
    ended = outcome if isinstance(outcome, Outcome) else Outcome()
    word = outcome if isinstance(outcome, str) else ended.error.type if ended.error else "success"
    return AuditedExecution(
        time=_utc(before_ms=ended.execution_time_ms),
        execution=who.execution,
        caller=who.caller,
        namespace=who.namespace,
        code_sha256=hashlib.sha256(source).hexdigest(),
        code_bytes=len(source),
        outcome=word[:MAX_NAME_CHARS],
        calls=len(ended.calls),
        ms=ended.execution_time_ms,
    )


class AuditLog:
    """Where the lines go: a file of its own that only its owner can read, or the log.

    Writing blocks for the time that the system takes to buffer a line. Raises OSError where the
    file cannot be opened: better no gateway than one that only seems to keep a record.
    """

    def __init__(self, settings: Audit, beside: Path) -> None:
        """A relative ``settings.file`` is in the directory ``beside``."""
        self._file = None
        self._logger = logging.getLogger(LOGGER)
        if settings.file:
            path = beside / Path(settings.file).expanduser()
            self._file = _PrivateFile(path, settings.max_mb * _MIB, settings.keep)

    def write(self, line: str) -> None:
        """Append one line."""
        if self._file:
            self._file.handle(logging.makeLogRecord({"msg": line}))
        else:
            self._logger.debug("%s", line)

    def execution(self, record: AuditedExecution) -> None:
        """Append the line of an execution."""
        self.write(_encode(record).decode())

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


class _PrivateFile(RotatingFileHandler):
    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=keep, encoding="utf-8")

    def _open(self) -> io.TextIOWrapper:
        opened = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _PRIVATE)
        return os.fdopen(opened, "a", encoding="utf-8")


def _utc(before_ms: int = 0) -> str:
    moment = datetime.now(UTC) - timedelta(milliseconds=before_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
