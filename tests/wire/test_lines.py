"""Lines out of chunks: however the stream is cut, the same lines come out."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.wire.message import LineSplitter, Overlong, head, tail

LINES = st.lists(st.binary(min_size=1, max_size=50).map(lambda raw: raw.replace(b"\n", b"x")))


@given(LINES, st.lists(st.integers(0, 400), max_size=20))
def test_any_cut_gives_the_same_lines(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter = LineSplitter()
    edges = [0, *sorted(cuts), len(stream)]
    found: list[bytes | Overlong] = []
    for start, end in pairwise(edges):
        found += splitter.feed(stream[start:end])
    assert found == [line.strip() for line in lines if line.strip()]


@pytest.mark.requirement("observe.cuts")
@given(st.integers(1, 60))
def test_no_part_of_a_word_is_shown(limit: int) -> None:
    said = "no such key: sk-1a2b3c, and 'p%20q=r' is: wrong"
    words = re.split(r"[ :,']+", said)
    for shown in (head(said.encode(), limit), tail(said.encode(), limit).decode()):
        assert len(shown) <= limit
        assert set(filter(None, re.split(r"[ :,']+", shown))) <= set(words)
    assert head(said.encode(), len(said)) == said == tail(said.encode(), 99).decode()


def test_a_long_line_is_told_and_the_next_one_read() -> None:
    splitter = LineSplitter(limit=100)
    long = b'{"id":7,' + b"x" * 5000 + b"}"
    found = [line for part in (long[:90], long[90:], b"\nnext\n") for line in splitter.feed(part)]
    overlong, after = found
    assert isinstance(overlong, Overlong)
    assert overlong.size == len(long)
    assert overlong.edges.startswith(b'{"id":7,')
    assert overlong.edges.endswith(b"x}")
    assert after == b"next"
