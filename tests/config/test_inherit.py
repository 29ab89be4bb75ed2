"""The order of inheritance, cycles, and the merging of settings."""

from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.config.inherit import cycles, env_isolated, lineage, with_defaults
from mcproxy.config.load import load_document
from mcproxy.types import Json, JsonObject

names = st.sampled_from("abcdefgh")
any_parents = st.dictionaries(names, st.lists(names, max_size=3).map(tuple))


@st.composite
def acyclic(draw: st.DrawFn) -> Mapping[str, tuple[str, ...]]:
    """Each namespace may extend those before it in the alphabet."""
    found: dict[str, tuple[str, ...]] = {"a": ()}
    for index, name in enumerate("bcdefgh", start=1):
        earlier = st.sampled_from("abcdefgh"[:index])
        found[name] = draw(st.lists(earlier, max_size=3, unique=True).map(tuple))
    return found


def reachable(parents: Mapping[str, tuple[str, ...]], name: str) -> set[str]:
    """The definition, by brute force."""
    found = {name}
    for _ in range(len(parents) + 1):
        found |= {parent for each in found for parent in parents.get(each, ())}
    return found


def test_a_shared_ancestor_comes_after_all_who_extend_it() -> None:
    diamond = {"x": ("a", "b"), "a": ("base",), "b": ("base",), "base": ()}
    assert lineage(diamond, "x") == ("x", "a", "b", "base")


@given(any_parents, names)
def test_lineage_is_what_is_reachable_even_in_cycles(
    parents: Mapping[str, tuple[str, ...]], name: str
) -> None:
    line = lineage(parents, name)
    assert line[0] == name
    assert len(line) == len(set(line))
    assert set(line) == reachable(parents, name)


@given(acyclic(), names)
def test_whoever_extends_comes_first(parents: Mapping[str, tuple[str, ...]], name: str) -> None:
    line = lineage(parents, name)
    for each in line:
        assert all(line.index(each) < line.index(parent) for parent in parents[each])


@given(acyclic())
def test_no_cycle_is_seen_where_there_is_none(parents: Mapping[str, tuple[str, ...]]) -> None:
    assert list(cycles(parents)) == []


@given(any_parents)
def test_cycles_are_real_and_none_is_overlooked(parents: Mapping[str, tuple[str, ...]]) -> None:
    found = list(cycles(parents))
    for path in found:
        assert path[0] == path[-1]
        assert all(parent in parents[name] for name, parent in pairwise(path))
    in_a_cycle = {
        name
        for name, own in parents.items()
        if any(name in reachable(parents, parent) for parent in own)
    }
    assert {name for path in found for name in path} == in_a_cycle


settings_of = st.dictionaries(
    st.sampled_from("abc"),
    st.integers()
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.sampled_from("xy"), st.integers()),
)


@given(settings_of, settings_of)
def test_settings_win_over_defaults_key_by_key(one: JsonObject, other: JsonObject) -> None:
    merged = with_defaults(one, other)
    assert merged.keys() == one.keys() | other.keys()
    for key, value in merged.items():
        mine, theirs = one.get(key), other.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            assert value == {**theirs, **mine}
        else:
            assert value == (mine if key in one else theirs)


@given(settings_of)
def test_merging_with_nothing_and_with_itself_changes_nothing(one: JsonObject) -> None:
    assert with_defaults(one, {}) == with_defaults({}, one) == with_defaults(one, one) == one


ISOLATION: dict[str, tuple[Json, Json, Json, bool]] = {
    # global, namespace, server -> isolated
    "default": ({}, {}, {}, True),
    "global": ({"env_isolation": False}, {}, {}, False),
    "namespace over global": ({"env_isolation": False}, {"env_isolation": True}, {}, True),
    "server over namespace": ({}, {"env_isolation": True}, {"env_isolation": False}, False),
    "null inherits": ({"env_isolation": False}, {}, {"env_isolation": None}, False),
}


@pytest.mark.parametrize("title", ISOLATION)
@pytest.mark.parametrize("listed", [True, False])
def test_a_server_is_isolated_as_the_nearest_setting_says(title: str, listed: bool) -> None:
    everywhere, parent, own, expected = ISOLATION[title]
    server: JsonObject = {"command": "c", "sandbox": own}
    document: JsonObject = {
        "sandbox": everywhere,
        "namespaces": {
            "base": {"sandbox": parent},
            "child": {"extends": "base", "servers": ["x"] if listed else []},
        },
        "servers": {"x": server if listed else {**server, "namespace": "child"}},
    }
    assert env_isolated(load_document(document).config, "x") == expected
