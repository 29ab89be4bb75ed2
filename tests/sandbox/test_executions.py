"""Executions in one pool: at once, over a limit, cancelled, and while a client is asked."""

import asyncio
from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from mcproxy.exchange import Exchange, drop
from mcproxy.sandbox import profile
from mcproxy.sandbox.pool import Pool, PoolSettings
from mcproxy.sandbox.profile import Profile
from mcproxy.types import Job, Json, JsonObject, Level, Outcome, ToolRef, ToolResult
from tests.sandbox.walls import (
    CALL,
    LEVELS,
    SMALL,
    Meeting,
    descendants,
    echo,
    pool_at,
    run,
    settles,
)

# Each is copied or cleared for it alone: most of what a script takes of the processor.
MOST_PAGES = 1150

at_one_level = pytest.mark.parametrize("pool", ["seccomp"], indirect=True)


@pytest.mark.requirement("sandbox.concurrent")
async def test_more_scripts_at_once_than_ready_workers(pool: Pool) -> None:
    before = pool.stats.executions
    together = await asyncio.gather(*(run(pool, f"result = {n} * 2") for n in range(8)))
    assert [outcome.value for outcome in together] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert pool.stats.executions == before + 8
    await settles(lambda: pool.stats.ready == 1)


@pytest.mark.requirement("sandbox.pages")
async def test_a_worker_writes_to_few_pages(pool: Pool) -> None:
    await settles(lambda: pool.stats.ready == 1)  # it has practised
    script = "import resource; result = resource.getrusage(resource.RUSAGE_SELF).ru_minflt"
    outcome = await run(pool, script)
    assert isinstance(outcome.value, int)
    assert 0 < outcome.value <= MOST_PAGES


@pytest.mark.requirement("sandbox.memory")
async def test_running_out_of_memory_names_the_limit(pool: Pool) -> None:
    outcome = await run(pool, "x = bytearray(1 << 30)")
    assert outcome.error
    assert outcome.error.type == "MemoryLimit"
    assert "64 MiB" in outcome.error.message
    assert "sandbox.memory_mb" in outcome.error.message


@pytest.mark.requirement("sandbox.time")
async def test_a_script_without_end_is_stopped(pool: Pool) -> None:
    outcome = await run(pool, "while True: pass", replace(SMALL, timeout_secs=0.2))
    assert outcome.error
    assert outcome.error.type == "Timeout"


async def test_a_cancelled_execution_leaves_no_worker(pool: Pool) -> None:
    at_rest = len(descendants())
    meeting = Meeting()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(pool.run(Job(CALL, SMALL), meeting))
        await meeting.reached.wait()
        running.cancel()
    await settles(lambda: pool.stats.ready == 1 and len(descendants()) <= at_rest)
    assert pool.stats.running == 0


@at_one_level
async def test_equal_profiles_share_their_workers(pool: Pool) -> None:
    at_rest = len(descendants())
    pool.apply({"": Profile(limits=SMALL), "other": Profile(limits=SMALL)})
    outcome = await pool.run(Job("result = 1", SMALL, profile="other"), echo)
    assert outcome.value == 1
    await settles(lambda: pool.stats.ready == 1 and len(descendants()) <= at_rest)


class Client:
    """Whoever is behind a script; answers once ``secs`` have passed, or never."""

    def __init__(self, secs: float | None) -> None:
        self._secs = secs

    async def ask(self, method: str, params: JsonObject) -> JsonObject:
        loop, late = asyncio.get_running_loop(), asyncio.Event()
        if self._secs:
            loop.call_later(self._secs, late.set)
        await late.wait()
        return {}


async def asked(pool: Pool, source: str, secs: float, client: Client) -> Outcome:
    """Run a script whose tool asks the client, within ``secs``."""

    job = Job(source, replace(SMALL, timeout_secs=secs))
    exchange = Exchange(drop, client.ask, clock=job.clock)

    async def tool(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        await exchange.question("elicitation/create", {})
        return await echo(ref, arguments)

    return await pool.run(job, tool)


@pytest.mark.requirement("execute.patience")
@at_one_level
async def test_an_answer_that_comes_after_the_limit_is_in_time(pool: Pool) -> None:
    outcome = await asked(pool, CALL, 2, Client(secs=2.5))
    assert (outcome.value, outcome.error) == ("wait", None)
    assert outcome.execution_time_ms > 2000


@pytest.mark.requirement("execute.patience")
@at_one_level
async def test_a_script_without_end_is_stopped_after_an_answer_too(pool: Pool) -> None:
    outcome = await asked(pool, f"{CALL}\nwhile True: pass", 1, Client(secs=0.1))
    assert outcome.error
    assert (outcome.error.type, "1 s" in outcome.error.message) == ("Timeout", True)


BUSY = f"""
import threading

def work():
    while True: pass

threading.Thread(target=work).start()
{CALL}
"""


@pytest.mark.requirement("execute.patience")
@pytest.mark.parametrize("level", LEVELS)
async def test_processor_time_is_bounded_while_nobody_answers(
    level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "_CPU_SPARE_SECS", 0)  # it would only be burnt
    async with pool_at(level, Profile(limits=replace(SMALL, timeout_secs=1))) as pool:
        outcome = await asked(pool, BUSY, 1, Client(secs=None))
        assert outcome.error
        assert "processor time" in outcome.error.message


@pytest.mark.requirement("execute.patience")
async def test_processor_time_is_bounded_at_level_none_too() -> None:
    async with Pool(PoolSettings("none", "none"), {"": Profile()}) as pool:
        await pool.start()
        outcome = await asked(pool, BUSY, 1, Client(secs=None))
        assert outcome.error
        assert "processor time" in outcome.error.message
