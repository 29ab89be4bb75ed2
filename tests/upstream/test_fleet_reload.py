"""A fleet follows its configuration: what is new, changed, the same, gone."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from mcproxy.call_errors import ServerDown, UnknownServer
from mcproxy.types import JsonObject
from mcproxy.upstream.server_table import TablePlan, plan
from tests.upstream.fleets import Watched, running, server, until_gone

ADD = {"a": 1, "b": 1}
ROUNDS = 4


@pytest.mark.parametrize(
    ("running_now", "wanted", "todo"),
    [
        ({}, {"a": "1"}, TablePlan(start=frozenset("a"))),
        ({"a": "1"}, {"a": "1"}, TablePlan(keep=frozenset("a"))),
        ({"a": "1"}, {"a": "2"}, TablePlan(replace=frozenset("a"))),
        ({"a": "1"}, {}, TablePlan(remove=frozenset("a"))),
        (
            {"a": "1", "b": "1", "c": "1"},
            {"b": "1", "c": "2", "d": "1"},
            TablePlan(frozenset("d"), frozenset("b"), frozenset("c"), frozenset("a")),
        ),
    ],
)
def test_what_is_to_be_done(
    running_now: Mapping[str, str], wanted: Mapping[str, str], todo: TablePlan
) -> None:
    assert plan(running_now, wanted) == todo


def pid(watched: Watched, name: str) -> int:
    """The process of a server that runs."""
    found = watched.fleet.health()[name].pid
    assert found
    return found


@pytest.mark.requirement("reload.no_restart")
async def test_limits_and_descriptions_change_without_a_restart() -> None:
    async with running(echo=server("echo.py")) as watched:
        before = pid(watched, "echo")
        watched.apply(echo=server("echo.py", description="new", tool_timeouts={"sleep": 0.1}))
        assert watched.fleet.views()[0].description == "new"
        with pytest.raises(Exception, match=r"within 0\.1 s"):
            await watched.call("echo", "sleep", secs=60)
        assert pid(watched, "echo") == before


@pytest.mark.requirement("reload.no_gap")
async def test_the_old_server_answers_until_the_new_one_is_ready() -> None:
    async with running(echo=server("echo.py")) as watched:
        before = pid(watched, "echo")
        async with asyncio.TaskGroup() as tasks:
            under_way = tasks.create_task(watched.call("echo", "sleep", secs=1))
            await _one_under_way(watched)
            watched.apply(echo=server("echo.py", "--delay", "0.5", "--tools", "3"))
            while pid(watched, "echo") == before:
                assert await watched.call("echo", "add", **ADD)
            assert watched.fleet.health()["echo"].state == "ready"
            assert await under_way
        await until_gone(before)


@pytest.mark.requirement("reload.broken")
async def test_a_broken_new_definition_counts_once_it_has_failed() -> None:
    async with running(echo=server("echo.py")) as watched:
        before = pid(watched, "echo")
        watched.apply(echo=server("echo.py", "--exit-at-start", "3"))
        health = await watched.until("echo", lambda health: bool(health.last_error))
        assert "its new definition does not start, the old one still serves" in str(
            health.last_error
        )
        assert health.pid == before
        assert await watched.call("echo", "add", **ADD)
        await watched.until("echo", lambda health: health.state == "failed")
        with pytest.raises(ServerDown, match="told to exit at start"):
            await watched.call("echo", "add", **ADD)
        watched.apply(echo=server("echo.py"))
        await watched.until("echo", lambda health: health.state == "ready")


async def test_a_definition_that_is_taken_back_leaves_the_old_server() -> None:
    async with running(echo=server("echo.py")) as watched:
        before = pid(watched, "echo")
        for number in range(3):
            watched.apply(echo=server("echo.py", "--delay", "30", "--tools", str(number)))
        watched.apply(echo=server("echo.py"))
        assert await watched.call("echo", "add", **ADD)
        assert pid(watched, "echo") == before
        assert watched.fleet.health()["echo"].restarts == 0


async def test_calls_of_a_removed_server_end_and_later_ones_are_told() -> None:
    async with running(echo=server("echo.py"), other=server("echo.py")) as watched:
        async with asyncio.TaskGroup() as tasks:
            under_way = tasks.create_task(watched.call("echo", "sleep", secs=1))
            await _one_under_way(watched)
            watched.apply(other=server("echo.py"))
            assert "echo" not in watched.fleet.health()
            with pytest.raises(ServerDown, match="taken out of the configuration"):
                await watched.call("echo", "add", **ADD)
            with pytest.raises(UnknownServer):
                await watched.call("nowhere", "add", **ADD)
            assert await under_way
        watched.apply(echo=server("echo.py"), other=server("echo.py"))
        assert await watched.call("echo", "add", **ADD)


async def test_a_given_up_server_is_tried_again_by_a_reload(tmp_path: Path) -> None:
    command = tmp_path / "server"
    definition: JsonObject = {"command": str(command)}
    async with running(late=definition) as watched:
        assert watched.fleet.health()["late"].state == "failed"
        command.symlink_to("/bin/cat")  # starts, and is no MCP server
        watched.apply(late=definition)
        health = await watched.until("late", lambda health: health.restarts == 1)
        assert "initialize" in str(health.last_error)


@pytest.mark.requirement("reload.under_load")
async def test_no_call_to_an_unchanged_server_fails_under_reloads() -> None:
    async with running(same=server("echo.py"), shifting=server("echo.py")) as watched:
        before, stop, answered = pid(watched, "same"), asyncio.Event(), 0

        async def client() -> None:
            nonlocal answered
            while not stop.is_set():
                result = await watched.call("same", "add", **ADD)
                assert result["structuredContent"] == {"sum": 2}
                await watched.call("shifting", "add", **ADD)
                answered += 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(client())
            for number in range(1, ROUNDS + 1):
                old = pid(watched, "shifting")
                shifting = server("echo.py", "--tools", str(number))
                come_and_go = {f"guest{number}": server("echo.py")}
                watched.apply(same=server("echo.py"), shifting=shifting, **come_and_go)
                await watched.until(f"guest{number}", lambda health: health.state == "ready")
                await watched.until("shifting", lambda health, old=old: health.pid != old)  # type: ignore[misc]
            stop.set()
        assert answered > ROUNDS
        assert pid(watched, "same") == before
        children = psutil.Process(os.getpid()).children()
        assert before in {child.pid for child in children}


async def _one_under_way(watched: Watched) -> None:
    """Return once the server has got a call beside those that ask it for its count."""
    while True:
        counts = (await watched.call("echo", "counter"))["structuredContent"]
        assert isinstance(counts, dict)
        if counts["calls"] != counts["count"]:
            return
