"""Servers that keep state: who is served by which process, and when one ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from mcproxy.call_errors import ServerDown, UpstreamError
from mcproxy.exchange import NOBODY, Exchange, Tenant
from mcproxy.types import Json, JsonObject, ServerHealth
from tests.upstream.fleets import (
    BEHIND,
    LOOK_SECS,
    WAIT_SECS,
    Watched,
    running,
    running_document,
    server,
    until_gone,
)

GONE_SECS = 10.0  # for what has ended to be noticed


def keeping(*options: str, affinity: str = "client", **more: Json) -> JsonObject:
    """A server that counts its calls, with a process for each client."""
    return server("echo.py", *options, affinity=affinity, **more)


def _drop(method: str, params: JsonObject) -> None:
    """Nobody listens."""


async def _refuse(method: str, params: JsonObject) -> JsonObject:
    raise AssertionError(method)


class Client:
    """A client's session, whose calls go to the server ``echo``."""

    def __init__(self, watched: Watched) -> None:
        self.tenant = Tenant()
        self._watched = watched

    async def call(self, tool: str, **arguments: Json) -> JsonObject:
        """Call a tool as this client; its structured content."""
        token = BEHIND.set(Exchange(_drop, _refuse, tenant=self.tenant))
        try:
            result = (await self._watched.call("echo", tool, **arguments)).get("structuredContent")
        finally:
            BEHIND.reset(token)
        return result if isinstance(result, dict) else {}

    async def pid(self) -> int:
        """The process that serves this client."""
        pid = (await self.call("pid"))["pid"]
        assert isinstance(pid, int)
        return pid


async def until(watched: Watched, condition: Callable[[ServerHealth], bool]) -> ServerHealth:
    """Wait, bounded, until ``echo`` is as the condition wants it; nobody tells of instances."""
    async with asyncio.timeout(WAIT_SECS):
        while not condition(health := watched.fleet.health()["echo"]):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECS)
    return health


@asynccontextmanager
async def clients(number: int, **more: Json) -> AsyncIterator[tuple[Watched, list[Client]]]:
    """A fleet of one server that keeps state, and some who use it."""
    async with running(echo=keeping(**more)) as watched:  # type: ignore[arg-type]
        yield watched, [Client(watched) for _ in range(number)]


@pytest.mark.requirement("affinity.client")
async def test_each_session_has_a_process_and_state_of_its_own() -> None:
    async with clients(2) as (watched, (ada, bob)):
        shared = watched.fleet.health()["echo"].pid
        pids = await asyncio.gather(ada.pid(), ada.pid(), ada.pid(), bob.pid(), bob.pid())
        assert len({shared, *pids[:3]}) == 2
        assert len({shared, pids[0], *pids[3:]}) == 3
        await ada.call("counter")
        assert (await ada.call("counter"))["count"] == 2
        assert (await bob.call("counter"))["count"] == 1
        assert set(watched.fleet.health()["echo"].instances or ()) == {pids[0], pids[3]}


async def test_tenants_differ_by_caller_and_namespace() -> None:
    async with clients(3) as (_, (ada, bob, eve)):
        bob.tenant = Tenant(ada.tenant.ended, "bob")
        eve.tenant = Tenant(ada.tenant.ended, "", "other")
        assert len({await ada.pid(), await bob.pid(), await eve.pid()}) == 3


@pytest.mark.requirement("affinity.call")
async def test_each_call_has_a_fresh_process() -> None:
    async with clients(1, affinity="call") as (watched, (ada,)):
        pids = [await ada.pid() for _ in range(3)]
        assert len(set(pids)) == 3
        await until_gone(*pids)
        async with asyncio.timeout(GONE_SECS):
            while watched.fleet.health()["echo"].instances:  # noqa: ASYNC110  nobody is told
                await asyncio.sleep(0.01)
        with pytest.raises(UpstreamError, match="an instance of its own"):
            await watched.fleet.upstream.watch(NOBODY, "echo", "memo://one", ada.tenant)


@pytest.mark.requirement("affinity.limit")
async def test_at_the_limit_a_call_is_refused_with_words() -> None:
    async with clients(3, max_instances=2) as (_, (ada, bob, eve)):
        first, _ = await ada.pid(), await bob.pid()
        with pytest.raises(
            ServerDown, match=r"is full: all 2 of its instances .* max_instances"
        ) as full:
            await eve.pid()
        assert full.value.retryable
        assert await ada.pid() == first
        ada.tenant.ended.set()
        assert await eve.pid() != first  # it waits for the process of the session that has ended
        assert not psutil.pid_exists(first)


@pytest.mark.requirement("affinity.limit")
async def test_never_are_there_more_processes_than_the_limit() -> None:
    most, before = 0, len(psutil.Process(os.getpid()).children())
    async with clients(1, affinity="call", max_instances=2) as (watched, (ada,)):
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(_pid_or_none(ada)) for _ in range(6)]
            while not all(call.done() for call in calls):
                most = max(most, len(psutil.Process(os.getpid()).children()) - before - 1)
                await asyncio.sleep(0)
        assert sorted(bool(call.result()) for call in calls) == [False] * 4 + [True] * 2
        for _ in range(3):
            assert await ada.pid()  # the last one has to go first
        assert len(watched.fleet.health()["echo"].instances or ()) <= 2
    assert most <= 2


async def _pid_or_none(client: Client) -> int | None:
    try:
        return await client.pid()
    except ServerDown:
        return None


@pytest.mark.requirement("affinity.ended")
async def test_a_session_that_ends_takes_its_process_along() -> None:
    async with clients(2) as (watched, (ada, bob)):
        gone, stays = await ada.pid(), await bob.pid()
        ada.tenant.ended.set()
        with pytest.raises(ServerDown, match="has ended"):
            await ada.pid()
        await until_gone(gone)
        health = await until(watched, lambda health: health.instances == (stays,))
        assert health.last_error is None
        assert await bob.pid() == stays


@pytest.mark.requirement("affinity.idle")
async def test_an_unused_process_stops_and_the_next_call_starts_another() -> None:
    async with clients(1, instance_idle_secs=0.3) as (watched, (ada,)):
        first = await ada.pid()
        idle = await until(watched, lambda health: (health.instances, health.state) == ((), "idle"))
        assert (idle.pid, idle.last_error) == (None, None)  # the one that tells the tools, too
        assert idle.tools > 0
        await until_gone(first)
        assert await ada.pid() != first
        assert watched.fleet.health()["echo"].state == "idle"
        assert not await watched.fleet.upstream.list("echo", "prompts/list")  # it wakes to say so
        assert watched.fleet.health()["echo"].state == "ready"


@pytest.mark.requirement("affinity.crash")
async def test_a_crash_fails_the_calls_of_one_client_only() -> None:
    async with clients(2) as (watched, (ada, bob)):
        first, other = await ada.pid(), await bob.pid()
        await ada.call("stderr", text="the last words")
        with pytest.raises(ServerDown, match=r"(?s)SIGKILL.*the last words"):
            await ada.call("crash")
        assert await ada.pid() != first
        assert await bob.pid() == other
        os.kill(other, signal.SIGKILL)
        await until_gone(other)
        assert await bob.pid() not in (first, other)
        health = watched.fleet.health()["echo"]
        assert (health.state, health.restarts, health.last_error) == ("ready", 0, None)


async def test_an_instance_that_does_not_start_fails_its_call_and_is_tried_again(
    tmp_path: Path,
) -> None:
    command = tmp_path / "server"
    command.write_text(f"#!/bin/sh\nexec {' '.join(_argv())}\n")
    command.chmod(0o700)
    async with running(echo={"command": str(command), "affinity": "client"}) as watched:
        ada = Client(watched)
        command.rename(tmp_path / "elsewhere")
        with pytest.raises(ServerDown, match="there is no command"):
            await ada.pid()
        (tmp_path / "elsewhere").rename(command)
        assert await ada.pid()


def _argv() -> list[str]:
    definition = server("echo.py")
    assert isinstance(definition["args"], list)
    return [str(definition["command"]), *map(str, definition["args"])]


@pytest.mark.requirement("affinity.memory")
async def test_an_instance_over_its_memory_is_stopped_and_the_others_are_not(
    tmp_path: Path,
) -> None:
    definition = server("unruly.py", affinity="client", sandbox={"memory_mb": 64})
    async with running_document({"servers": {"echo": definition}}, tmp_path) as watched:
        ada, bob = Client(watched), Client(watched)
        await ada.call("add")
        (first,) = watched.fleet.health()["echo"].instances or ()
        await bob.call("add")
        calls = (ada.call("hog", mb=200), ada.call("mute"))  # the second waits until it is killed
        _, down = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(down, ServerDown)
        assert "memory_mb of its sandbox is 64" in down.message
        health = await until(watched, lambda health: first not in (health.instances or ()))
        assert len(health.instances or ()) == 1
        await ada.call("add")
        assert len(watched.fleet.health()["echo"].instances or ()) == 2


@pytest.mark.requirement("affinity.reload")
async def test_a_reload_keeps_instances_unless_it_changes_their_server() -> None:
    async with clients(2) as (watched, (ada, bob)):
        first, other = await ada.pid(), await bob.pid()
        watched.apply(echo=keeping(max_instances=2, description="new"), new=server("echo.py"))
        assert (await ada.pid(), await bob.pid()) == (first, other)
        with pytest.raises(ServerDown, match="all 2 of its instances"):
            await Client(watched).pid()
        async with asyncio.TaskGroup() as tasks:
            under_way = tasks.create_task(ada.call("sleep", secs=1))
            await asyncio.sleep(0)
            watched.apply(echo=keeping("--tools", "1"))
            await until_gone(other)
            assert await under_way == {"slept": 1}
        await until_gone(first)
        assert await ada.pid() not in (first, other)
        watched.apply()
        with pytest.raises(ServerDown, match="taken out"):
            await ada.pid()


@pytest.mark.requirement("affinity.reload")
async def test_affinity_changes_without_a_restart() -> None:
    async with clients(1) as (watched, (ada,)):
        shared, own = watched.fleet.health()["echo"].pid, await ada.pid()
        watched.apply(echo=server("echo.py"))
        assert await ada.pid() == shared
        await until_gone(own)
        assert watched.fleet.health()["echo"].instances is None
        watched.apply(echo=keeping(affinity="call"))
        assert await ada.pid() not in (shared, own)
        assert watched.fleet.health()["echo"].pid == shared


@pytest.mark.requirement("affinity.nothing_left")
@pytest.mark.parametrize("options", [(), ("--stubborn",)])
async def test_no_instance_survives_the_fleet(options: tuple[str, ...]) -> None:
    async with running(echo=keeping(*options)) as watched:
        pids = [await Client(watched).pid() for _ in range(3)]
    await until_gone(*pids)
