"""Event streams out of chunks: however they are cut, and whichever line break they use."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.upstream.remote.replies import EventParser, ServerSentEvent
from mcproxy.wire.message import Overlong

LINES = st.lists(
    st.sampled_from(
        [
            "data: a",
            "data:b",
            "data",
            "id: 7",
            "event: endpoint",
            "retry: 10",
            ": heartbeat",
            "",
            "",
        ]
    ),
    max_size=30,
)


def parsed(parser: EventParser, *chunks: bytes) -> list[ServerSentEvent | Overlong]:
    return [event for chunk in chunks for event in parser.feed(chunk)]


def pieces(stream: bytes, cuts: list[int]) -> Iterator[bytes]:
    for start, end in pairwise([0, *sorted(cuts), len(stream)]):
        yield stream[start:end]


@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0, 300), max_size=20))
def test_any_cut_and_any_line_break_give_the_same_events(
    lines: list[str], end: str, cuts: list[int]
) -> None:
    whole = parsed(EventParser(), "".join(f"{line}\n" for line in lines).encode())
    stream = "".join(f"{line}{end}" for line in lines).encode()
    assert parsed(EventParser(), *pieces(stream, cuts)) == whole


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [ServerSentEvent("message", b"a")]),
        (b"\xef\xbb\xbfdata:a\ndata: b\n\n", [ServerSentEvent("message", b"a\nb")]),
        (b"event: endpoint\ndata: /m?x=1\n\n", [ServerSentEvent("endpoint", b"/m?x=1")]),
        (b"id: 7\ndata:\n\n", [ServerSentEvent("message", b"", id="7")]),
        (b"retry: 250\n\n", [ServerSentEvent("message", b"", retry_ms=250)]),
        (b"retry: soon\nid: \0\n\n", []),
        (b": heartbeat\n\n\n\n", []),
        (b"data: unfinished\n", []),
    ],
)
def test_what_an_event_is(stream: bytes, events: list[ServerSentEvent]) -> None:
    assert parsed(EventParser(), stream) == events


@pytest.mark.parametrize("long", [b"data: " + b"x" * 500, b"data: xxxxxxxxxx\n" * 50])
def test_a_long_event_is_told_and_the_next_one_read(long: bytes) -> None:
    events = parsed(EventParser(limit=100), b'data: {"id":7,\n', long, b"\n\ndata: next\n\n")
    overlong, after = events
    assert isinstance(overlong, Overlong)
    assert overlong.size > 500
    assert overlong.edges.startswith(b'{"id":7,')
    assert len(overlong.edges) < 5000
    assert after == ServerSentEvent("message", b"next")
