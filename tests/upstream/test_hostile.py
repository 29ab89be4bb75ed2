"""Servers that never read, or send without end: they cost neither memory nor others' turns."""

import asyncio
import json
import logging
import os
from contextlib import suppress
from pathlib import Path

import pytest

from mcproxy.call_errors import ServerDown
from mcproxy.upstream.remote.http_channel import TOLD_AT_ONCE
from mcproxy.wire.peer import TURN_MESSAGES, UnreadLimits
from tests.servers.remote_odd import Odd, serving
from tests.upstream.fleets import WAIT_SECS, running, server

MIB = 1 << 20
CALLS = 100
GROWTH_MIB = 150  # what a flood of seconds may cost; without bounds it is a gigabyte and more


def rss_mib() -> float:
    pages = int(Path(f"/proc/{os.getpid()}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def note(method: str, **params: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params})


@pytest.mark.requirement("upstream.unread")
async def test_a_server_that_never_reads_is_ended() -> None:
    async with running(bad=server("unruly.py"), good=server("echo.py")) as watched:
        before = rss_mib()
        with pytest.raises(ServerDown, match="does not read what it is sent"):
            await watched.call("bad", "pester")
        assert rss_mib() - before < GROWTH_MIB
        assert await watched.call("good", "add", a=1, b=1)
        await watched.until("bad", lambda health: health.state == "ready")
        assert await watched.call("bad", "add")


@pytest.mark.requirement("upstream.unread")
async def test_a_remote_server_that_takes_no_reply_is_ended() -> None:
    async with (
        serving(Odd()) as odd,
        running(bad={"url": odd.url}, good=server("echo.py")) as watched,
    ):
        before = rss_mib()
        with pytest.raises(ServerDown, match="does not read what it is sent"):
            await watched.call("bad", "pester")
        assert odd.untaken <= TOLD_AT_ONCE
        assert rss_mib() - before < GROWTH_MIB
        assert await watched.call("good", "add", a=1, b=1)


@pytest.mark.requirement("upstream.unread")
async def test_a_busy_server_is_waited_for() -> None:
    """More calls, and more bytes, than it may leave unread of what cannot wait."""
    large, many = "x" * (12 * MIB), 500
    async with running(busy=server("unruly.py")) as watched, asyncio.TaskGroup() as tasks:
        dozing = tasks.create_task(watched.call("busy", "doze", secs=1))
        calls = [tasks.create_task(watched.call("busy", "add", pad=large)) for _ in range(4)]
        calls += [
            tasks.create_task(watched.call("busy", "add", pad="x" * 1000)) for _ in range(many)
        ]
        await asyncio.wait([dozing, *calls])
        assert watched.fleet.health()["busy"].restarts == 0
        assert 4 * len(large) > UnreadLimits().bytes


FLOODS = {
    "junk": "?",
    "blank lines": "\n" * 100,
    "no replies": '{"jsonrpc":"2.0","id":999999,"result":{}}',
    "progress": note("progress", progressToken=1, progress=1),
    "changed tools": note("tools/list_changed"),
    "changed prompts": note("prompts/list_changed"),
    "log messages": note("message", level="info", data="x"),
    "questions": '{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}',
}


@pytest.mark.requirement("upstream.floods")
@pytest.mark.parametrize("lines", FLOODS.values(), ids=FLOODS)
async def test_a_server_that_sends_without_end_keeps_nobody_waiting(
    lines: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with running(bad=server("unruly.py"), good=server("echo.py")) as watched:
        before = rss_mib()
        with suppress(ServerDown):  # one that asks faster than it reads the answers may be ended
            await watched.call("bad", "flood", lines=lines)
        for number in range(CALLS):
            result = await watched.call("good", "add", a=number, b=1)
            assert result["structuredContent"] == {"sum": number + 1}
        assert rss_mib() - before < GROWTH_MIB


class Seen(logging.Handler):
    """Counts the lines of the log between two turns of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.enough = asyncio.Event()
        self.most = self._total = self._now = 0

    def emit(self, record: logging.LogRecord) -> None:
        self._total += 1
        self._now += 1
        self.most = max(self.most, self._now)
        if self._total == 20 * TURN_MESSAGES:
            self.enough.set()

    async def turn(self) -> None:
        while True:
            self._now = 0
            await asyncio.sleep(0)


@pytest.mark.requirement("upstream.floods")
async def test_the_loop_goes_round_between_some_lines_of_a_flood() -> None:
    seen, log = Seen(), logging.getLogger("mcproxy.upstream.child.pipes")
    async with running(bad=server("unruly.py")) as watched, asyncio.TaskGroup() as tasks:
        turning = tasks.create_task(seen.turn())
        log.addHandler(seen)
        try:
            await watched.call("bad", "flood", lines="?" * 100)
            async with asyncio.timeout(WAIT_SECS):
                await seen.enough.wait()
        finally:
            log.removeHandler(seen)
            turning.cancel()
    assert seen.most <= 2 * TURN_MESSAGES  # one of its turns may touch another's
