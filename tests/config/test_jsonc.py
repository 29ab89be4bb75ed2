"""JSON with comments: same document, same places, no new ways to be wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.config.jsonc import MAX_DEPTH, parse, plain
from mcproxy.types import Json

scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
documents: st.SearchStrategy[Json] = st.recursive(
    scalars.filter(lambda value: value not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
BETWEEN = ["", " ", "\n", "\r\n", '// note, " } ]\n', '/* "a": [1,], // */', "/**/", "\t/* \n */ "]


def decorated(value: Json, noise: st.DataObject) -> str:
    """Write ``value`` with comments between all tokens and commas after all last members."""

    def gap() -> str:
        return noise.draw(st.sampled_from(BETWEEN))

    if isinstance(value, list):
        items = [gap() + decorated(item, noise) + gap() for item in value]
        comma = noise.draw(st.sampled_from(["", ","])) if items else ""
        return f"[{','.join(items)}{comma}{gap()}]"
    if isinstance(value, dict):
        members = [
            f"{gap()}{json.dumps(key)}{gap()}:{gap()}{decorated(item, noise)}{gap()}"
            for key, item in value.items()
        ]
        comma = noise.draw(st.sampled_from(["", ","])) if members else ""
        return f"{{{','.join(members)}{comma}{gap()}}}"
    return json.dumps(value)


@given(documents, st.data())
def test_comments_and_trailing_commas_change_nothing(value: Json, noise: st.DataObject) -> None:
    text = decorated(value, noise)
    assert parse(text).value == value
    assert not parse(text).problems


@given(documents, st.data())
def test_plain_text_has_the_same_places(value: Json, noise: st.DataObject) -> None:
    text = decorated(value, noise)
    result = plain(text)
    assert len(result) == len(text)
    breaks = [index for index, character in enumerate(text) if character in "\r\n"]
    assert [index for index, character in enumerate(result) if character in "\r\n"] == breaks


@given(documents)
def test_plain_json_is_left_as_it_is(value: Json) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    assert plain(text) == text


@given(st.text(alphabet='{}[],:"\\/* \n1a'))
def test_any_text_gives_a_value_or_a_problem(text: str) -> None:
    parsed = parse(text)
    assert len(plain(text)) == len(text)
    assert parsed.problems or parsed.value == json.loads(plain(text))


@pytest.mark.requirement("config.comments")
def test_the_strings_of_a_document_are_not_comments() -> None:
    text = '{"url": "https://x.org/*y*/", "glob": "a,]", /* c */ "quote": "\\"//", }  // end'
    expected = {"url": "https://x.org/*y*/", "glob": "a,]", "quote": '"//'}
    assert parse(text).value == expected


SYNTAX = {
    '{\n  "a": 1\n  "b": 2}': (
        "line 3, column 3: not valid JSON: Expecting ',' delimiter "
        "(a comma or a closing bracket is missing before this place)"
    ),
    "{'a': 1}": (
        "line 1, column 2: not valid JSON: Expecting property name enclosed in double quotes "
        '(keys stand in double quotes: {"key": "value"})'
    ),
    "// only a comment": (
        "line 1, column 18: not valid JSON: Expecting value (a string in double quotes, a number, "
        "true, false, null, [ or { goes here)"
    ),
    '{"a" /* : */ 1}': (
        "line 1, column 14: not valid JSON: Expecting ':' delimiter "
        "(a key is followed by a colon and its value)"
    ),
    '{"a": "b}': (
        "line 1, column 7: not valid JSON: Unterminated string starting at "
        "(close the string with a double quote)"
    ),
    '{"a": 1} }': (
        "line 1, column 10: not valid JSON: Extra data "
        "(the document ends before this place; a bracket may be closed too early)"
    ),
    '{"a": NaN}': "not valid JSON: NaN is not a JSON value; write a number or null",
    '{"a": {"b": 1, "c": 2, "b": 3}}': "a.b: this key stands twice (keep one of the two)",
    '[{"x": 1, "x": 1}]': "[0].x: this key stands twice (keep one of the two)",
}


@pytest.mark.parametrize("text", SYNTAX)
def test_a_syntax_error_says_where_and_what_to_do(text: str) -> None:
    assert [str(problem) for problem in parse(text).problems] == [SYNTAX[text]]


@pytest.mark.parametrize(
    "text", ["[,]", "[1,,]", "{,}", "/* never closed", '{"a": 1 /* }', "[1 2]"]
)
def test_what_is_no_json_with_comments_is_refused(text: str) -> None:
    assert parse(text).problems


@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 100_000])
def test_deep_nesting_is_a_problem_and_no_crash(depth: int) -> None:
    assert parse("[" * depth + "]" * depth).problems
