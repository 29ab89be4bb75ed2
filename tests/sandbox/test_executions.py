"""Executions in one pool, at each level: at once, and over a limit."""

import asyncio

import pytest
from msgspec.structs import replace

from mcproxy.sandbox.pool import Pool
from tests.sandbox.walls import SMALL, run, settles


@pytest.mark.requirement("sandbox.concurrent")
async def test_more_scripts_at_once_than_ready_workers(pool: Pool) -> None:
    before = pool.stats.executions
    together = await asyncio.gather(*(run(pool, f"result = {n} * 2") for n in range(8)))
    assert [outcome.value for outcome in together] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert pool.stats.executions == before + 8
    await settles(lambda: pool.stats.ready == 1)


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
