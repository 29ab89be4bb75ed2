"""What is kept of executions and calls for whoever looks on, and the figures of the last hour."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.call_errors import CallError, ServerDown
from mcproxy.observe.activity import (
    BUCKET_SECS,
    BUCKETS,
    BYTES_A_TOKEN,
    KEPT_CALLS,
    KEPT_EXECUTIONS,
    MAX_CLIENTS,
    OTHER,
    Activity,
    History,
    SeenExecution,
    ShownTokens,
)
from mcproxy.types import CallTool, JsonObject, ToolRef, ToolResult

ADD = ToolRef("echo", "add")


def execution(id_: str = "x", *, script: bool = True) -> SeenExecution:
    return SeenExecution(id_, "alice", "public", script)


def answering(result: ToolResult | CallError) -> CallTool:
    async def call(ref: ToolRef, arguments: object) -> ToolResult:
        if isinstance(result, CallError):
            raise result
        return result

    return call


OUTCOMES = [
    (ToolResult(b"{}"), "ok", False),
    (ToolResult(b"{}", is_error=True), "tool_error", True),
    (ToolResult(b"{}", replayed=True), "replayed", False),
    (ServerDown(ADD, "gone"), "server_down", True),
]


@pytest.mark.requirement("page.live")
@pytest.mark.parametrize(("result", "outcome", "failed"), OUTCOMES)
async def test_a_call_is_seen_while_it_runs_and_when_it_has_ended(
    result: ToolResult | CallError, outcome: str, failed: bool
) -> None:
    activity, who = Activity(), execution()
    seen_inside: list[str | None] = []

    async def call(ref: ToolRef, arguments: object) -> ToolResult:
        seen_inside.append(who.calls[0].outcome)
        return await answering(result)(ref, {})

    before = activity.version
    try:
        await activity.around(who, call)(ADD, {})
    except CallError:
        assert isinstance(result, CallError)
    assert seen_inside == [None]
    (call_seen,) = who.calls
    assert (call_seen.server, call_seen.tool, call_seen.outcome) == ("echo", "add", outcome)
    assert call_seen.failed is failed
    assert who.failures == failed
    assert who.outcome is None
    activity.ended(who, "success")
    assert next(activity.executions()) is who
    assert activity.version > before
    assert activity.calls_by_server()[0] == {"echo": 1}


async def test_a_clients_call_is_all_of_its_execution() -> None:
    activity, who = Activity(), execution(script=False)
    await activity.around(who, answering(ToolResult(b"{}")))(ADD, {})
    assert who.outcome == "ok"
    assert who.ms is not None


async def test_a_script_that_was_cancelled_has_ended() -> None:
    activity, who = Activity(), execution()
    activity.around(who, answering(ToolResult(b"{}")))
    activity.stopped(who)
    activity.stopped(who)
    assert who.outcome == "cancelled"


@pytest.mark.requirement("page.bounded")
async def test_what_is_kept_is_bounded() -> None:
    activity, running = Activity(), execution("running")
    call = activity.around(running, answering(ToolResult(b"{}")))
    for _ in range(KEPT_CALLS + 5):
        await call(ADD, {})
    for number in range(KEPT_EXECUTIONS + 5):
        one = execution(str(number))
        activity.around(one, call)
        activity.ended(one, "success")
    assert len(list(activity.executions())) == KEPT_EXECUTIONS
    assert activity.execution("running") is running, "one that runs is kept longest"
    assert (len(running.calls), running.count) == (KEPT_CALLS, KEPT_CALLS + 5)


@pytest.mark.requirement("page.values")
@pytest.mark.parametrize("values", [True, False])
async def test_arguments_are_kept_only_where_that_is_wanted_and_masked(values: bool) -> None:
    activity, who = Activity(), execution()
    activity.values, activity.mask = values, lambda text: text.replace("secret", "***")
    arguments: JsonObject = {"a": "secret", "b": "x" * 10_000}
    await activity.around(who, answering(ToolResult(b"{}")))(ADD, arguments)
    kept = who.calls[0].arguments
    assert kept.startswith('{"a":"***"') if values else kept == ""
    assert len(kept) <= 200


async def test_a_script_chooses_no_line_of_the_page() -> None:
    activity, who = Activity(), execution()
    name = "a\nb\x1b[2J\u202e" + "c" * 1000
    await activity.around(who, answering(ToolResult(b"{}")))(ToolRef(name, name), {})
    assert who.calls[0].tool.startswith("a b")
    assert len(who.calls[0].tool) <= 128


@given(st.lists(st.tuples(st.floats(0, 20_000), st.floats(0.01, 100_000), st.booleans())))
def test_the_figures_of_an_hour_are_those_of_its_calls(
    calls: list[tuple[float, float, bool]],
) -> None:
    now = 1_000_000.0
    history = History(lambda: now)
    begin, calls = now, sorted(calls)
    for at, ms, failed in calls:
        now = begin + at
        history.call(ms, failed=failed)
    figures = history.figures()
    assert len(figures.at) == BUCKETS
    assert figures.at == sorted(figures.at)
    first = (now // BUCKET_SECS - BUCKETS + 1) * BUCKET_SECS
    counted = [call for call in calls if begin + call[0] >= first]
    assert sum(figures.calls) == len(counted)
    assert sum(figures.failed) == sum(failed for _, _, failed in counted)
    for median, count in zip(figures.p50, figures.calls, strict=True):
        assert (median is None) is (count == 0)


@given(st.lists(st.floats(1, 250_000), min_size=1))
def test_quantiles_are_right_to_a_step(durations: list[float]) -> None:
    history = History(lambda: 0.0)
    for ms in durations:
        history.call(ms, failed=False)
    real = sorted(durations)[math.ceil(0.5 * len(durations)) - 1]
    told = history.figures().p50[-1]
    assert told is not None
    assert real / 1.05 <= told <= real * 1.55


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    now = 1_000_000.0
    history = History(lambda: now)
    history.call(1, failed=False)
    now -= 5000
    history.call(1, failed=False)
    assert sum(history.figures().calls) == 2


@pytest.mark.requirement("page.tokens")
async def test_tokens_are_counted_by_client_and_kind() -> None:
    tokens = ShownTokens()
    text = "find an issue about tokens " * 40
    tokens.sent("ide", "search", text.encode())
    tokens.sent("ide", "list", b"x" * 400, "public")
    tokens.spared("ide", 4000)
    shown = (await tokens.counted())["ide"]
    assert 150 < shown.tokens["search"] < len(text) / BYTES_A_TOKEN * 1.3
    assert shown.replies == {"search": 1, "list": 1}
    assert shown.lists == {"public": 1}
    assert shown.spared_bytes == 4000
    assert (await tokens.counted())["ide"].tokens == shown.tokens, "nothing is counted twice"


async def test_many_texts_and_many_clients_take_little_room() -> None:
    tokens = ShownTokens()
    for number in range(MAX_CLIENTS + 10):
        tokens.sent(str(number), "execute", b"x" * 100_000)
    shown = await tokens.counted()
    assert len(shown) == MAX_CLIENTS + 1
    assert shown[OTHER].replies["execute"] == 10
    assert shown[OTHER].estimated
