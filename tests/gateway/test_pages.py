"""Pages of tools in one namespace: whose they are, and by which names pages call tools."""

import pytest

from mcproxy.gateway.extensions.pages import for_models, page_of, pages_of
from mcproxy.types import Json, JsonObject, Tool, ToolRef


def tool(server: str, name: str, ui: Json = None, **meta: Json) -> Tool:
    shown: JsonObject = {**meta, **({} if ui is None else {"ui": ui})}
    return Tool(ToolRef(server, name), {"name": name, "_meta": shown})


SAME: JsonObject = {"resourceUri": "ui://board"}
ODD: list[Json] = [{}, [], "ui://x", {"resourceUri": 3}, {"resourceUri": "https://x"}]


@pytest.mark.parametrize("ui", ODD)
def test_what_is_no_page_is_none(ui: Json) -> None:
    assert page_of(tool("a", "t", ui)) is None
    assert not pages_of([tool("a", "t", ui)]).shown


def test_the_older_form_is_understood_and_shown_in_the_newer_where_it_changes() -> None:
    old = tool("a", "t", **{"ui/resourceUri": "ui://board"})
    assert pages_of([old]).definition(old) is old.definition
    both = pages_of([old, tool("b", "t", SAME)])
    assert both.definition(old)["_meta"] == {"ui": {"resourceUri": "ui://a/board"}}


@pytest.mark.requirement("apps.owner")
def test_no_server_can_take_the_place_of_a_page_of_another() -> None:
    claimed = tool("evil", "t", {"resourceUri": "ui://a/board"})
    tools = [tool("a", "t", SAME), tool("b", "t", SAME), claimed]
    pages = pages_of(tools)
    assert [pages.owners[uri] for uri in pages.shown.values()] == list(pages.shown)
    assert len(set(pages.shown.values())) == 3
    assert pages.shown["evil", "ui://a/board"] == "ui://a/board"
    assert "ui://board" not in pages.owners, "it would be in doubt whose it is"


@pytest.mark.requirement("apps.visibility")
def test_pages_call_tools_by_their_own_names_unless_two_servers_have_one() -> None:
    only: JsonObject = {"visibility": ["app"]}
    tools = [
        *(tool("a", "go", only), tool("b", "go", only), tool("b", "stay", {**SAME})),
        *(tool("a", "think", {**SAME, "visibility": ["model"]}), tool("a", "plain")),
    ]
    assert pages_of(tools).callable.keys() == {"stay"}
    assert [for_models(each) for each in tools] == [False, False, True, True, True]
