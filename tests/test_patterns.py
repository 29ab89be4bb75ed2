"""A pattern is one of ``re``, but for when it is compiled."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.patterns import pattern


@given(st.sampled_from(["a+", "^b", r"(?P<x>a)|b", "", r"\bA"]), st.text("abA \n"))
def test_it_does_what_a_compiled_one_does(source: str, text: str) -> None:
    ours, usual = pattern(source, re.IGNORECASE), re.compile(source, re.IGNORECASE)
    for _ in range(2):
        assert ours.sub("-", text) == usual.sub("-", text)
        assert ours.findall(text) == usual.findall(text)
        assert bool(ours.fullmatch(text)) == bool(usual.fullmatch(text))
    assert ours.pattern == usual.pattern


def test_it_is_compiled_when_it_is_used() -> None:
    wrong = pattern("(")
    for _ in range(2):
        with pytest.raises(re.error):
            wrong.search("x")
