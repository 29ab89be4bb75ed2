"""A worker that nobody waits for any more leaves no folder."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from mcproxy.sandbox.network.egress import Egress
from mcproxy.sandbox.pool import Pool
from mcproxy.sandbox.profile import Profile
from mcproxy.types import Job, Json, Limits, ToolRef, ToolResult
from tests.sandbox.walls import at, echo

BOUND_SECS = 15.0
LIMITS = Limits(timeout_secs=10, memory_mb=128)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_SECS):
        while not condition():  # noqa: ASYNC110  a folder tells nobody
            await asyncio.sleep(0)


@pytest.mark.requirement("cancellation.leaves_nothing")
async def test_a_cancelled_start_of_a_worker_leaves_no_folder() -> None:
    called, go = asyncio.Event(), asyncio.Event()

    async def wait(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        called.set()
        await go.wait()
        return await echo(ref, arguments)

    settings = at("hardened", size=0)
    profiles = {"": Profile(LIMITS)}
    async with Pool(settings, profiles, lambda _: Egress(())) as pool, asyncio.TaskGroup() as tasks:
        await pool.start()
        (lane,) = pool._lanes.values()
        held = tasks.create_task(pool.run(Job("api.call_tool('s', 't')", LIMITS), wait))
        async with asyncio.timeout(BOUND_SECS):
            await called.wait()
        assert lane._folders
        base = lane._folders._base
        before = set(base.iterdir())
        late = tasks.create_task(pool.run(Job("1", LIMITS), wait))
        await until(lambda: set(base.iterdir()) > before)
        late.cancel()
        await asyncio.wait([late], timeout=BOUND_SECS)
        assert late.cancelled()
        assert set(base.iterdir()) == before
        go.set()
        await held
