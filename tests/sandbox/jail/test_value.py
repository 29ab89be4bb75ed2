"""Values at the edge of a script: whatever comes, valid JSON leaves."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.sandbox.jail.script.report import shape, shapes
from mcproxy.sandbox.jail.script.value import MAX_DEPTH, Json, to_json, unwrap

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates(),
    st.decimals(), st.complex_numbers(), st.characters(categories=["Cs"]),
)  # fmt: skip
HASHABLE = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.dates())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner), st.sets(HASHABLE), st.dictionaries(HASHABLE, inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_any_value_becomes_json(value: object) -> None:
    converted, _ = to_json(value)
    assert json.loads(json.dumps(converted, allow_nan=False).encode()) == converted
    json.dumps(converted, ensure_ascii=False).encode()


JSONS = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=20,
)  # fmt: skip


@given(JSONS)
def test_json_stays_as_it_is(value: Json) -> None:
    assert to_json(value) == (value, [])


@given(JSONS)
def test_one_text_block_is_decoded(value: Json) -> None:
    block: Json = {"type": "text", "text": json.dumps(value)}
    assert unwrap({"content": [block]}) == value


def test_depth_is_bounded() -> None:
    value: list[object] = []
    for _ in range(5000):
        value = [value]
    converted, notes = to_json(value)
    assert json.dumps(converted).count("[") == MAX_DEPTH
    assert notes == ["converted to JSON: 1 too deep value -> text"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "an empty dict"),
        ([], "a list of 0"),
        ([{"a": 1}], "a list of 1 (a dict with keys 'a', …)"),
        ({"a": [1], "b": 2}, "a dict with keys 'a' (a list of 1), 'b'"),
        (dict.fromkeys(range(20), 0), "a dict with keys 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …"),
        ("abc", "text of 3 characters"),
        (None, "None"),
        (1.5, "float"),
    ],
)
def test_shapes_in_words(value: object, words: str) -> None:
    assert shape(value) == words


def test_only_plain_values_on_the_line_are_told() -> None:
    names = {"rows": [1], "other": {}, "f": len, "text": "x"}
    assert (
        shapes("f(rows)[text]", names)
        == "rows is a list of 1 (int, …); text is text of 1 characters"
    )
