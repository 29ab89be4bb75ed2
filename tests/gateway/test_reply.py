"""What a model is told of a script: its calls in few words, and all of it within one budget."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.gateway.reply import References, Reply, listed_calls, shortened
from mcproxy.sandbox.jail.script.preview import MAX_PREVIEW_BYTES, encoded, preview
from mcproxy.types import CallOutcome, CallRecord, Json, Outcome, ScriptError

KIB = 1 << 10
TEXT = st.text(max_size=200) | st.builds(
    lambda text, times: text * times, st.text(min_size=1, max_size=20), st.integers(1, 2000)
)
VALUE = TEXT | st.lists(TEXT, max_size=30) | st.dictionaries(TEXT, TEXT, max_size=10)
RECORD = st.builds(
    CallRecord,
    server=st.text(max_size=200),
    tool=st.text(max_size=200),
    ms=st.floats(0, 1e6),
    outcome=st.sampled_from(("ok", "failed", "unknown")),
    arguments=st.text(max_size=200),
    replayed=st.booleans(),
)
ERROR = st.builds(ScriptError, TEXT, TEXT, st.integers(1, 1000), st.none() | TEXT, st.booleans())


def ended(value: Json) -> Outcome:
    """An outcome with a result, as it comes from a worker."""
    body = encoded(value)
    if len(body) <= MAX_PREVIEW_BYTES:
        return Outcome(value)
    return Outcome(preview(value), whole=body)


def told(outcome: Outcome, limit: int) -> tuple[Reply, dict[str, Json], str]:
    reply = Reply(outcome, limit)
    references = References("r1000000", "r1000001", "s" * 16)
    result = reply.result({"execution": "x" * 12, "session": "s" * 16}, references)
    body, content = result["structuredContent"], result["content"]
    assert isinstance(body, dict)
    assert isinstance(content, list)
    assert isinstance(content[0], dict)
    return reply, body, str(content[0]["text"])


def record(
    tool: str, outcome: CallOutcome = "ok", arguments: str = "", *, replayed: bool = False
) -> CallRecord:
    return CallRecord("s", tool, 1.5, outcome, arguments, replayed)


def test_few_calls_stand_singly() -> None:
    calls = [record("a", replayed=True), record("b", "unknown", '{"x":1}')]
    assert listed_calls(calls) == [
        {"server": "s", "tool": "a", "ms": 1.5, "outcome": "ok", "replayed": True},
        {"server": "s", "tool": "b", "ms": 1.5, "outcome": "unknown", "arguments": '{"x":1}'},
    ]


@pytest.mark.requirement("execute.calls_grouped")
def test_many_calls_are_grouped_and_what_failed_stands_singly() -> None:
    calls = [record("a")] * 150 + [record("b")] * 48 + [record("a", "failed", "{}")]
    calls += [record("b", "unknown", "{}", replayed=True)]
    single: Json = {"server": "s", "ms": 1.5, "arguments": "{}"}
    assert isinstance(single, dict)
    assert listed_calls(calls) == [
        {**single, "tool": "a", "outcome": "failed"},
        {**single, "tool": "b", "outcome": "unknown", "replayed": True},
        {"server": "s", "tool": "a", "count": 151, "ms": 226.5, "failed": 1},
        {"server": "s", "tool": "b", "count": 49, "ms": 73.5, "unknown": 1, "replayed": 1},
    ]
    assert len(listed_calls([record("a", "failed", "{}")] * 500)) == 21


@pytest.mark.requirement("results.budget")
@given(
    st.builds(ended, VALUE) | st.builds(lambda error: Outcome(error=error), ERROR),
    TEXT,
    st.none() | TEXT,
    st.lists(RECORD, max_size=60),
    st.lists(TEXT, max_size=50),
    st.integers(8 * KIB, 64 * KIB),
)
def test_a_reply_keeps_its_budget(
    outcome: Outcome,
    stdout: str,
    traceback: str | None,
    calls: list[CallRecord],
    notes: list[str],
    limit: int,
) -> None:
    whole = Outcome(
        outcome.value,
        whole=outcome.whole,
        error=outcome.error,
        stdout=stdout,
        traceback=traceback if outcome.error else None,
        calls=tuple(calls),
        notes=tuple(notes),
    )
    reply, body, text = told(whole, limit)
    assert len(msgspec.json.encode(body)) <= limit
    assert len(text.encode()) <= limit
    assert json.loads(text)["result"] == body["result"]
    value = json.loads(outcome.whole) if outcome.whole else outcome.value
    assert (reply.cut_result is None) == (body["result"] == value)
    assert (reply.cut_stdout is None) == (body.get("stdout", "") == stdout)
    assert reply.cut_stdout is None or json.loads(reply.cut_stdout) == stdout


@pytest.mark.requirement("results.budget")
@pytest.mark.parametrize("whole", [b"no JSON", b"[" * 5000 + b"]" * 5000, b"\xff" * 4000])
def test_what_cannot_be_read_is_never_shown(whole: bytes) -> None:
    reply, body, _ = told(Outcome("a preview", whole=whole), 16 * KIB)
    assert body["result"] == "a preview"
    assert reply.cut_result == whole


@given(TEXT, st.integers(200, 5000))
def test_a_shortened_text_fits_and_keeps_head_and_tail(text: str, limit: int) -> None:
    cut = shortened(text, limit, "; whole: there")
    assert len(json.dumps(cut, ensure_ascii=False).encode()) <= limit
    assert cut == text or f"… {len(text)} characters in all; whole: there …" in cut


def test_a_shortened_text_is_cut_between_lines() -> None:
    text = "".join(f"line {number}\n" for number in range(1000))
    head, mark, tail = shortened(text, 500).partition("\n… 8890 characters in all …\n")
    assert mark
    assert text.startswith(head + "\n")
    assert text.endswith("\n" + tail)


def test_the_text_says_nothing_twice() -> None:
    trace = (
        'Traceback (most recent call last):\n  File "<script>", line 3, in <module>\n    1 / 0\n'
    )
    error = ScriptError("ZeroDivisionError", "division by zero", 3)
    records = (
        CallRecord("s", "a", 1.5, "ok"),
        CallRecord("s", "b", 1500.0, "unknown", '{"x":1}', line=2),
        CallRecord("s", "c", 1.5, "ok", replayed=True),
    )
    last = f"{error.type}: {error.message}"
    _, _, text = told(Outcome(error=error, traceback=trace + last, calls=records), 16 * KIB)
    assert json.loads(text) == {
        "status": "error",
        "result": None,
        "traceback": "1 / 0",
        "error": {"type": "ZeroDivisionError", "message": "division by zero", "line": 3},
        "calls": ["s.a", 's.b, 1.5 s, unknown in line 2: {"x":1}', "s.c, replayed"],
        "session": "s" * 16,
        "ms": 0,
    }
    _, _, text = told(Outcome({"a": 1}, calls=(records[0],) * 9), 16 * KIB)
    shown = {"status": "success", "result": {"a": 1}, "calls": ["s.a x9"]}
    assert json.loads(text) == shown | {"session": "s" * 16, "ms": 0}
