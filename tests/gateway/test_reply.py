"""How a script's calls are listed for a model."""

import pytest

from mcproxy.gateway.reply import listed_calls
from mcproxy.types import CallOutcome, CallRecord, Json


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
