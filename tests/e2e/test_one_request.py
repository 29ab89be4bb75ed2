"""What one request costs in judgements and in files on its way, counted in a running gateway."""

import pytest

from bench.trace import SCRIPT, Calls, configuration, files, traced

MOST_FILES = 48
TEN_CALLS = f"for _ in range(10): {SCRIPT}"


def times(calls: Calls, file: str, name: str) -> int:
    """How often a function was entered."""
    return sum(
        count
        for function, count in calls.items()
        if (function.file, function.name.partition(":")[0]) == (file, name)
    )


@pytest.mark.requirement("access.once")
@pytest.mark.parametrize(
    ("asked", "judged"), [({}, 1), ({"namespace": "public"}, 2)], ids=["default", "argument"]
)
async def test_a_request_is_judged_once_for_each_namespace_that_it_names(
    asked: dict[str, str], judged: int
) -> None:
    calls = await traced(configuration(), code=TEN_CALLS, **asked)
    assert times(calls, "sandbox/bridge.py", "serve") > 0, "the trace sees the script"
    assert times(calls, "policy/access.py", "admit") == judged
    assert times(calls, "policy/access.py", "Identities.of") == judged


async def test_one_call_of_a_script_passes_through_few_files() -> None:
    assert len(files(await traced(configuration(), code=SCRIPT))) <= MOST_FILES
