"""What a person is shown of a call: all of it, and nothing that looks like something else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.foreign_text import hides
from mcproxy.gateway.call_question import MAX_ARGUMENTS_CHARS, call_digest, described, question
from mcproxy.observe.redact import Redactor
from mcproxy.types import Json, JsonObject, ToolRef

CANARY = "canary-7c1d9e0b44f2"
MASK = Redactor([CANARY]).text
DROP = ToolRef("hub", "drop")

LINES = 4
NASTY = st.sampled_from(
    ["", "a", '"', "[masked]", '" [masked]', "***", "\n", "\u202e", "\x1b[2J", "\ntool: read", "é"]
)
TEXTS = st.one_of(NASTY, st.text(max_size=8), st.lists(NASTY, max_size=4).map("".join))
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(TEXTS, VALUES, max_size=3)


def shown(arguments: JsonObject) -> str:
    """The line with the arguments."""
    return described(DROP, arguments, MASK).splitlines()[2].removeprefix("arguments: ")


@pytest.mark.requirement("ask.shown")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "{}"),
        (
            {"b": [1, 2.5, None, True], "a": {"z": "é"}},
            '{"a": {"z": "é"}, "b": [1, 2.5, null, true]}',
        ),
        ({"a": "x\n\u202ey"}, '{"a": "x\\n\\u202ey"}'),
        ({"a": f"say {CANARY}!"}, '{"a": "say ***!" [masked]}'),
        ({"a": "say ***!"}, '{"a": "say ***!"}'),
        ({"password": "hunter2hunter2"}, '{"password": "" [masked]}'),
    ],
)
def test_the_arguments_as_they_are_sent(arguments: JsonObject, line: str) -> None:
    assert shown(arguments) == line


@pytest.mark.requirement("ask.shown")
def test_of_long_texts_the_head_length_and_digest() -> None:
    line = shown({"a": "x" * 500})
    assert re.fullmatch(
        r'\{"a": "x{300}" \[the head of 500 characters, sha256 [0-9a-f]{32}\]\}', line
    )
    many = shown({f"k{n}": "y" * 200 for n in range(100)})
    assert len(many) < MAX_ARGUMENTS_CHARS + 50
    assert many.endswith(" more]")


@pytest.mark.requirement("ask.shown")
@given(ARGUMENTS)
def test_nothing_acts_hides_or_adds_a_line(arguments: JsonObject) -> None:
    text = described(DROP, arguments, MASK)
    assert len(text.split("\n")) == LINES
    assert not hides(text)


@pytest.mark.requirement("ask.shown")
@given(ARGUMENTS, ARGUMENTS)
def test_calls_that_differ_look_different(one: JsonObject, other: JsonObject) -> None:
    same = described(DROP, one, MASK) == described(DROP, other, MASK)
    whose = ("ann", "work")
    assert same == (call_digest(whose, DROP, one) == call_digest(whose, DROP, other))


def with_canary(value: Json, at: int) -> Json:
    """The value with the canary in its texts."""
    if isinstance(value, str):
        return f"{value[:at]}{CANARY}{value[at:]}"
    if isinstance(value, list):
        return [with_canary(item, at) for item in value]
    if isinstance(value, dict):
        return {f"{key[:at]}{CANARY}{key[at:]}": with_canary(v, at) for key, v in value.items()}
    return CANARY


@pytest.mark.requirement("ask.shown")
@given(ARGUMENTS, st.integers(0, 6))
def test_masks_hide_every_canary(arguments: JsonObject, at: int) -> None:
    planted = {"x": with_canary(arguments, at)}
    text = str(question(described(DROP, planted, MASK), "r", lasting=True))
    assert CANARY not in text
    assert "[masked]" in text or not arguments


@pytest.mark.requirement("ask.shown")
def test_whose_call_it_is_counts() -> None:
    digests = {
        call_digest(whose, ref, {})
        for whose in (("a", "b"), ("ab", ""), ("", "ab"))
        for ref in (DROP, ToolRef("hubdrop", ""), ToolRef("hub", "drop_"))
    }
    assert len(digests) == 9
