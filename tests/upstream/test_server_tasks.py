"""Calls that their servers make tasks of, in both eras: they are awaited like any other."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from mcproxy.call_errors import CallTimeout, UpstreamError
from mcproxy.exchange import NOBODY
from mcproxy.types import Json, JsonObject
from tests.upstream.fleets import BEHIND, WAIT_SECS, Watched, running, server

ERAS = pytest.mark.parametrize("name", ["stateless", "handshake"])
UNUSED_SECS = 0.3  # less than any of these tasks takes


@pytest.fixture
async def fleet() -> AsyncIterator[Watched]:
    short: dict[str, Json] = {"timeout_secs": UNUSED_SECS}
    async with running(
        stateless=server("tasker.py", **short),
        handshake=server("tasker.py", "--handshake", **short),
    ) as watched:
        yield watched


async def seen(fleet: Watched, name: str) -> JsonObject:
    """What the server was asked."""
    told = (await fleet.call(name, "seen"))["structuredContent"]
    assert isinstance(told, dict)
    return told


@pytest.mark.requirement("tasks.awaited")
@ERAS
async def test_a_task_is_awaited_longer_than_its_server_may_be_silent(
    fleet: Watched, name: str
) -> None:
    given = await fleet.call(name, "job", polls=5)  # half a second of polls at least
    assert given["structuredContent"] == {"done": 5}
    assert not given.get("isError")
    told = await seen(fleet, name)
    assert isinstance(told["methods"], dict)
    assert told["methods"]["tasks/get"] == 5
    assert told["cancelled"] == []


@pytest.mark.requirement("tasks.awaited")
@ERAS
async def test_how_tasks_end(fleet: Watched, name: str) -> None:
    refused = await fleet.call(name, "job", then="tool_error")
    assert (refused["isError"], refused["content"]) == (
        True,
        [{"type": "text", "text": "no such job"}],
    )
    for then, text in (
        ("rpc_error", "the job broke"),
        ("cancelled", "cancelled the task: as told"),
    ):
        with pytest.raises(UpstreamError, match=text):
            await fleet.call(name, "job", then=then)
    assert (await seen(fleet, name))["cancelled"] == []


async def test_a_status_that_nobody_knows_is_an_error(fleet: Watched) -> None:
    with pytest.raises(UpstreamError, match="'resting'"):
        await fleet.call("stateless", "job", then="odd")
    assert (await seen(fleet, "stateless"))["cancelled"] == ["task-1"]


@pytest.mark.requirement("tasks.awaited")
@ERAS
async def test_a_task_asks_the_client_once(fleet: Watched, name: str) -> None:
    asked: list[str] = []

    async def ask(method: str, params: JsonObject) -> JsonObject:
        asked.append(method)
        await asyncio.sleep(2 * UNUSED_SECS)  # a person takes longer than the server may
        return {"action": "accept", "content": {"name": "Ada"}}

    BEHIND.set(replace(NOBODY, ask=ask, capabilities={"elicitation": {}}))
    given = await fleet.call(name, "job", ask=True)
    assert given["structuredContent"] == {"done": 1, "name": "Ada"}
    assert asked == ["elicitation/create"]


@pytest.mark.requirement("tasks.cancelled")
@ERAS
async def test_a_task_that_nobody_waits_for_is_cancelled(fleet: Watched, name: str) -> None:
    async with asyncio.timeout(WAIT_SECS), asyncio.TaskGroup() as tasks:
        call = tasks.create_task(fleet.call(name, "job", polls=1_000_000))
        while not (await seen(fleet, name))["methods"]:
            pass
        call.cancel()
        await asyncio.wait([call])
        assert (await seen(fleet, name))["cancelled"] == ["task-1"]


@pytest.mark.requirement("tasks.cancelled")
async def test_a_server_that_falls_silent_is_not_waited_for() -> None:
    silent = server("tasker.py", "--silent", timeout_secs=UNUSED_SECS)
    async with running(silent=silent) as watched:
        with pytest.raises(CallTimeout):
            await watched.call("silent", "job", polls=3)


async def test_a_tool_that_need_not_be_a_task_is_none(fleet: Watched) -> None:
    given = await fleet.call("handshake", "maybe")
    assert given["content"] == [{"type": "text", "text": '"no task"'}]
