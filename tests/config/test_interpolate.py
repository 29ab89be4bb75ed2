"""Variables in string values: what is replaced, what is missing, what is secret."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.config.interpolate import FoundVariable, fill, fill_text
from mcproxy.types import Json, JsonObject

names = st.text(string.ascii_uppercase + "_", min_size=1, max_size=8)
plain_texts = st.text().filter(lambda text: "$" not in text)
variables = st.dictionaries(names, st.text(), max_size=5)

CASES = {
    "${USER}": "ada",
    "Bearer ${USER}-${HOST}": "Bearer ada-host1",
    "${NOBODY:-guest}": "guest",
    "${USER:-guest}": "ada",
    "${EMPTY:-guest}": "guest",
    "${EMPTY}": "",
    "${NOBODY:-}": "",
    "${NOBODY:-http://x:1/${USER}": "http://x:1/${USER",
    "$USER": "$USER",
    "$${USER}": "${USER}",
    "$${USER:-x}": "${USER:-x}",
    "${}": "${}",
    "${input:token}": "${input:token}",
    "${NOBODY}": "${NOBODY}",
    "$": "$",
}


@pytest.mark.requirement("config.variables")
@pytest.mark.parametrize("text", CASES)
def test_one_text(text: str) -> None:
    assert fill_text(text, {"USER": "ada", "HOST": "host1", "EMPTY": ""}) == CASES[text]


@given(plain_texts, variables)
def test_text_without_a_variable_stays(text: str, values: dict[str, str]) -> None:
    assert fill_text(text, values) == text


@given(names, st.text(), plain_texts, plain_texts)
def test_a_value_is_put_in_whole_and_never_read_again(
    name: str, value: str, before: str, after: str
) -> None:
    assert fill_text(f"{before}${{{name}}}{after}", {name: value}) == before + value + after


@given(names, st.text().filter(lambda text: "}" not in text), variables)
def test_the_default_stands_in_for_nothing_and_for_empty(
    name: str, default: str, values: dict[str, str]
) -> None:
    assert fill_text(f"${{{name}:-{default}}}", values) == (values.get(name) or default)


@given(names, variables)
def test_an_escaped_variable_is_text(name: str, values: dict[str, str]) -> None:
    assert fill_text(f"$${{{name}}}", values) == f"${{{name}}}"


@given(st.sets(names), variables)
def test_every_missing_variable_is_named_with_its_place(
    wanted: set[str], values: dict[str, str]
) -> None:
    document: JsonObject = {"list": [f"${{{name}}}" for name in sorted(wanted)]}
    expected = [
        FoundVariable(("list", index), name)
        for index, name in enumerate(sorted(wanted))
        if name not in values
    ]
    assert list(fill(document, values).missing) == expected


def test_only_values_are_filled_in_at_any_depth() -> None:
    filled = fill({"${A}": [{"x": "${A}"}, 1, None, True]}, {"A": "value"})
    assert filled.document == {"${A}": [{"x": "value"}, 1, None, True]}


def test_secrets_are_the_values_that_variables_brought() -> None:
    document: JsonObject = {
        "a": "${TOKEN}",
        "b": "${PORT}",
        "c": "${MODE:-plain-text}",
        "d": "literal-text",
    }
    filled = fill(document, {"TOKEN": "sk-123456", "PORT": "8080", "UNUSED": "never-asked-for"})
    assert filled.secrets == {"sk-123456"}


def test_another_form_of_variable_is_reported() -> None:
    filled = fill({"a": ["${input:key} ${B}", "$${input:key}"]}, {"B": "b"})
    assert filled.unread == (FoundVariable(("a", 0), "${input:key}"),)
    assert filled.document == {"a": ["${input:key} b", "$${input:key}"]}


# Values that look like variables, so that one that is read again shows.
VALUES = {"A": "${B}", "B": "$${A} ${C:-x}", "C": "}${A", "EMPTY": "", "UNASKED": "unasked-for-1"}
PIECES: dict[str, str] = {  # what is written -> what it stands for
    "${A}": VALUES["A"],
    "${B}": VALUES["B"],
    "${C:-d}": VALUES["C"],
    "${EMPTY:-d}": "d",
    "${NONE:-${A}": "${A",
    "${NONE}": "${NONE}",
    "$${A}": "${A}",
    "$${NONE:-d}": "${NONE:-d}",
    "plain $A }": "plain $A }",
}


@pytest.mark.requirement("config.variables")
@given(st.lists(st.sampled_from([*PIECES])))
def test_a_text_is_filled_piece_by_piece_and_once(pieces: list[str]) -> None:
    assert fill_text(" ".join(pieces), VALUES) == " ".join(PIECES[piece] for piece in pieces)


documents = st.recursive(
    st.sampled_from([*PIECES]) | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*PIECES]), inner),
    max_leaves=12,
)


@pytest.mark.requirement("config.variables")
@given(st.dictionaries(st.sampled_from("xyz"), documents))
def test_a_document_keeps_its_shape_and_gets_only_what_it_names(document: JsonObject) -> None:
    filled = fill(document, VALUES)
    assert shape(filled.document) == shape(document)
    assert "unasked-for-1" not in str(filled)
    named = {name for text in texts(document) for name in VALUES if names_it(text, name)}
    assert filled.secrets == {VALUES[name] for name in named if len(VALUES[name]) >= 6}


def names_it(text: str, name: str) -> bool:
    """Does one of the pieces ask for the variable? What stands in a default is text."""
    return re.search(rf"(?<!\$)\${{{name}[:}}]", text) is not None and text != "${NONE:-${A}"


def shape(value: Json) -> Json:
    """The value without its texts; keys are part of the shape."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return "" if isinstance(value, str) else value


def texts(value: Json) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []
