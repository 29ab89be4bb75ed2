"""Streams: order, what is kept, and who is let go."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from mcproxy.frontends.stream import (
    KEPT_BYTES,
    KEPT_MESSAGES,
    QUEUED_BYTES,
    QUEUED_MESSAGES,
    Backlog,
    Event,
    Reader,
    Stream,
)

BOUND_SECS = 5


def taken(reader: Reader) -> list[Event]:
    """All that came since the last time."""
    events = reader.next(QUEUED_BYTES)
    reader.read(events)
    return events


@given(st.lists(st.sampled_from(["put", "take", "resume"]), max_size=60))
def test_a_reader_that_keeps_up_gets_everything_once_and_in_order(steps: list[str]) -> None:
    stream, got, sent = Stream(), list[bytes](), list[bytes]()
    reader = stream.attach()
    for number, step in enumerate(steps):
        if step == "put":
            sent.append(b"%d" % number)
            stream.put(sent[-1])
        elif step == "take":
            got += [event.message for event in taken(reader)]
        else:
            reader.close()
            reader = stream.attach(reader.at)
    got += [event.message for event in taken(reader)]
    assert got == sent
    assert not reader.lost


@given(st.lists(st.integers(0, 3 * KEPT_BYTES // 2), max_size=12))
def test_what_nobody_reads_stays_within_bounds(sizes: list[int]) -> None:
    stream = Stream()
    for size in sizes:
        stream.put(bytes(size))
        kept = stream.after(0)
        assert kept[-1].message == bytes(size)  # the newest is there, however large
        assert sum(len(event.message) for event in kept) == stream.size
        assert stream.size <= max(KEPT_BYTES, size)
    for _ in range(2 * KEPT_MESSAGES):
        stream.put(b"")
    assert len(stream.after(0)) <= KEPT_MESSAGES


def test_a_reader_that_lags_is_let_go_and_can_read_on() -> None:
    stream = Stream()
    reader = stream.attach()
    stream.put(b"first")
    taken(reader)
    for number in range(QUEUED_MESSAGES):
        stream.put(b"%d" % number)
    assert not reader.lost
    stream.put(b"one too many")
    assert reader.lost
    assert not stream.has_reader
    again = stream.attach()
    last = QUEUED_MESSAGES + 2
    assert [event.number for event in taken(again)] == list(range(last - 255, last + 1))


def test_large_messages_are_queued_but_not_without_end() -> None:
    stream = Stream()
    reader = stream.attach()
    large = bytes(QUEUED_BYTES // 2)
    stream.put(large)
    stream.put(large)
    assert not reader.lost
    stream.put(b"the last straw")
    assert reader.lost


async def test_what_was_given_up_for_others_is_not_waited_for() -> None:
    backlog = Backlog(limit=100_000)
    large, small = Stream("large", "one", backlog), Stream("small", "two", backlog)
    reader = large.attach()
    small.put(bytes(30_000))
    large.put(bytes(90_000))
    assert reader.lost
    assert (large.size, small.size) == (0, 30_000)
    again = large.attach()
    async with asyncio.timeout(BOUND_SECS), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(again.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        large.put(b"news")
        await waiting
    assert [event.message for event in taken(again)] == [b"news"]


def test_a_new_reader_takes_the_place_of_the_old() -> None:
    stream = Stream()
    old = stream.attach()
    new = stream.attach()
    assert old.lost
    old.close()
    assert stream.has_reader
    new.close()
    assert not stream.has_reader


async def test_a_reader_waits_for_news_and_for_the_end() -> None:
    stream = Stream()
    reader = stream.attach()
    async with asyncio.timeout(BOUND_SECS), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(reader.wait())
        stream.put(b"news")
        await waiting
        assert [event.message for event in taken(reader)] == [b"news"]
        assert not reader.done
        ending = tasks.create_task(reader.wait())
        stream.end()
        await ending
    assert reader.done
    stream.put(b"too late")
    assert taken(reader) == []
