"""What one request costs in judgements and in files on its way, counted in a running gateway."""

import collections
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from bench.trace import DIRECT, ROUNDS, SCRIPT, Calls, configuration, files, traced
from mcproxy.config.load import load_document
from mcproxy.types import JsonObject
from tests.servers.remote_odd import Odd, serving

MOST_FILES = 38
MOST_ENTERED = 285  # functions of ours, of one direct call over a session; a wait counts twice
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


class Lookups:
    """Counts the modules that are looked for."""

    def __init__(self) -> None:
        self.names: collections.Counter[str] = collections.Counter()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        self.names[name] += 1
        return None


async def test_no_call_looks_for_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is missing is looked for at each import: through all folders, each time."""
    lookups = Lookups()
    monkeypatch.delitem(sys.modules, "sniffio", raising=False)
    monkeypatch.setattr(sys, "meta_path", [lookups, *sys.meta_path])
    async with serving(Odd()) as odd:
        far: JsonObject = {"far": {"url": odd.url}}
        await traced(load_document({"servers": far}), code='api.server("far").echo(a="x")')
    assert [name for name, times in lookups.names.items() if times >= ROUNDS] == []
