"""Names towards clients: unique, valid, and the same whatever else is there."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.gateway.names import Item, aliases, item_of

NAMES = st.text(min_size=1, max_size=80) | st.from_regex(r"[a-z_]{1,4}", fullmatch=True)
ITEMS = st.lists(st.tuples(NAMES, NAMES), max_size=30)
VALID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@pytest.mark.requirement("direct.names")
@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (("time", "convert"), "time__convert"),
        (("time", "get-now"), "time__get-now"),
        (("a.b", "x"), r"a_b__x_[0-9a-f]{8}"),
        (("git", "repos/list all"), r"git__repos_list_all_[0-9a-f]{8}"),
        (("s", "x" * 61), "s__" + "x" * 61),
        (("s", "x" * 62), "s__" + "x" * 52 + "_[0-9a-f]{8}"),
        (("a__b", "c"), r"a__b__c_[0-9a-f]{8}"),
        (("a", "_c"), r"a___c_[0-9a-f]{8}"),
        (("werkzeug", "größe"), r"werkzeug__gr_e_[0-9a-f]{8}"),
    ],
)
def test_one_name(item: Item, expected: str) -> None:
    (name,) = aliases([item])
    assert re.fullmatch(expected, name)


@pytest.mark.requirement("direct.bare")
def test_bare_names() -> None:
    items = [("x", "list"), ("y", "list"), ("x", "a__get"), ("a", "get"), ("x", "search")]
    names = {item: name for name, item in aliases(items, {"x", "y"}, {"search"}).items()}
    assert names == {
        ("x", "list"): "list",
        ("y", "list"): "y__list",  # the later one keeps its prefix
        ("x", "a__get"): "x__a__get",  # it must not take another server's place
        ("a", "get"): "a__get",
        ("x", "search"): "x__search",
    }


@given(ITEMS, st.sets(NAMES))
def test_names_are_valid_and_lead_back(items: list[Item], bare: set[str]) -> None:
    named = aliases(items, bare)
    assert all(VALID.fullmatch(name) for name in named)
    assert list(named.values()) == list(dict.fromkeys(items))


@given(ITEMS, ITEMS)
def test_names_do_not_depend_on_other_servers(items: list[Item], others: list[Item]) -> None:
    alone = aliases(items)
    together = aliases([*others, *items])
    assert alone.items() <= together.items()


def test_a_name_made_to_look_like_an_alias_takes_no_place() -> None:
    (alias,) = aliases([("a.b", "x")])
    server, _, tool = alias.partition("__")
    names = aliases([("a.b", "x"), (server, tool)])
    assert len(names) == 2
    assert names[alias] == ("a.b", "x")


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (("time", "convert"), "convert"),
        (("time", "b__c"), "b__c"),
        (("a__b", "c"), "c_[0-9a-f]{8}"),
        (("a.b", "x"), "x_[0-9a-f]{8}"),
        (("time", "repos/list all"), "repos_list_all_[0-9a-f]{8}"),
    ],
)
def test_a_name_tells_its_server_and_most_of_the_tool(item: Item, told: str) -> None:
    (name,) = aliases([item])
    found = item_of(name, ["a", "a__b", "a.b", "time"])
    assert found
    assert found[0] == item[0]
    assert re.fullmatch(told, found[1])


def test_a_bare_name_tells_no_server() -> None:
    assert item_of("list", ["a", "list"]) is None
