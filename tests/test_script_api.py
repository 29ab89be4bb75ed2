"""What a script's ``api`` has is one thing, wherever it is told: ``mcproxy.script_api`` says it."""

import inspect
import re
from ast import literal_eval

import pytest

from mcproxy.config.model import Results
from mcproxy.gateway.arguments import MAX_CODE_BYTES, read_search
from mcproxy.gateway.descriptions import definitions
from mcproxy.manifest.model import build
from mcproxy.manifest.stubs.python import python_stub
from mcproxy.manifest.stubs.typescript import typescript_stub
from mcproxy.sandbox.jail.script.api import OFFERED, Api
from mcproxy.sandbox.jail.script.hints import hint
from mcproxy.sandbox.jail.script.promise import ToolError
from mcproxy.script_api import FUNCTIONS, NAMES, SERVER, STASH, TOOL_ERROR, Function
from mcproxy.types import Limits
from tests.pages import ROOT, TOLD, rows_of

PAGE = ROOT / "docs/writing-scripts.md"
_CALLED = re.compile(r"\bapi\.(\w+)\(")

pytestmark = pytest.mark.requirement("api.surface")


def test_the_worker_offers_what_is_told() -> None:
    assert sorted(OFFERED) == sorted(NAMES)
    methods = vars(Api)
    assert {name for name in NAMES if name in methods or f"_{name}" in methods} == set(NAMES)


@pytest.mark.parametrize("function", [SERVER, *FUNCTIONS], ids=lambda function: function.name)
def test_the_worker_takes_the_parameters_that_are_told(function: Function) -> None:
    written = getattr(Api, f"_{function.name}" if function.sent else function.name)
    signature = inspect.signature(written)
    by_place = [each for each in function.parameters if not each.by_name]
    by_name = {each.name: each.default or "text" for each in function.parameters if each.by_name}
    signature.bind("self", *by_place, **by_name)
    named = {each.name for each in function.parameters}
    required = [
        name
        for name, parameter in list(signature.parameters.items())[1:]
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    assert set(required) <= named


def test_errors_have_the_facts_that_are_told() -> None:
    error = ToolError("no", server="s", tool="t", retry_after=1)
    assert sorted(vars(error)) == sorted(fact.name for fact in TOOL_ERROR)


def test_nothing_else_is_told_anywhere() -> None:
    """In the pages, and in the hints and messages of the program."""
    for path in (*TOLD, *(ROOT / "src").rglob("*.py")):
        found = _CALLED.findall(path.read_text(encoding="utf-8"))
        assert set(found) <= set(NAMES), path


def test_a_model_is_told_of_nothing_else() -> None:
    _, execute = definitions(("search", "execute"), [("calc", 2)], Limits(), "")
    told = set(_CALLED.findall(str(execute["description"])))
    assert told <= set(NAMES)
    assert told >= {"server", "call_tool", "search", "schema", "manifest"}


@pytest.mark.parametrize("name", [name for name in NAMES if name != STASH.name])
def test_a_name_without_api_is_put_right(name: str) -> None:
    assert hint("NameError", f"name '{name}' is not defined", "") == (
        f"It belongs to api: write api.{name}(...)."
    )


def test_the_stash_without_api_is_put_right() -> None:
    advice = 'It belongs to api: write api.stash["name"].'
    assert hint("NameError", "name 'stash' is not defined", "") == advice


@pytest.mark.parametrize("stub", [python_stub, typescript_stub])
def test_stubs_have_all_of_it(stub: object) -> None:
    assert callable(stub)
    text = stub(build([]))
    for name in (*NAMES, *(fact.name for fact in TOOL_ERROR)):
        assert re.search(rf"\b{name}\b", text), name
    assert all(function.meaning in text for function in FUNCTIONS)


def test_the_defaults_told_are_those_in_force() -> None:
    [search] = [function for function in FUNCTIONS if function.name == "search"]
    told = {each.name: literal_eval(each.default) for each in search.parameters if each.default}
    meant = read_search({"query": "x"})
    assert told == {"max_depth": meant.max_depth, "limit": meant.limit}


def test_the_page_says_the_limits() -> None:
    rows = {limit: default for limit, default, _ in rows_of(PAGE, "Limits")}
    limits = Limits()
    assert rows == {
        "time": f"{limits.timeout_secs:g} s",
        "memory": f"{limits.memory_mb} MiB",
        "calls": f"{limits.max_calls}",
        "network": "none",
        "files": f"a scratch folder of {limits.scratch_mb} MiB",
        "code": f"{MAX_CODE_BYTES >> 10} KiB",
    }
    assert f"A reply has at most {Results().inline_kb} KiB" in PAGE.read_text(encoding="utf-8")


def test_the_page_says_what_each_does() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for function in (SERVER, *FUNCTIONS, STASH):
        assert f"| `{function.usage}` | {function.meaning} |" in page
    for fact in TOOL_ERROR:
        assert f"| `e.{fact.name}` | {fact.meaning} |" in page
