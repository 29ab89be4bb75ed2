"""Five servers, one of them at fault in some way: the other four keep answering throughout."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mcproxy.call_errors import CallError, CallTimeout, ServerDown, UpstreamError
from mcproxy.types import JsonObject
from tests.upstream.fleets import WAIT_SECS, Watched, running, server

GOOD = ("one", "two", "three", "four")
ROUNDS_AFTER = 3
PAUSE_SECS = 0.02  # between the calls of a client: some faults last for seconds
MIB = 1 << 20


async def killed(watched: Watched) -> None:
    pid = watched.fleet.health()["bad"].pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    await watched.until("bad", lambda health: health.restarts == 1 and health.state == "ready")


async def stopped(watched: Watched) -> None:
    """SIGSTOP: the process is there, and does nothing."""
    pid = watched.fleet.health()["bad"].pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(CallTimeout):
        await watched.call("bad", "add", a=1, b=1)
    os.kill(pid, signal.SIGCONT)
    assert await watched.call("bad", "add", a=1, b=1)


async def mute(watched: Watched) -> None:
    with pytest.raises(CallTimeout):
        await watched.call("bad", "mute")
    with pytest.raises(CallTimeout):
        await watched.call("bad", "add")


async def slow(watched: Watched) -> None:
    with pytest.raises(CallTimeout):
        await watched.call("bad", "sleep", secs=60)
    assert await watched.call("bad", "add", a=1, b=1)


async def late(watched: Watched) -> None:
    """It answers a call that was given up; the answer must reach nobody."""
    with pytest.raises(CallTimeout):
        await watched.call("bad", "sleep", secs=1.5)
    for number in range(30):
        result = await watched.call("bad", "add", a=number, b=1)
        assert result["structuredContent"] == {"sum": number + 1}
        await asyncio.sleep(0.05)


async def flooding(watched: Watched) -> None:
    for _ in range(8):
        await watched.call("bad", "stderr", text="x" * MIB)
    assert await watched.call("bad", "add", a=1, b=1)


async def garbage(watched: Watched) -> None:
    for _ in range(10):
        await watched.call("bad", "noise")
    assert watched.fleet.health()["bad"].restarts == 0


async def huge(watched: Watched) -> None:
    with pytest.raises(CallError, match="in one line"):
        await watched.call("bad", "big", bytes=20 * MIB)
    assert await watched.call("bad", "add", a=1, b=1)


async def twice(watched: Watched) -> None:
    for _ in range(5):
        assert "twice" in str(await watched.call("bad", "twice"))
        assert "add" in str(await watched.call("bad", "add"))


async def out_of_order(watched: Watched) -> None:
    async with asyncio.TaskGroup() as tasks:
        held = tasks.create_task(watched.call("bad", "hold"))
        later = tasks.create_task(watched.call("bad", "add"))
    assert "hold" in str(held.result())
    assert "add" in str(later.result())


DEEP = "[" * 100_000 + "]" * 100_000  # more than any interpreter reads: 3.13 does 10,000
REPLY = '{"jsonrpc":"2.0","id":ID,"result":'

UNREADABLE = (
    REPLY + '{"content":[{"type":"text","text":"\xff"}]}}',  # no UTF-8
    REPLY + '{"content":[{"type":"text","text":"\\ud800"}]}}',  # half a character
    REPLY + '{"content":' + DEEP + "}}",
    REPLY + '{"content":',
    '{"result":{"content":' + DEEP + '},"jsonrpc":"2.0","id":ID}',
    '{"jsonrpc":"2.0","id":ID,"error":{"code":1,"message":"\xff"}}',
    '{"jsonrpc":"2.0","id":ID,"error":{"code":1,"message":"no","data":'
    + "[" * 900
    + "]" * 900
    + "}}",
)

UPDATED = '{"jsonrpc":"2.0","method":"notifications/resources/updated","params":'
MESSAGE = '{"jsonrpc":"2.0","method":"notifications/message","params":'

ODD = (
    UPDATED + "[1]}",
    UPDATED + DEEP + "}",
    UPDATED + "[" * 900 + "]" * 900 + "}",
    MESSAGE + '{"level":{},"data":1}}',
    MESSAGE + '{"level":"\xff","data":1}}',
    '{"jsonrpc":"2.0","id":"' + "9" * 5000 + '","result":{}}',
    '{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":"\xff"}}',
    '{"jsonrpc":"2.0","id":[],"result":{}}',
    '{"jsonrpc":"2.0","id":8,"method":"elicitation/create","params":[1]}',
)


async def unreadable(watched: Watched) -> None:
    """Whoever waits for the reply is told at once, and not after the time-out."""
    for line in UNREADABLE:
        with pytest.raises(UpstreamError):
            await watched.call("bad", "say", line=line)


async def odd(watched: Watched) -> None:
    """What is said beside the replies is passed over, and the replies in the same breath are not:
    all lines are in the pipe at once."""
    for line in ODD:
        for _ in range(3):
            assert await watched.call("bad", "say", line=line + "\n" + line)
    assert watched.fleet.health()["bad"].restarts == 0


async def exiting(watched: Watched) -> None:
    await watched.until("bad", lambda health: health.state == "failed")
    with pytest.raises(ServerDown, match="told to exit at start"):
        await watched.call("bad", "add")


Fault = Callable[[Watched], Awaitable[None]]

FAULTS: list[tuple[Fault, JsonObject]] = [
    (killed, server("echo.py")),
    (stopped, server("echo.py", timeout_secs=1)),
    (mute, server("unruly.py", timeout_secs=0.5)),
    (slow, server("echo.py", tool_timeouts={"sleep": 0.5})),
    (late, server("echo.py", "--late", tool_timeouts={"sleep": 0.5})),
    (flooding, server("echo.py", "--flood")),
    (garbage, server("echo.py", "--banner")),
    (huge, server("echo.py")),
    (twice, server("unruly.py")),
    (out_of_order, server("unruly.py")),
    (unreadable, server("unruly.py", timeout_secs=10)),
    (odd, server("unruly.py", timeout_secs=10)),
    (exiting, server("echo.py", "--exit-at-start", "1")),
]


@pytest.mark.requirement("upstream.four_of_five")
@pytest.mark.parametrize(("fault", "bad"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
async def test_four_of_five_servers_keep_answering(fault: Fault, bad: JsonObject) -> None:
    good = {name: server("echo.py") for name in GOOD}
    async with running(bad=bad, **good) as watched:
        pids = {name: watched.fleet.health()[name].pid for name in GOOD}
        over = asyncio.Event()

        async def client(name: str) -> int:
            rounds, left = 0, ROUNDS_AFTER
            while left:
                left -= over.is_set()
                async with asyncio.timeout(WAIT_SECS):
                    result = await watched.call(name, "add", a=rounds, b=1)
                rounds += 1
                assert result["structuredContent"] == {"sum": rounds}
                await asyncio.sleep(PAUSE_SECS)
            return rounds

        async with asyncio.TaskGroup() as tasks:
            clients = [tasks.create_task(client(name)) for name in GOOD]
            await fault(watched)
            over.set()
        assert all(one.result() > ROUNDS_AFTER for one in clients)
        assert {name: watched.fleet.health()[name].pid for name in GOOD} == pids


@pytest.mark.requirement("upstream.slow_start")
async def test_a_call_waits_for_a_server_that_starts_slowly_and_the_others_do_not(
    tmp_path: Path,
) -> None:
    good = {name: server("echo.py") for name in GOOD}
    watched = Watched({"servers": {"slow": server("echo.py", "--delay", "10"), **good}}, tmp_path)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watched.fleet.run())
        waiting = tasks.create_task(watched.call("slow", "add", a=1, b=1))
        for name in GOOD:
            assert await watched.call(name, "add", a=1, b=1)
        assert not waiting.done()
        assert watched.fleet.health()["slow"].state == "starting"
        assert (await waiting)["structuredContent"] == {"sum": 2}
        assert watched.fleet.health()["slow"].restarts == 0
        task.cancel()
