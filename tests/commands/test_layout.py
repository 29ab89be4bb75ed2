"""Configurations are laid out as people write them, and additions keep the comments."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.commands.json_edit import with_members
from mcproxy.commands.layout import indent_of, layout
from mcproxy.config import jsonc
from mcproxy.types import Json, JsonObject

SERVER: JsonObject = {"command": "npx", "args": ["-y", "x"], "env": {}}
LAID_OUT = """\
{
  "servers": {
    "a": {
      "command": "npx",
      "args": ["-y", "x"],
      "env": {}
    }
  },
  "list": [
    {
      "é": null
    }
  ],
  "none": []
}"""

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_short_lists_are_on_one_line() -> None:
    document: JsonObject = {"servers": {"a": SERVER}, "list": [{"é": None}], "none": []}
    assert layout(document) == LAID_OUT


def test_long_lists_are_not() -> None:
    assert layout(["x" * 60, "y" * 60]).count("\n") == 3


@given(values)
def test_what_is_laid_out_is_the_document(document: Json) -> None:
    assert json.loads(layout(document, "\t")) == document


# with: where the addition is seen in the text that results
TEXTS = {
    "plain": '{"servers": {"a": {"command": "c"}}}',
    "empty": '{"servers": {}}',
    "absent": "{}",
    "empty lines": '{\n  "servers": {\n  }\n}',
    "trailing comma": '{\n  "servers": {\n    "a": {"command": "c"},\n  },\n}',
    "comment": '{\n  // top\n  "servers": {\n    "a": {} // first\n  }, // end\n  "groups": {}\n}',
    "comment after the last comma": '{\n  "servers": {\n    "a": {}, // first\n  }\n}',
    "comment after a comma": '{\n  "servers": {\n    "a": {}, // first\n    // more\n  }\n}',
    "block comment": '{"x": "}{", /* { */ "servers": /* , */ {"a": {} /* , */}}',
    "only a comment": '{\n  "servers": {\n    // none yet\n  }\n}',
    "tricky strings": '{"_a": "servers\\": {", "servers": {"}": {"k": "// no"}}}',
}


@pytest.mark.parametrize("title", TEXTS)
def test_servers_are_added_and_comments_stay(title: str) -> None:
    text = TEXTS[title]
    before = jsonc.parse(text).value
    after = with_members(text, ("servers",), {"new": SERVER, "other": {"url": "https://x"}})
    parsed = jsonc.parse(after)
    assert parsed.problems == ()
    assert isinstance(before, dict)
    servers = before.get("servers", {})
    assert isinstance(servers, dict)
    assert parsed.value == {
        **before,
        "servers": {**servers, "new": SERVER, "other": {"url": "https://x"}},
    }
    for comment in ("// top", "// first", "// end", "// more", "// none yet", "/* { */", "/* , */"):
        assert after.count(comment) == text.count(comment)
        if comment.startswith("//"):
            assert after.count(f"{comment},") == text.count(f"{comment},")


def test_an_addition_reads_as_if_written_by_hand() -> None:
    text = '{\n    "servers": {\n        "a": {"command": "c"} // first\n    }\n}\n'
    assert with_members(text, ("servers",), {"b": {"command": "d"}}) == (
        '{\n    "servers": {\n        "a": {"command": "c"}, // first\n'
        '        "b": {\n            "command": "d"\n        }\n    }\n}\n'
    )


@given(
    st.lists(st.sampled_from(["// c\n", "/* , } */", "\n", " ", "\t"]), min_size=6, max_size=6),
    st.booleans(),
    st.text(alphabet=string.printable, max_size=5),
)
def test_any_text_takes_servers(gaps: list[str], comma: bool, word: str) -> None:
    a, b, c, d, e, f = gaps
    end = "," if comma else ""
    text = f'{a}{{"k":{json.dumps(word)},{b}"servers"{c}:{{{d}"a":{{}}{end}{e}}}{f}}}'
    parsed = jsonc.parse(with_members(text, ("servers",), {"new": {}}))
    assert parsed.problems == ()
    assert parsed.value == {"k": word, "servers": {"a": {}, "new": {}}}


@pytest.mark.parametrize(
    ("text", "indent"), [("{}", "  "), ('{\n\t"a": 1}', "\t"), ('{\n    "a": 1}', "    ")]
)
def test_the_indent_is_taken_over(text: str, indent: str) -> None:
    assert indent_of(text) == indent
