"""The audit log: every call and script leaves a line, and no line has a value."""

import asyncio
import hashlib
import json
import logging
import stat
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mcproxy.call_errors import InvalidArguments, RateLimited, UnknownServer
from mcproxy.config.model import Audit
from mcproxy.errors import ConfigError
from mcproxy.policy.audit import (
    LOGGER,
    MAX_NAME_CHARS,
    Actor,
    AuditedCall,
    AuditedExecution,
    AuditLog,
    Record,
    audit_of,
    audited,
    execution_record,
    line_of,
)
from mcproxy.types import CallRecord as Call
from mcproxy.types import Json, JsonObject, Outcome, ScriptError, ToolRef, ToolResult

WHO = Actor("alice", "public", "0123abcd")
REF = ToolRef("github", "create_issue")
CANARY = "canary-value"


async def answer(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
    """A tool that does what its name says."""
    match ref.tool:
        case "limited":
            raise RateLimited(ref, "public", 60, 1.0)
        case "invalid":
            raise InvalidArguments(ref, [f"{arguments} is wrong"], "call()")
        case "unknown":
            raise UnknownServer(ref, [], [])
        case "bug":
            raise RuntimeError(CANARY)
        case "cancelled":
            raise asyncio.CancelledError
    return ToolResult(CANARY.encode(), is_error=ref.tool == "refuses")


async def records_of(ref: ToolRef, arguments: Mapping[str, Json]) -> list[JsonObject]:
    records: list[Record] = []
    call = audited(WHO, records.append, answer)
    await asyncio.gather(call(ref, arguments), return_exceptions=True)
    return [json.loads(line_of(record)) for record in records]


@pytest.mark.requirement("audit.calls")
async def test_a_call_leaves_one_line_that_says_who_what_and_when() -> None:
    arguments: JsonObject = {"title": CANARY, "a": 1}
    before = datetime.now(UTC)
    (line,) = await records_of(REF, arguments)
    sent = json.dumps(arguments, sort_keys=True, separators=(",", ":")).encode()
    when = datetime.fromisoformat(str(line.pop("time")))
    assert before - timedelta(milliseconds=1) <= when <= datetime.now(UTC)
    assert isinstance(line.pop("ms"), float)
    assert line == {
        "event": "call",
        "execution": "0123abcd",
        "call": "0123abcd-1",
        "caller": "alice",
        "namespace": "public",
        "server": "github",
        "tool": "create_issue",
        "arguments_sha256": hashlib.sha256(sent).hexdigest(),
        "arguments_bytes": len(sent),
        "outcome": "ok",
    }


OUTCOMES = {
    "refuses": "tool_error",
    "limited": "rate_limited",
    "invalid": "invalid_arguments",
    "unknown": "unknown_server",
    "bug": "internal_error",
    "cancelled": "cancelled",
}


@pytest.mark.requirement("audit.calls")
@pytest.mark.parametrize("tool", OUTCOMES)
async def test_failures_and_refusals_leave_a_line_too(tool: str) -> None:
    (line,) = await records_of(ToolRef("github", tool), {"password": CANARY})
    assert line["outcome"] == OUTCOMES[tool]
    assert CANARY not in json.dumps(line)


async def test_the_order_of_arguments_does_not_matter_for_their_hash() -> None:
    (one,) = await records_of(REF, {"a": 1, "b": [2]})
    (other,) = await records_of(REF, {"b": [2], "a": 1})
    assert one["arguments_sha256"] == other["arguments_sha256"]


async def test_the_gateways_own_services_leave_no_line() -> None:
    assert await records_of(ToolRef("", "search"), {"query": CANARY}) == []


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_line_is_one_line_whatever_the_names_are(server: str, tool: str) -> None:
    records: list[Record] = []

    async def one_call() -> None:
        await audited(WHO, records.append, answer)(ToolRef(f"s{server}", f"t{tool}"), {})

    asyncio.run(one_call())
    (line,) = map(line_of, records)
    assert "\n" not in line
    assert "\r" not in line
    assert len(json.loads(line)["tool"]) <= MAX_NAME_CHARS


async def test_a_name_that_nothing_has_is_masked() -> None:
    records: list[Record] = []
    call = audited(WHO, records.append, answer, lambda name: name.replace(CANARY, "***"))
    asked = [ToolRef(f"a\n{CANARY}", "unknown"), ToolRef("github", "ok")]
    await asyncio.gather(*(call(ref, {}) for ref in asked), return_exceptions=True)
    assert [record.server for record in records if isinstance(record, AuditedCall)] == [
        "a ***",
        "github",
    ]


@pytest.mark.requirement("audit.executions")
@pytest.mark.parametrize(
    ("ended", "calls"),
    [
        (Outcome(value=CANARY, stdout=CANARY, execution_time_ms=7), 0),
        (Outcome(error=ScriptError("Timeout", CANARY), execution_time_ms=7), 0),
        (Outcome(calls=(Call("a", "b", 1.0, "ok"),), execution_time_ms=7), 1),
    ],
)
def test_a_script_leaves_a_line(tmp_path: Path, ended: Outcome, calls: int) -> None:
    log = AuditLog(Audit(file="audit.log"), tmp_path)
    log.execution(WHO, CANARY, "Some\nEnding", ended)
    log.close()
    text = (tmp_path / "audit.log").read_text()
    line = json.loads(text)
    assert CANARY not in text
    assert (line["event"], line["outcome"], line["calls"]) == ("execution", "Some Ending", calls)
    assert line["code_sha256"] == hashlib.sha256(CANARY.encode()).hexdigest()
    assert line["ms"] == 7


def script(outcome: str) -> AuditedExecution:
    """A record whose outcome is this word."""
    return replace(execution_record(WHO, "", "success", Outcome()), outcome=outcome)


@pytest.mark.requirement("audit.file")
def test_the_file_is_private_and_rotated(tmp_path: Path) -> None:
    log = AuditLog(Audit(file="audit.log", max_mb=1, keep=2), tmp_path)
    record = script("x" * 1000)
    line = line_of(record)
    for _ in range(4 * (1 << 20) // len(line)):  # four times the size
        log.write(record)
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["audit.log", "audit.log.1", "audit.log.2"]
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size <= 1 << 20
        assert set(path.read_text().splitlines()) == {line}


def test_a_file_is_continued(tmp_path: Path) -> None:
    for word in ("one", "two"):
        log = AuditLog(Audit(file=str(tmp_path / "audit.log")), Path("/nowhere"))
        log.write(script(word))
        log.close()
    lines = (tmp_path / "audit.log").read_text().splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["one", "two"]


def test_a_file_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"audit\.file: cannot be opened: No such file .*make the"
    ):
        AuditLog(Audit(file="missing/audit.log"), tmp_path)


@pytest.mark.requirement("audit.disk_full")
def test_a_full_disk_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "audit.log"
    path.symlink_to("/dev/full")
    log = AuditLog(Audit(file=str(path)), tmp_path)
    for _ in range(3):
        log.write(script("x"))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "audit.file: lines are lost" in caplog.text
    assert "No space left" in caplog.text
    assert "Traceback" not in capfd.readouterr().err
    with suppress(OSError):  # what is still in its buffer
        log.close()


@pytest.mark.requirement("observe.calls")
@pytest.mark.parametrize("file", ["audit.log", None])
async def test_the_log_has_each_call_at_level_debug(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str | None
) -> None:
    log = AuditLog(Audit(file=file), tmp_path)
    with caplog.at_level(logging.DEBUG, LOGGER):
        call = log.around(WHO, answer)
        await call(REF, {"title": CANARY})
        await call(ToolRef("github", "refuses"), {"title": CANARY})
        log.execution(WHO, CANARY, "success", Outcome(value=CANARY))
    log.close()
    first, second, whole = (vars(record) for record in caplog.records)
    facts = ("server", "tool", "call", "execution", "outcome")
    assert [first[name] for name in facts] == [REF.server, REF.tool, "0123abcd-1", "0123abcd", "ok"]
    assert (second["call"], second["outcome"]) == ("0123abcd-2", "tool_error")
    assert first["ms"] >= 0
    assert (whole["execution"], whole["outcome"], whole["calls"]) == ("0123abcd", "success", 0)
    assert first["message"].startswith("github.create_issue: ok execution=0123abcd ")
    assert "call=0123abcd-1" in first["message"]
    assert CANARY not in caplog.text
    if file:
        lines = [json.loads(line) for line in (tmp_path / file).read_text().splitlines()]
        assert [line.get("call") for line in lines] == ["0123abcd-1", "0123abcd-2", None]


async def test_a_name_that_a_script_chose_stays_within_its_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, LOGGER):
        call = AuditLog(Audit(), tmp_path).around(WHO, answer)
        await call(ToolRef("github", "x\n2026-01-01 ERROR forged"), {})
    assert "\n" not in caplog.records[0].getMessage()


@pytest.mark.requirement("observe.calls")
@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
@pytest.mark.parametrize("file", ["audit.log", None])
def test_where_nobody_reads_of_them_there_is_no_audit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, level: int, file: str | None
) -> None:
    with caplog.at_level(level, LOGGER):
        log = audit_of(Audit(file=file), tmp_path, str)
    assert (log is None) == (level == logging.INFO and file is None)
    if log:
        log.close()
