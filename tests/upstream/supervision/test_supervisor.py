"""One server's life: what it survives, what ends it, what its callers are told."""

import asyncio
import logging
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from mcproxy.call_errors import CallTimeout, ServerDown, UpstreamError
from mcproxy.cancellation import Clock
from mcproxy.exchange import NOBODY
from mcproxy.hooks import Occasion
from mcproxy.types import JsonObject, ToolRef
from mcproxy.upstream.fleet import fleet_actions
from mcproxy.upstream.supervision.calls import CLOSED, OPEN_SECS, THRESHOLD
from mcproxy.upstream.supervision.server_limits import StartSlots
from tests.servers import unruly
from tests.upstream.fleets import (
    LOOK_SECS,
    SERVERS,
    WAIT_SECS,
    Watched,
    running,
    server,
    until_gone,
)

ADD = {"a": 1, "b": 1}


@pytest.mark.requirement("upstream.given_up")
async def test_a_server_that_never_starts_is_given_up_after_three_restarts() -> None:
    async with running(dying=server("echo.py", "--exit-at-start", "3")) as watched:
        health = await watched.until("dying", lambda health: health.state == "failed")
        assert health.restarts == 3
        assert "told to exit at start" in str(health.last_error)
        with pytest.raises(ServerDown, match=r"(?s)status 3.*told to exit at start"):
            await watched.call("dying", "add", **ADD)


@pytest.mark.requirement("upstream.restart_failed")
async def test_a_server_that_was_given_up_starts_when_asked_to(tmp_path: Path) -> None:
    command = tmp_path / "late"
    async with running(late={"command": str(command)}, fine=server("echo.py")) as watched:
        assert watched.fleet.health()["late"].state == "failed"
        pid = watched.fleet.health()["fine"].pid
        command.write_text(f"#!/bin/sh\nexec {sys.executable} {SERVERS / 'echo.py'}\n")
        command.chmod(0o755)
        actions = fleet_actions(watched.fleet)
        await actions["restart_failed"](Occasion("manual"))
        await watched.until("late", lambda health: health.state == "ready")
        assert watched.fleet.health()["fine"].pid == pid


@pytest.mark.requirement("hooks.no_loop")
async def test_a_server_is_not_revived_by_its_own_failure() -> None:
    async with running(absent={"command": "/no/such/command"}) as watched:
        await watched.until("absent", lambda health: health.state == "failed")
        actions = fleet_actions(watched.fleet)
        await actions["restart_failed"](Occasion("server_health"))
        assert watched.fleet.health()["absent"].state == "failed"
        await actions["restart_failed"](Occasion("tools_changed"))
        assert watched.fleet.health()["absent"].state == "starting"


@pytest.mark.requirement("upstream.stderr_tail")
async def test_calls_in_flight_fail_with_the_last_20_lines() -> None:
    async with running(echo=server("echo.py")) as watched, asyncio.TaskGroup() as tasks:
        for number in range(30):
            await watched.call("echo", "stderr", text=f"line {number}.")
        waiting = [tasks.create_task(_failure(watched)) for _ in range(5)]
        counted = await watched.call("echo", "counter")
        assert counted["structuredContent"]
        with pytest.raises(ServerDown):
            await watched.call("echo", "exit", code=7)
        for told in await asyncio.gather(*waiting):
            assert "status 7" in told
            assert "line 29." in told
            assert "line 10." in told
            assert "line 9." not in told


async def _failure(watched: Watched) -> str:
    with pytest.raises(ServerDown) as caught:
        await watched.call("echo", "sleep", secs=600)
    return str(caught.value)


@pytest.mark.requirement("upstream.detached")
@pytest.mark.parametrize("how", ["stopped", "crashed"])
async def test_what_a_server_started_in_a_session_of_its_own_goes_with_it(
    tmp_path: Path, how: str
) -> None:
    note = tmp_path / "pid"
    async with running(unruly=server("unruly.py")) as watched:
        await watched.call("unruly", "detach", file=str(note))
        sleeper = int(note.read_text())
        assert psutil.pid_exists(sleeper)
        if how == "crashed":
            await watched.fleet.look()
            pid = watched.fleet.health()["unruly"].pid
            assert pid
            psutil.Process(pid).kill()
            await watched.until("unruly", lambda health: health.restarts == 1)
            await until_gone(sleeper)
    await until_gone(sleeper)


@pytest.mark.requirement("upstream.memory")
async def test_a_server_over_its_memory_is_restarted_with_the_reason() -> None:
    capped = server("unruly.py", sandbox={"memory_mb": 100})
    async with running(unruly=capped, other=server("echo.py")) as watched:
        await watched.call("unruly", "hog", mb=20)
        with pytest.raises(ServerDown, match="memory_mb of its sandbox is 100"):
            await watched.call("unruly", "hog", mb=150, silent=True)
        await watched.until("unruly", lambda health: health.state == "ready")
        assert watched.fleet.health()["unruly"].restarts == 1
        assert watched.fleet.health()["other"].restarts == 0


@pytest.mark.requirement("upstream.signals")
async def test_a_server_ended_by_a_real_time_signal_comes_back() -> None:
    async with running(echo=server("echo.py")) as watched:
        before = watched.fleet.health()["echo"].pid
        assert before
        os.kill(before, 40)
        told = await watched.until("echo", lambda health: health.restarts == 1)
        assert "it was killed by SIGRTMIN" in str(told.last_error)
        after = await watched.until("echo", lambda health: health.state == "ready")
        assert after.pid not in (None, before)


@pytest.mark.requirement("upstream.closed_output")
async def test_a_server_that_closes_its_output_and_lives_on_is_started_again() -> None:
    async with running(unruly=server("unruly.py")) as watched:
        with pytest.raises(ServerDown, match="it closed its output and ran on"):
            await watched.call("unruly", "close")
        await watched.until("unruly", lambda health: health.state == "ready")
        assert watched.fleet.health()["unruly"].restarts == 1


async def test_a_server_inherits_no_descriptor_but_its_three_pipes() -> None:
    async with running(unruly=server("unruly.py")) as watched:
        pid = watched.fleet.health()["unruly"].pid
        held = [os.readlink(f"/proc/{pid}/fd/{one}") for one in os.listdir(f"/proc/{pid}/fd")]  # noqa: PTH115, PTH208
        inherited = os.listdir("/proc/self/fd")  # noqa: PTH208
        assert len(inherited) > 3
        assert len([one for one in held if one.startswith(("pipe:", "socket:"))]) == 3


@pytest.mark.requirement("upstream.start_timeout")
async def test_a_start_that_takes_long_says_what_it_does_and_has_its_own_limit() -> None:
    slow = server("unruly.py", "--never", start_timeout_secs=3)
    async with running_at_once(slow=slow) as watched:
        clock = Clock()
        behind = replace(NOBODY, clock=clock)  # as a script's limit does, it counts for the call
        with pytest.raises(ServerDown, match="it is still starting") as caught:
            async with clock.limit(1.5):
                await watched.fleet.call(behind, ToolRef("slow", "add"), {})
        assert "fetching 3 packages" in str(caught.value)
        health = watched.fleet.health()["slow"]
        assert health.state == "starting"
        assert "it last wrote: fetching 3 packages" in str(health.last_error)
        told = await watched.until("slow", lambda health: health.state == "restarting")
        assert "start_timeout_secs: 3" in str(told.last_error)


@asynccontextmanager
async def running_at_once(**servers: JsonObject) -> AsyncIterator[Watched]:
    """Run a fleet, without a wait for its servers."""
    with tempfile.TemporaryDirectory() as state:
        watched = Watched({"servers": {**servers}}, Path(state))
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(watched.fleet.run())
            async with asyncio.timeout(WAIT_SECS):
                while "fetching" not in str(watched.fleet.health()["slow"].last_error):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_SECS)
            yield watched
            task.cancel()


@pytest.mark.requirement("upstream.ready_line")
async def test_a_ready_server_and_its_words_are_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "mcproxy")
    async with running(echo=server("echo.py")) as watched:
        await watched.call("echo", "stderr", text="for people")
        await watched.call("echo", "add", **ADD)
    lines = [record.getMessage() for record in caplog.records]
    assert any(re.fullmatch(r"echo: ready in \d+\.\d s: \S+ \S+, \d+ tools", one) for one in lines)
    assert "echo: stderr: for people" in lines


@pytest.mark.requirement("upstream.list_kept")
async def test_tools_that_cannot_be_listed_again_stay() -> None:
    async with running(unruly=server("unruly.py", "--fail-list")) as watched:
        before = watched.fleet.health()["unruly"]
        await watched.call("unruly", "relist")
        await watched.call("unruly", "add")
        after = watched.fleet.health()["unruly"]
        assert replace(after, rss_mb=before.rss_mb) == before
        assert after.tools == len(unruly.NAMES)


@pytest.mark.requirement("upstream.dwell")
async def test_a_server_may_be_given_time_to_register_its_tools() -> None:
    late = server("unruly.py", "--late-tool", "0.4", manifests={"startup_dwell_secs": 1.5})
    async with running(unruly=late) as watched:
        assert watched.fleet.health()["unruly"].tools == len(unruly.NAMES) + 1


@pytest.mark.requirement("upstream.breaker")
async def test_a_silent_server_is_closed_off_and_says_when_it_is_tried_again() -> None:
    hung = server("unruly.py", timeout_secs=0.2)
    async with running(unruly=hung, other=server("echo.py")) as watched:
        for _ in range(THRESHOLD):
            with pytest.raises(CallTimeout):
                await watched.call("unruly", "mute")
        with pytest.raises(ServerDown, match="got no answer") as caught:
            await watched.call("unruly", "add")
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= OPEN_SECS
        assert await watched.call("other", "add", **ADD)


async def test_a_slow_tool_does_not_close_off_a_server_that_answers() -> None:
    slow = server("echo.py", tool_timeouts={"sleep": 0.05})
    async with running(echo=slow) as watched:
        for _ in range(2 * THRESHOLD):
            with pytest.raises(CallTimeout):
                await watched.call("echo", "sleep", secs=60)
        assert await watched.call("echo", "add", **ADD)


async def test_errors_never_close_off_a_server() -> None:
    async with running(echo=server("echo.py")) as watched:
        for _ in range(3 * THRESHOLD):
            await watched.call("echo", "fail")
            with pytest.raises(UpstreamError):
                await watched.call("echo", "rpc_error", code=-32000)
        assert await watched.call("echo", "add", **ADD)


def test_one_call_at_a_time_tries_a_server_that_was_silent() -> None:
    breaker = CLOSED
    for _ in range(THRESHOLD):
        assert breaker.refuses_for(0) == 0
        breaker = breaker.failed(0)
    assert breaker.refuses_for(0) == OPEN_SECS
    assert breaker.refuses_for(OPEN_SECS) == 0
    trying = breaker.admitted(OPEN_SECS)
    assert trying.refuses_for(OPEN_SECS) == OPEN_SECS
    assert trying.failed(OPEN_SECS + 1).refuses_for(OPEN_SECS + 1) == OPEN_SECS


@pytest.mark.requirement("upstream.turns")
async def test_a_few_servers_start_at_once_and_a_slow_one_holds_up_nobody() -> None:
    turns = StartSlots(at_once=2, counted_secs=0.05)
    reached = 0
    async with asyncio.timeout(WAIT_SECS), asyncio.TaskGroup() as tasks:
        release = asyncio.Event()

        async def start() -> None:
            nonlocal reached
            async with turns.turn():
                reached += 1
                if reached == 6:
                    release.set()
                await release.wait()

        for _ in range(6):
            tasks.create_task(start())
        await asyncio.sleep(0)
        assert reached <= 2
