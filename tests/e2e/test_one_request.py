"""What one request costs in judgements and in files on its way, counted in a running gateway."""

import pytest

from bench.trace import DIRECT, SCRIPT, Calls, configuration, files, traced

MOST_FILES = 39
MOST_ENTERED = 316  # functions of ours, of one direct call over a session; waits count twice
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
    ("asked", "judged"), [({}, 0), ({"namespace": "public"}, 1)], ids=["default", "argument"]
)
async def test_a_request_is_judged_once_for_each_namespace_that_its_connection_has_not_named(
    asked: dict[str, str], judged: int
) -> None:
    calls = await traced(configuration(), code=TEN_CALLS, **asked)
    assert times(calls, "sandbox/bridge.py", "serve") > 0, "the trace sees the script"
    assert times(calls, "policy/access.py", "admit") == judged
    assert times(calls, "policy/access.py", "Identities.of") == judged


async def test_one_call_of_a_script_passes_through_few_files() -> None:
    assert len(files(await traced(configuration(), code=SCRIPT))) <= MOST_FILES


async def test_one_direct_call_is_few_functions() -> None:
    both = configuration(namespaces={"public": {"mode": "both"}})
    calls = await traced(both, DIRECT, a=1, b=2)
    assert times(calls, "policy/access.py", "admit") == 0
    assert sum(calls.values()) <= MOST_ENTERED
