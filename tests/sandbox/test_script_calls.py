"""Calls that fail and calls that are too many or too large, as the script sees them."""

from collections.abc import Awaitable, Callable

import pytest

from mcproxy.sandbox.pool import Pool
from mcproxy.types import Job, Limits, Outcome
from tests.sandbox.conftest import Tools

Run = Callable[..., Awaitable[Outcome]]

TOOL_ERRORS = {
    "no": ["tool_error", False, None],
    "busy": ["rate_limited", True, 1.5],
    "down": ["server_down", True, None],
    "unknown": ["unknown_tool", False, None],
}


@pytest.mark.requirement("api.tool_error")
@pytest.mark.parametrize("tool", TOOL_ERRORS)
@pytest.mark.parametrize("form", ["api.server('s').{}()", "await api.server('s').{}()"])
async def test_a_failing_call_can_be_caught(run: Run, tool: str, form: str) -> None:
    source = f"""
try:
    {form.format(tool)}
except ToolError as e:
    result = [e.code, e.retryable, e.retry_after, e.server, e.tool, e.message == str(e)]
"""
    outcome = await run(source)
    assert outcome.error is None
    assert outcome.value == [*TOOL_ERRORS[tool], "s", tool, True]
    assert [record.outcome for record in outcome.calls] == ["failed"]


@pytest.mark.requirement("api.tool_error")
@pytest.mark.parametrize(("failed", "code"), [(False, "upstream_error"), (True, "tool_error")])
async def test_invalid_json_of_a_server_is_a_tool_error(run: Run, failed: bool, code: str) -> None:
    source = f"""
try:
    api.server("s").garbage(failed={failed})
except ToolError as e:
    result = e.code
"""
    assert (await run(source)).value == code


@pytest.mark.requirement("preflight.bounded")
async def test_a_script_runs_where_its_calls_are_too_many_to_be_looked_at(
    tools: Tools, scripts: Pool
) -> None:
    others = "\n".join(f"    api.server('s').t(text={'x' * 90!r})" for _ in range(20))
    limits = Limits(argument_bytes=1000)
    job = Job(f"result = 1\nif not result:\n{others}", limits, reading="first")
    outcome = await scripts.run(job, tools)
    assert outcome.error is None
    assert outcome.value == 1


@pytest.mark.requirement("api.tool_error")
async def test_a_failing_call_that_is_not_caught(run: Run) -> None:
    outcome = await run("x = 1\nawait api.server('s').busy()")
    assert outcome.error is not None
    assert outcome.error.type == "ToolError"
    assert outcome.error.retryable
    assert outcome.error.line == 2
    assert "60 calls a minute" in outcome.error.message


@pytest.mark.requirement("api.call_limit")
async def test_calls_are_counted(run: Run, log: list[str]) -> None:
    source = """
codes = []
for i in range(5):
    try:
        api.server("s").echo()
    except ToolError as e:
        codes.append(e.code)
api.search("x")
codes
"""
    outcome = await run(source, Limits(max_calls=3))
    assert outcome.value == ["call_limit", "call_limit"]
    assert log.count(">echo") == 3
    assert len(outcome.calls) == 3


@pytest.mark.requirement("api.call_limit")
async def test_many_calls_too_many_are_all_answered(run: Run) -> None:
    source = """
async def one(i):
    try:
        return (await api.server("s").echo(i=i))["i"]
    except ToolError as e:
        return e.code
got = await asyncio.gather(*[one(i) for i in range(3000)])
[got.count("call_limit"), len(got)]
"""
    outcome = await run(source, Limits(max_calls=100, timeout_secs=20))
    assert outcome.error is None
    assert outcome.value == [2900, 3000]


@pytest.mark.requirement("api.argument_limit")
async def test_arguments_are_limited(run: Run, log: list[str]) -> None:
    source = (
        "try:\n    api.server('s').echo(x='y' * 2000)\nexcept ToolError as e:\n"
        "    result = [e.code, e.tool]"
    )
    outcome = await run(source, Limits(argument_bytes=1000))
    assert outcome.value == ["too_large", "echo"]
    assert log == []


@pytest.mark.requirement("api.value_limit")
async def test_values_are_limited(run: Run) -> None:
    source = (
        "try:\n    api.server('s').echo(x='y' * 2000)\nexcept ToolError as e:\n    result = e.code"
    )
    outcome = await run(source, Limits(value_bytes=1000))
    assert outcome.value == "too_large"


async def test_a_value_of_many_bytes_arrives(run: Run) -> None:
    outcome = await run("len(api.server('s').echo(x='\u00e9' * 400_000)['x'])")
    assert outcome.value == 400_000
