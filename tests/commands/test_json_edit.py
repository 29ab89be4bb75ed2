"""Members are set and taken out; comments, order and all else stay."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.commands.json_edit import find, with_members, without
from mcproxy.commands.layout import layout
from mcproxy.config import jsonc

TEXT = """{
  // what they use
  "theme": "dark", // by taste
  "servers": {
    // the first, "not": {a member}
    "a": {"command": "x"}, // mine
    "b": {
      "command": "y" // of b
    }
  },
  "last": 1
}
"""


def test_a_member_goes_with_its_line_and_nothing_else() -> None:
    assert without(TEXT, ("servers", "a")) == TEXT.replace(
        '    "a": {"command": "x"}, // mine\n', ""
    )


def test_the_last_member_takes_the_comma_before_it() -> None:
    assert without(TEXT, ("servers", "b")) == TEXT.replace(
        """"x"}, // mine
    "b": {
      "command": "y" // of b
    }
""",
        """"x"} // mine
""",
    )


def test_a_value_is_set_in_place() -> None:
    assert with_members(TEXT, ("servers",), {"a": {"url": "u"}}) == TEXT.replace(
        '{"command": "x"}, // mine', '{\n      "url": "u"\n    }, // mine'
    )


@pytest.mark.parametrize("text", ["", "{}", "// nothing yet\n{}\n", '{\r\n  "a": 1\r\n}\r\n'])
def test_objects_on_the_way_are_made(text: str) -> None:
    after = with_members(text, ("mcp", "servers"), {"new": {"command": "c"}})
    before = jsonc.parse(text).value if text else {}
    assert isinstance(before, dict)
    assert jsonc.parse(after).value == {**before, "mcp": {"servers": {"new": {"command": "c"}}}}
    assert ("// nothing yet" in after) == ("// nothing yet" in text)
    assert after.count("\n") == after.count("\r\n") or "\r" not in text


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(TypeError, match="servers"):
        with_members('{"servers": []}', ("servers",), {"a": 1})


def test_what_is_not_there_is_not_found() -> None:
    assert find(TEXT, ("servers", "c")) is None
    assert find(TEXT, ("last", "c")) is None
    assert without(TEXT, ("servers", "c")) == TEXT


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.text(max_size=5), VALUES, max_size=4)
STYLES = st.sampled_from(["layout", "dense", "indented"])


def _written(document: dict[str, object], style: str) -> str:
    if style == "layout":
        return layout(json.loads(json.dumps(document)))
    return json.dumps(document, indent=None if style == "dense" else 4)


@given(DOCUMENTS, STYLES, st.text(max_size=5), VALUES)
def test_any_document_has_the_member_afterwards(
    document: dict[str, object], style: str, key: str, value: object
) -> None:
    text = _written(document, style)
    after = with_members(text, (), {key: json.loads(json.dumps(value))})
    assert json.loads(after) == {**document, key: value}
    assert json.loads(without(after, (key,))) == {k: v for k, v in document.items() if k != key}
