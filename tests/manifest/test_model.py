"""The manifest's making, its slices, and what is shared between them."""

import pytest
from msgspec.structs import replace

from mcproxy.call_errors import UnknownServer, UnknownTool
from mcproxy.manifest.categories import categorise
from mcproxy.manifest.model import build, find_tool, outline, schema
from mcproxy.types import ToolRef
from tests.manifest.samples import github, many, tool, two_servers, view, weather


def test_a_change_of_one_server_leaves_the_parts_of_the_others() -> None:
    before = build(many(3, 4))
    changed = [*many(2, 4), view("server-002", tool("server-002", "other"))]
    after = build(changed, before)
    assert after.parts["server-000"] is before.parts["server-000"]
    assert after.parts["server-001"] is before.parts["server-001"]
    assert after.parts["server-002"].index is not before.parts["server-002"].index


def test_a_change_of_state_alone_indexes_nothing() -> None:
    before = build([github()])
    after = build([github("failed")], before)
    assert after.servers["github"].state == "failed"
    assert after.parts["github"].index is before.parts["github"].index


def test_where_nothing_has_changed_the_manifest_is_the_same() -> None:
    before = build(many(3, 4))
    assert build(many(3, 4), before) is before
    assert build(many(2, 4), before) is not before
    assert build([*many(3, 4)[1:], many(1, 4)[0]], before) is not before  # another order


@pytest.mark.requirement("search.off_the_loop")
def test_what_was_searched_before_is_made_searchable_ahead() -> None:
    before = build([github(), weather(), view("empty")])
    before.visible_to({"weather"}).make_searchable()
    before.visible_to({"github"})
    after = build([github(), weather(), view("empty", tool("empty", "now"))], before)
    assert after.as_searched_as(before) is after
    assert after.visible_to({"weather"}).searchable
    assert not after.visible_to({"github"}).searchable
    assert not after.searchable
    assert after.visible_to({"weather"}) is after.visible_to(["weather"])


def test_a_changed_description_is_indexed() -> None:
    before = build([github()])
    after = build([replace(github(), description="Zeppelins")], before)
    assert "zeppelin" in after.lexicon.server_terms


def test_a_slice_shares_the_parts_and_hides_the_rest() -> None:
    whole = two_servers()
    part = whole.visible_to({"weather", "unheard-of"})
    assert list(part.servers) == ["weather"]
    assert part.tool_count == 3
    assert part.parts["weather"] is whole.parts["weather"]
    assert whole.visible_to(["weather", "github"]) is whole
    assert "repository" not in part.lexicon.written


@pytest.mark.requirement("api.name_forms")
def test_find_tool_takes_every_form() -> None:
    for name in ("repos.list", "repos_list", "repos-list", "reposList"):
        assert find_tool(two_servers(), ToolRef("github", name)).ref.tool == "repos.list"


@pytest.mark.requirement("errors.did_you_mean")
def test_an_unknown_tool_comes_with_the_call_that_was_meant() -> None:
    with pytest.raises(UnknownTool) as caught:
        find_tool(two_servers(), ToolRef("github", "list_repo"))
    assert 'Did you mean await api.server("github").repos.list(owner, page?)?' in str(caught.value)


def test_a_tool_of_another_server_is_pointed_out() -> None:
    with pytest.raises(UnknownTool) as caught:
        find_tool(two_servers(), ToolRef("github", "get_alerts"))
    assert 'api.server("weather").getAlerts(region?)' in str(caught.value)


def test_an_ambiguous_name_is_refused_with_the_exact_ones() -> None:
    manifest = build([view("x", tool("x", "a.b"), tool("x", "a_b"))])
    assert find_tool(manifest, ToolRef("x", "a_b")).ref.tool == "a_b"
    with pytest.raises(UnknownTool) as caught:
        find_tool(manifest, ToolRef("x", "aB"))
    assert "'a.b', 'a_b'" in str(caught.value)


@pytest.mark.requirement("errors.did_you_mean")
def test_an_unknown_server_comes_with_the_known_ones() -> None:
    with pytest.raises(UnknownServer) as caught:
        find_tool(two_servers(), ToolRef("gihtub", "x"))
    assert "Did you mean 'github'? Servers: github, weather." in str(caught.value)


@pytest.mark.requirement("namespaces.unseen_is_unknown")
def test_what_is_out_of_sight_is_unknown_in_the_same_words() -> None:
    seen = two_servers().visible_to(["weather"])
    messages = set()
    for manifest in (seen, build([weather()])):
        with pytest.raises(UnknownServer) as caught:
            find_tool(manifest, ToolRef("github", "repos.list"))
        messages.add(str(caught.value))
    assert len(messages) == 1


@pytest.mark.requirement("api.schema")
def test_schema_is_the_whole_definition() -> None:
    definition = schema(two_servers(), "github", "createIssue")
    assert definition == dict(github().tools[1].definition)


def test_outline_names_tools() -> None:
    assert outline(two_servers().parts["weather"]) == {
        "description": "Weather of the world.",
        "tools": ["get_forecast", "getAlerts", "天气查询"],
    }


@pytest.mark.parametrize(
    ("tools", "nouns"),
    [
        (["create_issue", "list_issues", "mergePullRequest"], ("issue",)),
        (["read_file", "write_file", "list_directory"], ("file", "directory")),
        (["list", "get"], ()),
        ([], ()),
    ],
)
def test_categories_are_the_nouns_of_the_tools(tools: list[str], nouns: tuple[str, ...]) -> None:
    assert categorise("x", tools) == nouns
