"""Limits that stand still while somebody is asked: the clock, without what it bounds; and blocks
that others end."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field

import pytest

from mcproxy.cancellation import Clock, Stoppable
from mcproxy.exchange import Exchange, drop
from mcproxy.types import JsonObject

AMPLE_SECS = 1000.0  # no test comes near it
SHORT_SECS = 0.05
ROUNDING_SECS = 1e-6


@dataclass
class Person:
    """Answers a question once its event is set."""

    answers: dict[str, asyncio.Event] = field(default_factory=dict)

    async def ask(self, method: str, params: JsonObject) -> JsonObject:
        await self.answers.setdefault(method, asyncio.Event()).wait()
        return {"answer": method}

    async def is_asked(self, *methods: str) -> None:
        """Return once these questions are open."""
        while not self.answers.keys() >= {*methods}:  # noqa: ASYNC110 - tasks take turns
            await asyncio.sleep(0)


@pytest.fixture
def person() -> Person:
    return Person()


def asked(person: Person, clock: Clock) -> Exchange:
    """The way to the person from within a limit."""
    return Exchange(drop, person.ask, clock=clock)


@pytest.mark.requirement("upstream.patience")
async def test_a_limit_that_stands_still_for_itself_leaves_the_one_around_it() -> None:
    outer = Clock()
    inner = Clock(outer)
    async with outer.limit(AMPLE_SECS), inner.limit(AMPLE_SECS):
        with inner.stopped():
            assert inner.secs_left() is None
            assert outer.secs_left()


@pytest.mark.requirement("upstream.patience")
async def test_a_limit_runs_on_once_the_last_of_several_questions_is_answered(
    person: Person,
) -> None:
    clock = Clock()
    async with asyncio.TaskGroup() as tasks, clock.limit(AMPLE_SECS):
        before = clock.secs_left()
        assert before
        ask = asked(person, clock).question
        questions = {name: tasks.create_task(_of(ask(name, {}))) for name in ("one", "two")}
        await person.is_asked("one", "two")
        assert clock.secs_left() is None
        for name, question in questions.items():
            assert clock.secs_left() is None
            person.answers[name].set()
            assert await question == {"answer": name}
        after = clock.secs_left()
        assert after
        assert after <= before + ROUNDING_SECS


async def test_limits_within_one_another_stand_still_together(person: Person) -> None:
    outer = Clock()
    inner = Clock(outer)
    async with (
        asyncio.TaskGroup() as tasks,
        outer.limit(AMPLE_SECS),
        inner.limit(AMPLE_SECS),
    ):
        question = tasks.create_task(_of(asked(person, inner).question("one", {})))
        await person.is_asked("one")
        assert (outer.secs_left(), inner.secs_left()) == (None, None)
        person.answers["one"].set()
        await question
        assert outer.secs_left()
        assert inner.secs_left()


async def test_a_question_that_outlives_its_block_moves_nothing(person: Person) -> None:
    clock = Clock()
    async with asyncio.TaskGroup() as tasks:
        async with clock.limit(AMPLE_SECS):
            question = tasks.create_task(_of(asked(person, clock).question("one", {})))
            await person.is_asked("one")
        person.answers["one"].set()
        assert await question == {"answer": "one"}


async def test_what_is_left_counts_after_the_answer(person: Person) -> None:
    answered = person.answers["one"] = asyncio.Event()
    answered.set()
    clock = Clock()

    async def work() -> None:
        async with clock.limit(SHORT_SECS):
            await asked(person, clock).question("one", {})
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await work()


async def test_without_a_question_it_is_a_plain_limit() -> None:
    async def work() -> None:
        async with Clock().limit(SHORT_SECS):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await work()


async def _of(answer: Awaitable[JsonObject]) -> JsonObject:
    return await answer


class Ended(Exception):
    """Why a block was ended."""


async def _waits(block: Stoppable, entered: asyncio.Event) -> None:
    with block:
        entered.set()
        await asyncio.Event().wait()


async def test_a_block_ends_with_what_it_is_stopped_with() -> None:
    block, entered = Stoppable(), asyncio.Event()
    task = asyncio.ensure_future(_waits(block, entered))
    await entered.wait()
    block.stop(Ended("first"))
    block.stop(Ended("second"))
    with pytest.raises(Ended, match="first"):
        await task
    assert not task.cancelling()


@pytest.mark.parametrize("cancelled_first", [True, False])
async def test_who_is_cancelled_beside_is_cancelled(cancelled_first: bool) -> None:
    block, entered = Stoppable(), asyncio.Event()
    task = asyncio.ensure_future(_waits(block, entered))
    await entered.wait()
    if cancelled_first:
        task.cancel()
    block.stop(Ended())
    if not cancelled_first:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_block_that_is_left_is_not_stopped() -> None:
    block = Stoppable()
    with block:
        await asyncio.sleep(0)
    block.stop(Ended())
    await asyncio.sleep(0)


async def test_a_block_that_is_stopped_before_it_is_entered_does_not_begin() -> None:
    block, entered = Stoppable(), asyncio.Event()
    block.stop(Ended())
    with pytest.raises(Ended):
        await _waits(block, entered)
    assert not entered.is_set()
