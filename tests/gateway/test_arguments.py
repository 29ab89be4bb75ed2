"""Arguments of the meta-tools: what can only mean one thing is read, all else is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.gateway.arguments import (
    ArgumentFault,
    ExecuteArguments,
    SearchArguments,
    read_execute,
    read_search,
)
from mcproxy.types import Json, JsonObject

_SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANY: st.SearchStrategy[Json] = _SIMPLE


@pytest.mark.parametrize(
    ("given_", "read"),
    [
        ({"query": "x"}, SearchArguments("x", None, 2, None)),
        ({"query": "", "max_depth": "0", "limit": "50"}, SearchArguments("", None, 0, 50)),
        ({"query": "x", "max_depth": 3.0, "namespace": ""}, SearchArguments("x", None, 3, None)),
        ({"query": "x", "namespace": "a"}, SearchArguments("x", "a", 2, None)),
    ],
)
def test_search(given_: JsonObject, read: SearchArguments) -> None:
    assert read_search(given_) == read


@pytest.mark.parametrize(
    ("given_", "read"),
    [
        ({"code": "1"}, ExecuteArguments("1", None, None)),
        ({"code": "1", "timeout_secs": "2.5"}, ExecuteArguments("1", None, 2.5)),
        ({"code": "1", "timeout_secs": 3, "namespace": None}, ExecuteArguments("1", None, 3)),
    ],
)
def test_execute(given_: JsonObject, read: ExecuteArguments) -> None:
    assert read_execute(given_) == read


@pytest.mark.parametrize(
    "given_",
    [{"limit": "9" * 5000}, {"limit": "inf"}, {"max_depth": "nan"}, {"x" * 5_000_000: 1}],
    ids=["huge", "inf", "nan", "name"],
)
def test_what_is_odd_is_refused_in_few_words(given_: JsonObject) -> None:
    with pytest.raises(ArgumentFault) as caught:
        read_search({"query": "x", **given_})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("depth", "max_depth"),
        ("limits", "limit"),
        ("name_space", "namespace"),
        ("max_results", None),
        ("timeout", None),
    ],
)
def test_only_a_name_that_is_alike_is_suggested(name: str, meant: str | None) -> None:
    with pytest.raises(ArgumentFault) as caught:
        read_search({"query": "x", name: 1})
    assert ("Did you mean" in str(caught.value)) == (meant is not None)
    assert meant is None or f"Did you mean {meant!r}?" in str(caught.value)


@given(st.dictionaries(st.sampled_from(["query", "max_depth", "limit", "namespace", "x"]), ANY))
def test_search_reads_or_refuses(given_: dict[str, Json]) -> None:
    with contextlib.suppress(ArgumentFault):
        read = read_search(given_)
        assert 0 <= read.max_depth <= 3
        assert read.limit is None or 1 <= read.limit <= 50


@given(st.dictionaries(st.sampled_from(["code", "timeout_secs", "namespace", "x"]), ANY))
def test_execute_reads_or_refuses(given_: dict[str, Json]) -> None:
    with contextlib.suppress(ArgumentFault):
        read = read_execute(given_)
        assert read.code.strip()
        assert read.timeout_secs is None or read.timeout_secs > 0
