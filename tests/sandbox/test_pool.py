"""The pool over a whole life: hand-out, healing, limits, change of profiles, end."""

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from mcproxy.call_errors import Busy
from mcproxy.errors import ConfigError, SandboxUnavailable
from mcproxy.sandbox.jail import zygote
from mcproxy.sandbox.pool import Pool, PoolSettings
from mcproxy.sandbox.profile import Profile
from mcproxy.sandbox.zygote_launch import ahead
from mcproxy.types import (
    Capacity,
    Job,
    Level,
    Limits,
)
from tests.sandbox.walls import (
    CALL,
    LEVELS,
    SMALL,
    Meeting,
    descendants,
    pool_at,
    run,
    settles,
)

at_each_level = pytest.mark.parametrize("level", LEVELS)

GATEWAY = """
import asyncio, sys
from mcproxy.sandbox.pool import Pool, PoolSettings
from mcproxy.sandbox.profile import Profile

async def main():
    settings = PoolSettings(*sys.argv[1:])
    async with Pool(settings, {"": Profile()}) as pool:
        await pool.start()
        print("started", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.requirement("sandbox.queue")
@pytest.mark.requirement("concurrency.time")
async def test_more_scripts_than_may_run_wait_outside_their_time_and_too_many_are_refused() -> None:
    capacity = Capacity(1, 1, "The sandbox", "scripts")
    settings = PoolSettings(level="none", min_level="none", capacity=capacity)
    limits = Limits(timeout_secs=3)
    async with Pool(settings, {"": Profile()}) as pool, asyncio.TaskGroup() as tasks:
        await pool.start()
        meeting = Meeting()
        slow = f"{CALL}\nimport time\ntime.sleep(4)"
        tasks.create_task(pool.run(Job(slow, replace(limits, timeout_secs=30)), meeting))
        await meeting.reached.wait()
        waiting = tasks.create_task(run(pool, "result = 1", limits))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match=r"^The sandbox is busy: of scripts, 1 may run at once"):
            await run(pool, "result = 2", limits)
        meeting.go.set()  # the first now sleeps for longer than the time of the second
    assert waiting.result().value == 1
    assert pool.stats.executions == 2


@pytest.mark.requirement("metrics.queue")
async def test_scripts_that_run_and_scripts_that_wait_are_counted() -> None:
    capacity = Capacity(1, 2, "The sandbox", "scripts")
    settings = PoolSettings("none", "none", capacity=capacity)
    async with Pool(settings, {"": Profile(limits=SMALL)}) as pool:
        await pool.start()
        meeting = Meeting()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(pool.run(Job(CALL, SMALL), meeting))
            await meeting.reached.wait()
            assert (pool.stats.running, pool.stats.waiting) == (1, 2)
            meeting.go.set()
        assert (pool.stats.running, pool.stats.waiting, pool.stats.executions) == (0, 0, 3)


@pytest.mark.requirement("sandbox.heals")
@at_each_level
async def test_the_death_of_the_zygote_fails_what_runs_and_heals(level: Level) -> None:
    async with pool_at(level) as pool:
        meeting = Meeting()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(pool.run(Job(CALL, SMALL), meeting))
            await meeting.reached.wait()
            for pid in descendants():
                with contextlib.suppress(ProcessLookupError):  # it dies with the one before
                    os.kill(pid, signal.SIGKILL)
        error = running.result().error
        assert error
        assert (error.type, error.retryable) == ("SandboxError", True)
        assert (await run(pool, "result = 1")).value == 1
        assert pool.stats.restarts == 1
        pool.apply({"": Profile(limits=replace(SMALL, memory_mb=65))})
        assert pool.stats.restarts == 1  # a count never falls, though its lane has retired


@pytest.mark.requirement("sandbox.heals")
async def test_a_zygote_that_dies_again_and_again_is_given_a_rest() -> None:
    async with pool_at("strict") as pool:
        for _ in range(20):
            for pid in descendants():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            error = (await run(pool, "result = 1")).error
            if error and "next try in" in error.message:
                break
        else:
            pytest.fail("it was started again and again")
        assert error.retryable


@pytest.mark.requirement("sandbox.heals")
async def test_the_death_of_a_worker_is_an_error_of_its_script_only() -> None:
    async with pool_at("strict", size=2) as pool:
        dying, living = Meeting(), Meeting()
        before = descendants()
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(pool.run(Job(CALL, SMALL), dying))
            await dying.reached.wait()
            second = tasks.create_task(pool.run(Job(CALL, SMALL), living))
            await living.reached.wait()
            # Pids grow in the order of making: of the first two workers, the first script has one.
            os.kill(sorted(before)[-2], signal.SIGKILL)
            living.go.set()
        assert (first.result().error is None) is False
        assert second.result().value == "wait"
        assert pool.stats.restarts == 0


@pytest.mark.requirement("sandbox.profiles")
async def test_new_profiles_count_at_once_and_running_scripts_keep_theirs() -> None:
    async with pool_at("strict") as pool:
        meeting = Meeting()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(pool.run(Job(CALL, SMALL), meeting))
            await meeting.reached.wait()
            bigger = replace(SMALL, memory_mb=256)
            pool.apply({"": Profile(limits=bigger)})
            outcome = await run(pool, "result = len(bytearray(100 << 20))", bigger)
            assert outcome.value == 100 << 20
            meeting.go.set()
        assert running.result().value == "wait"
        await settles(lambda: len(descendants()) == 4)  # the new zygote (three) and a worker


@pytest.mark.requirement("sandbox.leaves-nothing")
@at_each_level
async def test_closing_ends_running_scripts_and_every_process(level: Level) -> None:
    meeting = Meeting()
    async with asyncio.TaskGroup() as tasks:
        async with pool_at(level) as pool:
            running = tasks.create_task(pool.run(Job(CALL, SMALL), meeting))
            await meeting.reached.wait()
        assert not descendants()
    assert running.result().error


@pytest.mark.requirement("sandbox.leaves-nothing")
@pytest.mark.parametrize("level", LEVELS[:2])
async def test_nothing_outlives_a_gateway_that_is_killed(level: Level) -> None:
    gateway = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", GATEWAY, level, level), stdout=asyncio.subprocess.PIPE
    )
    assert gateway.stdout
    assert await gateway.stdout.readline() == b"started\n"
    await settles(lambda: len(descendants()) >= 4)
    left = descendants() - {gateway.pid}
    gateway.kill()
    await gateway.communicate()
    await settles(lambda: not any(_is_alive(pid) for pid in left))


@pytest.mark.requirement("sandbox.none")
async def test_level_none_says_so_in_every_result() -> None:
    async with Pool(PoolSettings(level="none", min_level="none"), {"": Profile()}) as pool:
        report = await pool.start()
        assert report.level == "none"
        assert set(report.guarantees.values()) == {"not enforced"}
        outcome = await run(pool, "result = 1", Limits(timeout_secs=10))
        assert outcome.value == 1
        assert any("not contained" in note for note in outcome.notes)


@pytest.mark.requirement("sandbox.min-level")
async def test_below_the_lowest_level_the_pool_refuses_with_the_cure() -> None:
    settings = PoolSettings(min_level="strict", withhold=("namespaces",))
    async with Pool(settings, {"": Profile()}) as pool:
        with pytest.raises(SandboxUnavailable) as caught:
            await pool.start()
    error = caught.value
    assert (error.reached, error.wanted) == ("hardened", "strict")
    assert "namespaces" in error.probe
    assert "seccomp profile" in error.cure


@pytest.mark.requirement("sandbox.files")
async def test_a_profile_that_the_level_cannot_enforce_is_refused(tmp_path: Path) -> None:
    settings = PoolSettings(withhold=("namespaces",))
    hiding = Profile(read_only=(str(tmp_path),), denied=(str(tmp_path / "secret"),))
    async with Pool(settings, {"": hiding}) as pool:
        with pytest.raises(ConfigError, match="cannot be hidden below"):
            await pool.start()


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.requirement("sandbox.ahead")
async def test_the_first_zygote_may_be_there_before_its_walls() -> None:
    with ahead():
        (early,) = descendants()
        async with pool_at("strict") as pool:
            assert early in descendants()
            assert (await run(pool, "result = 1")).value == 1
        assert not descendants()


@pytest.fixture
def compiled_anew() -> Iterator[None]:
    compiled = Path(importlib.util.cache_from_source(zygote.__file__))
    compiled.unlink(missing_ok=True)
    yield
    assert compiled.exists()


@pytest.mark.usefixtures("compiled_anew")
async def test_the_code_of_workers_is_kept_compiled_and_that_of_scripts_is_not() -> None:
    async with pool_at("hardened") as pool:
        assert (await run(pool, "import sys\nresult = sys.dont_write_bytecode")).value is True


@pytest.mark.requirement("sandbox.ahead")
def test_a_zygote_that_nobody_needed_is_ended() -> None:
    with contextlib.suppress(LookupError), ahead():
        assert descendants()
        raise LookupError
    assert not descendants()
