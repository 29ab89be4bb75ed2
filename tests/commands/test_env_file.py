"""Blocks of variables go into a .env and out of it without a trace."""

import io

from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.commands.files import with_block, without_block

values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))
names = st.from_regex(r"[A-Z][A-Z0-9_]{0,10}", fullmatch=True)


def read(text: str) -> dict[str, str | None]:
    return dotenv_values(stream=io.StringIO(text), interpolate=False)


@given(st.dictionaries(names, values, min_size=1))
def test_what_is_written_is_read(variables: dict[str, str]) -> None:
    text = with_block("OLD=1", "import", variables)
    assert read(text) == {"OLD": "1", **variables}


@given(st.dictionaries(names, values, min_size=1), st.sampled_from(["", "A=1\n", "# a\nA=1\n\n"]))
def test_a_block_is_taken_out_without_a_trace(variables: dict[str, str], before: str) -> None:
    text = with_block(with_block(before, "one", variables), "two", {"B": "2"})
    assert without_block(text, "one") == with_block(before, "two", {"B": "2"})
    assert without_block(without_block(text, "two"), "one") == before


def test_other_text_is_left_alone() -> None:
    assert without_block("A=1\n", "one") == "A=1\n"
    assert without_block("# >>> one\nA=1\n", "one") == "# >>> one\nA=1\n"
