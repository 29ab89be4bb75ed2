"""Limits that stand still while somebody is asked: the clock, without what it bounds."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from mcproxy.exchange import EXCHANGE, Exchange
from mcproxy.patience import patient
from mcproxy.types import JsonObject

AMPLE_SECS = 1000.0  # no test comes near it
SHORT_SECS = 0.05


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
async def person() -> AsyncIterator[Person]:
    person = Person()
    token = EXCHANGE.set(Exchange(lambda method, params: None, person.ask))
    yield person
    EXCHANGE.reset(token)


async def ask(method: str) -> JsonObject:
    """Ask as a server does: through the exchange in force."""
    exchange = EXCHANGE.get()
    assert exchange
    return await exchange.ask(method, {})


@pytest.mark.requirement("upstream.patience")
async def test_a_limit_runs_on_once_the_last_of_several_questions_is_answered(
    person: Person,
) -> None:
    async with asyncio.TaskGroup() as tasks, patient(AMPLE_SECS) as limit:
        before = limit.when()
        assert before
        questions = {name: tasks.create_task(ask(name)) for name in ("one", "two")}
        await person.is_asked("one", "two")
        assert limit.when() is None
        for name, question in questions.items():
            assert limit.when() is None
            person.answers[name].set()
            assert await question == {"answer": name}
        after = limit.when()
        assert after
        assert after >= before


async def test_limits_within_one_another_stand_still_together(person: Person) -> None:
    async with (
        asyncio.TaskGroup() as tasks,
        patient(AMPLE_SECS) as outer,
        patient(AMPLE_SECS) as inner,
    ):
        question = tasks.create_task(ask("one"))
        await person.is_asked("one")
        assert (outer.when(), inner.when()) == (None, None)
        person.answers["one"].set()
        await question
        assert outer.when()
        assert inner.when()


async def test_a_question_that_outlives_its_block_moves_nothing(person: Person) -> None:
    async with asyncio.TaskGroup() as tasks:
        async with patient(AMPLE_SECS):
            question = tasks.create_task(ask("one"))
            await person.is_asked("one")
        person.answers["one"].set()
        assert await question == {"answer": "one"}


async def test_what_is_left_counts_after_the_answer(person: Person) -> None:
    answered = person.answers["one"] = asyncio.Event()
    answered.set()

    async def work() -> None:
        async with patient(SHORT_SECS):
            await ask("one")
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await work()


async def test_without_a_client_it_is_a_plain_limit() -> None:
    async def work() -> None:
        async with patient(SHORT_SECS):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await work()
