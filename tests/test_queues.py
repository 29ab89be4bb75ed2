"""Places and queues: who enters, who waits, who is next, and that no place is ever lost."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcproxy.call_errors import Busy
from mcproxy.queues import Load, Queues, decide, next_in_line
from mcproxy.types import Capacity, ToolRef

BOUND_SECS = 20
REF = ToolRef("", "execute")
PLACE = "crypto"


def capacity(running: int, waiting: int = 16) -> Capacity:
    return Capacity(running, waiting, "Namespace 'crypto'", "calls", "concurrency.max_running")


DECISIONS = {
    "nobody is there": (capacity(1), Load(), "enter"),
    "there is room": (capacity(3), Load(2), "enter"),
    "no limits": (None, Load(1000), "enter"),
    "all places are taken": (capacity(3), Load(3), "wait"),
    "the last that may wait": (capacity(1, 2), Load(1, 1), "wait"),
    "the queue is full": (capacity(1, 2), Load(1, 2), "refuse"),
    "nobody may wait": (capacity(1, 0), Load(1), "refuse"),
    "more than allowed since a reload": (capacity(1, 2), Load(5, 1), "wait"),
    "and a longer queue": (capacity(1, 2), Load(5, 9), "refuse"),
}


@pytest.mark.requirement("concurrency.queue")
@pytest.mark.parametrize("title", DECISIONS)
def test_what_becomes_of_somebody_who_comes(title: str) -> None:
    limits, load, expected = DECISIONS[title]
    assert decide(limits, load) == expected


NEXT = {
    "one caller: in order of arrival": ("aaa", {"a": 2}, 0),
    "nobody is under way: in order of arrival": ("ba", {}, 0),
    "who has nothing under way goes first": ("aab", {"a": 1}, 2),
    "who has less under way goes first": ("abc", {"a": 3, "b": 1, "c": 2}, 1),
    "among equals the first": ("abca", {"a": 2, "b": 1, "c": 1}, 1),
}


@pytest.mark.requirement("concurrency.fair")
@pytest.mark.parametrize("title", NEXT)
def test_who_is_next(title: str) -> None:
    waiting, running, expected = NEXT[title]
    assert next_in_line(waiting, running) == expected


@dataclass
class Guest:
    """Somebody who comes, stays until told to go, and notes what happened."""

    queues: Queues
    caller: str = "a"
    places: tuple[str, ...] = (PLACE,)
    inside: bool = False
    refused: Busy | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def visit(self) -> None:
        try:
            async with self.queues.entered(REF, self.places, self.caller):
                self.inside = True
                await self.go.wait()
        except Busy as busy:
            self.refused = busy
        finally:
            self.inside = False


async def idle() -> None:
    """Let the tasks run until none of them has anything to do: a few steps each."""
    for _ in range(8):
        await asyncio.sleep(0)


@pytest.mark.requirement("concurrency.queue")
async def test_one_enters_as_another_leaves_and_who_is_too_many_is_told() -> None:
    queues = Queues({PLACE: capacity(1, 1)})
    first, second, third = guests = [Guest(queues) for _ in range(3)]
    async with asyncio.timeout(BOUND_SECS), asyncio.TaskGroup() as tasks:
        for guest in guests:
            tasks.create_task(guest.visit())
        await idle()
        assert [guest.inside for guest in guests] == [True, False, False]
        assert queues.loads() == {PLACE: Load(1, 1)}
        assert third.refused
        first.go.set()
        await idle()
        assert second.inside
        second.go.set()
    assert queues.loads() == {PLACE: Load()}
    busy = third.refused
    assert (busy.code, busy.retryable, busy.ref) == ("busy", True, REF)
    assert busy.retry_after
    assert busy.message == (
        "Namespace 'crypto' is busy: of calls, 1 may run at once and 1 more may wait "
        "(concurrency.max_running). Nothing was done; try again in 5 s."
    )


@pytest.mark.requirement("concurrency.queue")
async def test_nobody_waits_for_ever() -> None:
    queues = Queues({PLACE: capacity(1)}, wait_secs=0.01)
    first, second = Guest(queues), Guest(queues)
    async with asyncio.timeout(BOUND_SECS), asyncio.TaskGroup() as tasks:
        tasks.create_task(first.visit())
        await idle()
        await second.visit()
        assert second.refused
        assert "no place was free within 0.01 s" in second.refused.message
        assert queues.loads() == {PLACE: Load(1)}
        first.go.set()


@pytest.mark.requirement("concurrency.reload")
async def test_other_limits_count_at_once_and_nobody_is_sent_away() -> None:
    queues = Queues({PLACE: capacity(2)})
    guests = [Guest(queues) for _ in range(5)]
    async with asyncio.timeout(BOUND_SECS), asyncio.TaskGroup() as tasks:
        for guest in guests:
            tasks.create_task(guest.visit())
        await idle()
        assert queues.loads() == {PLACE: Load(2, 3)}
        queues.apply({PLACE: capacity(3)})
        await idle()
        assert [guest.inside for guest in guests] == [True, True, True, False, False]
        queues.apply({PLACE: capacity(1)})
        guests[0].go.set()
        guests[1].go.set()
        await idle()
        assert queues.loads() == {PLACE: Load(1, 2)}
        queues.apply({})
        await idle()
        assert all(guest.inside for guest in guests[2:])
        queues.apply({PLACE: capacity(1)})
        assert queues.loads() == {PLACE: Load(3)}
        for guest in guests:
            guest.go.set()


@pytest.mark.requirement("concurrency.groups")
async def test_who_needs_several_places_holds_all_of_them_and_none_is_kept_in_vain() -> None:
    queues = Queues({"a": capacity(1), "b": capacity(1, 0)})
    there, both, other = (Guest(queues, "x", tuple(places)) for places in ("b", "ba", "a"))
    async with asyncio.timeout(BOUND_SECS), asyncio.TaskGroup() as tasks:
        tasks.create_task(there.visit())
        await idle()
        await both.visit()
        assert both.refused
        assert queues.loads() == {"a": Load(), "b": Load(1)}
        queues.apply({"a": capacity(1), "b": capacity(1)})
        again = Guest(queues, "x", ("b", "a", "b"))
        tasks.create_task(again.visit())
        tasks.create_task(other.visit())
        await idle()
        assert queues.loads() == {"a": Load(1, 1), "b": Load(1, 1)}
        there.go.set()
        await idle()
        assert again.inside
        again.go.set()
        await idle()
        assert other.inside
        other.go.set()
    assert queues.loads() == {"a": Load(), "b": Load()}


steps = st.one_of(
    st.tuples(st.just("come"), st.integers(0, 2)),
    st.tuples(st.sampled_from(["go", "cancel"]), st.integers(0, 30)),
    st.tuples(st.just("limit"), st.integers(1, 4)),
    st.tuples(st.just("idle"), st.just(0)),
)


@pytest.mark.requirement("concurrency.bounded")
@settings(deadline=None)
@given(st.integers(1, 3), st.integers(0, 3), st.lists(steps, max_size=40))
def test_limits_hold_and_no_place_is_lost_whatever_happens(
    running: int, waiting: int, history: list[tuple[str, int]]
) -> None:
    asyncio.run(live_through(running, waiting, history))


async def live_through(running: int, waiting: int, history: list[tuple[str, int]]) -> None:
    queues = Queues({PLACE: capacity(running, waiting)})
    guests: list[Guest] = []
    tasks: list[asyncio.Task[None]] = []
    limit = most = running
    async with asyncio.timeout(BOUND_SECS), asyncio.TaskGroup() as group:
        for step, number in history:
            if step == "come":
                guests.append(Guest(queues, "abc"[number]))
                tasks.append(group.create_task(guests[-1].visit()))
            elif step == "go" and guests:
                guests[number % len(guests)].go.set()
            elif step == "cancel" and tasks:
                tasks[number % len(tasks)].cancel()
            elif step == "limit":
                limit = number
                most = max(most, limit)
                queues.apply({PLACE: capacity(limit, waiting)})
            else:
                await idle()
            load = queues.loads()[PLACE]
            assert sum(guest.inside for guest in guests) <= load.running <= most
            assert load.waiting <= waiting
            assert load.running >= limit or not load.waiting
        for guest in guests:
            guest.go.set()
    assert queues.loads() == {PLACE: Load()}
    for guest, task in zip(guests, tasks, strict=True):
        assert task.cancelled() or task.done()
        assert not guest.inside
    last = Guest(queues)
    last.go.set()
    await last.visit()
    assert last.refused is None
