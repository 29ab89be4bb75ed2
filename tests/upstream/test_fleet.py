"""Upstream servers as real processes: well ones, odd ones, dying ones, side by side."""

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest

from mcproxy.call_errors import CallTimeout, ServerDown, UnknownServer, UpstreamError
from mcproxy.errors import RpcError
from mcproxy.exchange import NOBODY
from mcproxy.types import JsonObject, ToolRef
from tests.upstream.fleets import WAIT_SECS, Watched, running, server

NODE_EVERYTHING = (
    Path(__file__).parents[1]
    / "node/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
)


@pytest.mark.requirement("upstream.stdio")
async def test_a_call_comes_back_whole() -> None:
    async with running(echo=server("echo.py")) as watched:
        result = await watched.call("echo", "echo", a=1, b=["x", None])
        assert result["structuredContent"] == {"a": 1, "b": ["x", None]}
        health = watched.fleet.health()["echo"]
        assert (health.state, health.restarts, health.last_error) == ("ready", 0, None)


@pytest.mark.requirement("upstream.isolation")
async def test_one_bad_server_hides_none_of_the_others() -> None:
    async with running(
        good=server("echo.py"),
        missing={"command": "/no/such/command"},
        silent={"command": "sleep", "args": ["60"], "enabled": False},
        dying=server("echo.py", "--exit-at-start", "3"),
    ) as watched:
        assert (await watched.call("good", "add", a=2, b=3))["structuredContent"] == {"sum": 5}
        health = watched.fleet.health()
        assert health["missing"].state == "failed"
        assert "/no/such/command" in str(health["missing"].last_error)
        assert health["silent"].state == "disabled"
        assert "told to exit at start" in str(health["dying"].last_error)
        with pytest.raises(ServerDown, match="/no/such/command"):
            await watched.call("missing", "echo")
        with pytest.raises(UnknownServer):
            await watched.call("nowhere", "echo")


@pytest.mark.requirement("upstream.lenient")
@pytest.mark.parametrize(
    "options",
    [
        ("--banner",),
        ("--flood",),
        ("--no-discover", "error"),
        ("--odd",),
        ("--delay", "0.3"),
    ],
)
async def test_odd_servers_are_used_all_the_same(options: tuple[str, ...]) -> None:
    async with running(odd=server("echo.py", *options)) as watched:
        await watched.until("odd", lambda health: health.state == "ready")
        assert (await watched.call("odd", "add", a=1, b=1))["structuredContent"] == {"sum": 2}


@pytest.mark.requirement("upstream.pages")
async def test_every_page_of_tools_is_read() -> None:
    async with running(many=server("echo.py", "--tools", "300", "--page-size", "7")) as watched:
        names = {tool.ref.tool for tool in watched.fleet.views()[0].tools}
        assert {"tool_0001", "tool_0300", "echo"} <= names


@pytest.mark.requirement("upstream.list_changed")
async def test_a_changed_list_is_read_again() -> None:
    async with running(grower=server("echo.py", "--list-changed")) as watched:
        before = watched.fleet.health()["grower"].tools
        await watched.call("grower", "grow")
        await watched.until("grower", lambda health: health.tools == before + 1)


@pytest.mark.requirement("upstream.lines")
async def test_a_line_over_16_mib_fails_its_call_only() -> None:
    async with running(echo=server("echo.py")) as watched:
        within = await watched.call("echo", "big", bytes=15 << 20)
        assert len(str(within)) > 15 << 20
        with pytest.raises(UpstreamError, match="in one line"):
            await watched.call("echo", "big", bytes=17 << 20)
        assert (await watched.call("echo", "add", a=1, b=1))["structuredContent"] == {"sum": 2}
        assert watched.fleet.health()["echo"].restarts == 0


@pytest.mark.requirement("upstream.crash")
async def test_a_dying_server_fails_its_calls_at_once_and_comes_back() -> None:
    async with running(echo=server("echo.py")) as watched:
        await watched.call("echo", "stderr", text="the last words")
        with pytest.raises(ServerDown, match=r"(?s)SIGKILL.*the last words"):
            await watched.call("echo", "crash")
        assert watched.fleet.health()["echo"].state == "restarting"
        again = await watched.call("echo", "add", a=1, b=1)  # waits for the restart
        assert again["structuredContent"] == {"sum": 2}
        assert watched.fleet.health()["echo"].restarts == 1


@pytest.mark.requirement("upstream.timeout")
async def test_a_slow_tool_times_out_alone() -> None:
    slow = server("echo.py", tool_timeouts={"sleep": 0.2})
    async with running(echo=slow) as watched:
        with pytest.raises(CallTimeout, match=r"echo\.sleep did not answer within 0\.2 s"):
            await watched.call("echo", "sleep", secs=30)
        assert (await watched.call("echo", "add", a=1, b=1))["structuredContent"] == {"sum": 2}


async def test_what_the_server_says_no_to() -> None:
    async with running(echo=server("echo.py")) as watched:
        failed = await watched.fleet.call(NOBODY, ToolRef("echo", "fail"), {})
        assert failed.is_error
        with pytest.raises(UpstreamError) as caught:
            await watched.call("echo", "rpc_error")
        assert isinstance(caught.value.rpc, RpcError)


@pytest.mark.requirement("upstream.environment")
async def test_a_child_gets_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SECRET", "hunter2")
    async with running(echo=server("echo.py", env={"OWN": "yes"})) as watched:
        seen = (await watched.call("echo", "env"))["structuredContent"]
        assert isinstance(seen, dict)
        assert seen["OWN"] == "yes"
        assert "PATH" in seen
        assert "GATEWAY_SECRET" not in seen


@pytest.mark.requirement("upstream.group")
@pytest.mark.parametrize("options", [(), ("--stubborn",)])
async def test_nothing_survives_the_fleet(tmp_path: Path, options: tuple[str, ...]) -> None:
    note = tmp_path / "pid"
    async with running(echo=server("echo.py", "--grandchild", str(note), *options)) as watched:
        child = watched.fleet.health()["echo"].pid
        grandchild = int(note.read_text())
        assert child is not None
        processes = [psutil.Process(pid) for pid in (child, grandchild)]
    _, alive = psutil.wait_procs(processes, timeout=WAIT_SECS)
    assert alive == []


@pytest.mark.requirement("upstream.eras")
@pytest.mark.parametrize(
    ("definition", "tool", "arguments", "words"),
    [
        (server("modern.py"), "echo", {"a": 1}, "a"),
        (server("sdk_server.py"), "greet", {"name": "Ada"}, "Hello Ada"),
        (
            {"command": sys.executable, "args": ["-m", "mcp_server_time"]},
            "convert_time",
            {"source_timezone": "Asia/Tokyo", "time": "16:30", "target_timezone": "Europe/Paris"},
            "Europe/Paris",
        ),
        pytest.param(
            {"command": "node", "args": [str(NODE_EVERYTHING)]},
            "echo",
            {"message": "over there"},
            "over there",
            marks=pytest.mark.skipif(
                not shutil.which("node") or not NODE_EVERYTHING.exists(),
                reason="needs npm",
            ),
        ),
    ],
    ids=["stateless", "sdk", "time", "everything"],
)
async def test_servers_of_both_eras_and_of_others(
    definition: JsonObject, tool: str, arguments: JsonObject, words: str
) -> None:
    async with running(peer=definition) as watched:
        assert words in str(await watched.call("peer", tool, **arguments))


async def test_calls_overlap_and_replies_overtake() -> None:
    async with running(echo=server("echo.py")) as watched:
        async with asyncio.timeout(WAIT_SECS), asyncio.TaskGroup() as tasks:
            slow = tasks.create_task(_cancelled(watched))
            quick = [tasks.create_task(watched.call("echo", "add", a=n, b=1)) for n in range(50)]
            await asyncio.wait(quick)
            slow.cancel()
        assert [task.result()["structuredContent"] for task in quick] == [
            {"sum": n + 1} for n in range(50)
        ]


async def _cancelled(watched: Watched) -> None:
    await watched.call("echo", "sleep", secs=60)


async def test_a_server_killed_from_outside_is_restarted() -> None:
    async with running(echo=server("echo.py")) as watched:
        pid = watched.fleet.health()["echo"].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        health = await watched.until(
            "echo", lambda health: health.restarts == 1 and health.state == "ready"
        )
        assert health.pid != pid
