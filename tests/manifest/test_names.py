"""Which tool a name means, and how a call is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.call_errors import CallError
from mcproxy.manifest.model import build, find_tool
from mcproxy.manifest.names import Ambiguous, call_line, name_forms, resolve
from mcproxy.manifest.schema import MAX_NAME_CHARS
from mcproxy.manifest.spelling import near
from mcproxy.types import ServerView, Tool, ToolRef
from tests.manifest.samples import tool


@pytest.mark.requirement("api.name_forms")
@pytest.mark.parametrize("asked", ["repos.list", "repos_list", "repos-list", "reposList"])
@pytest.mark.parametrize("real", ["repos.list", "repos_list", "repos-list", "reposList"])
def test_four_forms_are_one_name(asked: str, real: str) -> None:
    assert resolve(name_forms([real, "repos_get"]), asked) == real


@pytest.mark.parametrize(
    ("names", "asked", "meant"),
    [
        (["repos.list", "repos_list"], "repos_list", "repos_list"),
        (["repos.list", "repos_list"], "reposList", Ambiguous(("repos.list", "repos_list"))),
        (["API-get-user"], "api_get_user", "API-get-user"),
        (["getHTTPPage"], "get_http_page", "getHTTPPage"),
        (["odd name"], "odd name", "odd name"),
        (["odd name"], "odd_name", "odd name"),
        (["天气"], "天气", "天气"),
        (["!!"], "!!", "!!"),
        (["!!"], "??", None),
        (["repos_list"], "reposlist", "repos_list"),
        (["get-36kr-trending"], "get36krTrending", "get-36kr-trending"),
        (["repos_list", "repo_slist"], "reposlist", None),
        (["repos_list", "reposlist"], "reposlist", "reposlist"),
        (["repos_list"], "list_repos", None),
        ([], "anything", None),
        (["list"], "", None),
    ],
)
def test_resolve(names: list[str], asked: str, meant: str | Ambiguous | None) -> None:
    assert resolve(name_forms(names), asked) == meant


@given(st.lists(st.text(), unique=True))
def test_an_exact_name_is_always_itself(names: list[str]) -> None:
    forms = name_forms(names)
    assert [resolve(forms, name) for name in names] == names


TOOLS = ["list_repos", "create_issue", "get_issue", "search_code", "github_get_user"]


@pytest.mark.requirement("errors.did_you_mean")
@pytest.mark.parametrize(
    ("asked", "best"),
    [
        ("lst_repos", "list_repos"),
        ("listrepos", "list_repos"),
        ("repos_list", "list_repos"),
        ("serach_code", "search_code"),
        ("createIssues", "create_issue"),
        ("get_user", "github_get_user"),
        ("github_create_issue", "create_issue"),
    ],
)
def test_near_names(asked: str, best: str) -> None:
    assert near(asked, TOOLS)[0] == best


def test_nothing_is_near_to_something_else() -> None:
    assert near("send_email", TOOLS) == []


SEVERAL = tuple(Tool(ToolRef("s", name), {"name": name}) for name in ("one", "two", "three"))


@pytest.mark.requirement("calls.long_names")
@pytest.mark.parametrize("name", ["z" * 1_000_000, "aB" * 500_000, "a_b." * 250_000])
def test_a_name_of_a_megabyte_takes_no_time_and_little_room(name: str) -> None:
    manifest = build([ServerView(f"s{number}", "ready", "", SEVERAL) for number in range(20)])
    for asked in (ToolRef("s1", name), ToolRef(name, "t")):
        with pytest.raises(CallError) as caught:
            find_tool(manifest, asked)
        assert len(caught.value.message) < 2000
    assert near(name, TOOLS * 100) == []


def test_a_long_name_that_exists_is_found() -> None:
    long = "x" * MAX_NAME_CHARS
    view = ServerView("s", "ready", "", (Tool(ToolRef("s", long), {"name": long}),))
    assert find_tool(build([view]), ToolRef("s", long)).ref.tool == long


@pytest.mark.requirement("search.call_line")
@pytest.mark.parametrize(
    ("name", "parameters", "line"),
    [
        ("list_repos", {"page": "", "owner": "required"}, ".list_repos(owner, page?)"),
        ("repos.list", {}, ".repos.list()"),
        ("odd name", {"q": "required"}, '["odd name"](q)'),
        ("merge-pr", {}, '["merge-pr"]()'),
        ("import", {}, '["import"]()'),
        ("_hidden", {}, '["_hidden"]()'),
        ('say "hi"', {}, r'["say \"hi\""]()'),
        ("copy", {"from": "required", "to-file": ""}, '.copy({"from", "to-file"?})'),
        ("wide", dict.fromkeys("abcdefghij", ""), ".wide(a?, b?, c?, d?, e?, f?, g?, h?, …)"),
    ],
)
def test_call_line(name: str, parameters: dict[str, str], line: str) -> None:
    assert call_line(tool("x", name, **parameters)) == f'await api.server("x"){line}'


def test_call_line_of_a_tool_without_a_schema() -> None:
    assert call_line(Tool(ToolRef("x", "go"), {"name": "go"})) == 'await api.server("x").go()'


def test_all_required_parameters_are_shown() -> None:
    line = call_line(tool("x", "wide", **dict.fromkeys("abcdefghijkl", "required"), z=""))
    assert line.endswith("(a, b, c, d, e, f, g, h, i, j, k, l, …)")
