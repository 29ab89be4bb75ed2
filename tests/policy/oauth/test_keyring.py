"""When an issuer is asked for its keys, and how long they count."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from mcproxy.config.auth import JwtConfig
from mcproxy.policy.oauth.issuer import IssuerUnavailable
from mcproxy.policy.oauth.keyring import (
    FRESH_SECS,
    KEPT_SECS,
    PAUSE_SECS,
    RETRY_SECS,
    Held,
    Keyring,
    Keys,
)
from mcproxy.policy.oauth.verify import keys_in
from tests.issuing import signer

RULES = JwtConfig(issuer="https://x.org", audience=("a",))
KEYS = keys_in(json.dumps({"keys": [signer("k").jwk]}).encode(), RULES)
BOUND_SECS = 20
HAD = Held(KEYS, since=100.0, asked=100.0)
FAILED = Held(KEYS, since=100.0, asked=700.0)


@pytest.mark.requirement("jwt.keys_kept")
@pytest.mark.parametrize(
    ("held", "now", "count", "due", "may_ask"),
    [
        (Held(), 0.0, 0, 0.0, True),
        (HAD, 101.0, 1, FRESH_SECS - 1, False),
        (HAD, 100.0 + PAUSE_SECS, 1, FRESH_SECS - PAUSE_SECS, True),
        (HAD, 800.0, 1, 0.0, True),
        (FAILED, 701.0, 1, RETRY_SECS - 1, False),
        (FAILED, 100.0 + KEPT_SECS, 1, 0.0, True),
        (FAILED, 101.0 + KEPT_SECS, 0, 0.0, True),
    ],
)
def test_what_is_held(held: Held, now: float, count: int, due: float, may_ask: bool) -> None:
    assert len(held.at(now)) == count
    assert held.due(now) == due
    assert held.may_ask(now) is may_ask


@dataclass
class Answers:
    """An issuer that answers when it is told to; ``asked`` is set whenever it is asked."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    count: int = 0
    down: bool = False
    odd: bool = False
    now: float = 1000.0

    async def fetch(self) -> Keys:
        self.count += 1
        self.asked.set()
        await self.go.wait()
        if self.odd:
            raise ZeroDivisionError
        if self.down:
            raise IssuerUnavailable("https://x.org: it answers 503")
        return KEYS


@asynccontextmanager
async def running(answers: Answers) -> AsyncIterator[Keyring]:
    keyring = Keyring(answers.fetch, lambda: answers.now)
    async with asyncio.timeout(BOUND_SECS), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(keyring.run())
        yield keyring
        task.cancel()


async def _all(*work: Callable[[], Awaitable[Keys]]) -> list[Keys]:
    return list(await asyncio.gather(*(each() for each in work)))


@pytest.mark.requirement("jwt.rotation")
async def test_all_who_need_a_key_wait_for_one_answer() -> None:
    answers = Answers()
    async with running(answers) as keyring:
        await answers.asked.wait()
        assert keyring.keys == ()
        asyncio.get_running_loop().call_soon(answers.go.set)
        assert await _all(*[keyring.renewed] * 50) == [KEYS] * 50
    assert answers.count == 1


@pytest.mark.requirement("jwt.rotation")
async def test_nobody_makes_it_ask_more_often_than_the_pause() -> None:
    answers = Answers()
    answers.go.set()
    async with running(answers) as keyring:
        await keyring.renewed()
        for _ in range(50):
            assert await keyring.renewed() == KEYS
        assert answers.count == 1
        answers.now += PAUSE_SECS
        assert await _all(*[keyring.renewed] * 50) == [KEYS] * 50
        assert answers.count == 2


@pytest.mark.requirement("jwt.keys_kept")
async def test_keys_outlive_an_issuer_that_is_down_for_a_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = Answers()
    answers.go.set()
    async with running(answers) as keyring:
        await keyring.renewed()
        answers.down = True
        for _ in range(3):
            answers.now += RETRY_SECS
            assert await keyring.renewed() == KEYS
        answers.now += KEPT_SECS
        assert await keyring.renewed() == ()
        answers.down = False
        answers.now += PAUSE_SECS
        assert await keyring.renewed() == KEYS
    told = [record.message for record in caplog.records]
    assert len([line for line in told if "it answers 503" in line]) == 1


async def test_a_fault_of_ours_ends_neither_the_keys_nor_the_asking(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = Answers()
    answers.go.set()
    async with running(answers) as keyring:
        await keyring.renewed()
        for odd in (True, False):
            answers.odd = odd
            answers.now += PAUSE_SECS
            assert await keyring.renewed() == KEYS
        assert answers.count == 3
    assert "could not be read" in caplog.text
