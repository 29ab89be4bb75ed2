"""The servers that other tests use as upstreams do what their docstrings say."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client import ClientRequestContext
from mcp.types import (
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    ImageContent,
    TextContent,
    TextResourceContents,
)

from mcproxy.demo.schema import Json, JsonObject

SERVERS = Path(__file__).parents[1] / "servers"
STOP_SECS = 10.0  # a child that lives longer than this after its end is a failure


def connect(script: str, *options: str, mode: str = "auto") -> Client:
    args = [str(SERVERS / script), *options]
    return Client(StdioServerParameters(command=sys.executable, args=args), mode=mode)


@contextmanager
def started(*options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Start ``echo.py`` with nothing between, and be sure that it ends."""
    with subprocess.Popen(
        [sys.executable, str(SERVERS / "echo.py"), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def talk(child: "subprocess.Popen[bytes]", *messages: JsonObject) -> list[str]:
    """Send messages, end the input, and return all lines of the output."""
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    out, _ = child.communicate(lines.encode(), timeout=STOP_SECS)
    return out.decode("utf-8", "replace").splitlines()


def request(number: int, method: str, **params: Json) -> JsonObject:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def call(number: int, tool: str, **arguments: Json) -> JsonObject:
    return request(number, "tools/call", name=tool, arguments=arguments)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_echo_answers_the_sdk(mode: str) -> None:
    async with connect("echo.py", "--name", "mine", mode=mode) as client:
        assert client.protocol_version == "2025-11-25"
        assert client.server_info is not None
        assert client.server_info.name == "mine"
        assert len((await client.list_tools()).tools) == 18
        echoed = await client.call_tool("echo", {"a": [1, None]})
        total = await client.call_tool("add", {"a": 1, "b": 2.5})
        plain = await client.call_tool("text", {"text": "hi"})
        image = await client.call_tool("image")
        blocks = await client.call_tool("many_blocks")
        failed = await client.call_tool("fail", {"message": "no"})
        big = await client.call_tool("big", {"bytes": 2_000_000})
        counted = await client.call_tool("counter")
        with pytest.raises(MCPError, match="told so"):
            await client.call_tool("rpc_error", {"code": -32055})
    assert echoed.structured_content == {"a": [1, None]}
    assert total.structured_content == {"sum": 3.5}
    assert plain.structured_content is None
    assert plain.content == [TextContent(text="hi")]
    assert isinstance(image.content[0], ImageContent)
    assert [block.type for block in blocks.content] == [
        "text",
        "image",
        "audio",
        "resource_link",
        "resource",
    ]
    assert failed.is_error
    assert len(big.content[0].model_dump()["text"]) == 2_000_000
    assert counted.structured_content == {"calls": 8, "count": 1, "cancelled": 0}


async def test_echo_sleeps_with_progress() -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with connect("echo.py") as client:
        result = await client.call_tool("sleep", {"secs": 0.05}, progress_callback=on_progress)
    assert seen == [1, 2, 3, 4, 5]
    assert result.structured_content == {"slept": 0.05}


async def test_echo_pages_many_tools() -> None:
    names: list[str] = []
    async with connect("echo.py", "--tools", "300", "--page-size", "50") as client:
        page = await client.list_tools()
        names += [tool.name for tool in page.tools]
        while page.next_cursor:
            page = await client.list_tools(cursor=page.next_cursor)
            names += [tool.name for tool in page.tools]
    assert len(names) == len(set(names)) == 318
    assert names[-1] == "tool_0300"


def test_echo_overtakes_and_cancels_sleep() -> None:
    cancelled: JsonObject = {"method": "notifications/cancelled", "params": {"requestId": 1}}
    with started() as child:
        lines = talk(
            child, call(1, "sleep", secs=60), call(2, "pid"), cancelled, call(3, "counter")
        )
    replies = {reply["id"]: reply["result"] for reply in map(json.loads, lines)}
    assert replies[2]["structuredContent"] == {"pid": child.pid}
    assert replies[3]["structuredContent"]["cancelled"] == 1
    assert 1 not in replies


def test_echo_late_answers_what_was_cancelled() -> None:
    with started("--late") as child:
        assert child.stdin
        assert child.stdout
        cancelled: JsonObject = {"method": "notifications/cancelled", "params": {"requestId": 1}}
        for message in (call(1, "sleep", secs=60), cancelled):
            child.stdin.write(json.dumps(message).encode() + b"\n")
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["id"] == 1


@pytest.mark.parametrize(
    ("options", "messages", "first"),
    [
        (["--banner"], [request(1, "ping")], "Welcome to echo!"),
        (["--odd"], [call(1, "repos.list", x=1)], '{"jsonrpc":"2.0","id":1,"result"'),
        (["--list-changed"], [call(1, "grow")], '{"jsonrpc":"2.0","method":"notifications/tools/'),
        ([], [call(1, "noise")], "DEBUG: not JSON"),
        ([], [request(1, "server/discover")], '{"jsonrpc":"2.0","id":1,"error":{"code":-32601'),
        (
            ["--no-discover", "silent"],
            [request(1, "server/discover"), request(2, "ping")],
            '{"jsonrpc":"2.0","id":2,"result":{}}',
        ),
    ],
)
def test_echo_misbehaves_as_told(
    options: Sequence[str], messages: Sequence[JsonObject], first: str
) -> None:
    with started(*options) as child:
        lines = talk(child, *messages)
    assert lines[0].startswith(first)
    assert child.returncode == 0


def test_echo_odd_tools_are_odd() -> None:
    with started("--odd") as child:
        messages = [call(1, "unknown_block"), call(2, "no_structure"), request(3, "tools/list")]
        block, plain, listed = (json.loads(line)["result"] for line in talk(child, *messages))
    tools = {tool["name"]: tool for tool in listed["tools"]}
    assert block == {"content": [{"type": "hologram", "depth": 3}]}
    assert "structuredContent" not in plain
    assert "inputSchema" not in tools["no_schema"]
    assert {"repos.list", "list-repos", "repos/list", "broken_ref", "int_type"} <= tools.keys()
    assert len(tools["huge"]["description"]) >= 100_000
    assert max(map(len, tools)) > 64


def test_echo_dies_as_told() -> None:
    with started() as child:
        assert talk(child, call(1, "crash"), call(2, "pid")) == []
        assert child.returncode == -signal.SIGKILL
    with started() as child:
        assert talk(child, call(1, "exit", code=7)) == []
        assert child.returncode == 7
    with started("--exit-at-start", "3") as child:
        child.wait(STOP_SECS)
        assert child.returncode == 3


def test_echo_floods_stderr() -> None:
    with started("--flood") as child:
        _, errors = child.communicate(b"", timeout=STOP_SECS)
    assert len(errors) > 1_000_000


def test_echo_stubborn_stays_until_it_is_killed() -> None:
    with started("--stubborn") as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b'{"id":1,"method":"ping"}\n')
        child.stdin.flush()
        assert child.stdout.readline()
        child.terminate()
        child.stdin.write(b'{"id":2,"method":"ping"}\n')
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["id"] == 2
    assert child.returncode == -signal.SIGKILL


def test_echo_leaves_a_grandchild(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with started("--grandchild", str(file)) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b'{"id":1,"method":"ping"}\n')
        child.stdin.flush()
        assert child.stdout.readline()
        os.kill(int(file.read_text("utf-8")), signal.SIGKILL)


@pytest.mark.parametrize("mode", ["auto", "2026-07-28"])
async def test_modern_answers_the_sdk(mode: str) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async def fill_in(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        return ElicitResult(action="accept", content={"name": "Ada"})

    client = connect("modern.py", mode=mode)
    client.elicitation_callback = fill_in
    async with client:
        assert client.protocol_version == "2026-07-28"
        echoed = await client.call_tool("echo", {"a": 1})
        asked = await client.call_tool("ask")
        await client.call_tool("count", progress_callback=on_progress)
        async with client.listen(tools_list_changed=True) as changes:
            await client.call_tool("grow")
            await anext(aiter(changes))
            assert (await client.list_tools()).tools[-1].name == "grown_5"
    assert echoed.structured_content == {"a": 1}
    assert asked.content == [TextContent(text="hello Ada")]
    assert seen == [1, 2, 3]


async def test_modern_refuses_the_handshake() -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(MCPError, match="Unsupported protocol version"), flatten_subgroups=True
    ):
        async with connect("modern.py", mode="legacy"):
            pass


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_sdk_server_answers_the_sdk(mode: str) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with connect("sdk_server.py", mode=mode) as client:
        forecast = await client.call_tool("forecast", {"city": "Rome"})
        pixel = await client.call_tool("pixel")
        work = await client.call_tool("work", progress_callback=on_progress)
        refused = await client.call_tool("refuse", {"reason": "not today"})
        (content,) = (await client.read_resource("note://readme")).contents
        prompt = await client.get_prompt("review", {"code": "x = 1"})
    assert forecast.structured_content == {"city": "Rome", "celsius": 21.0, "rain": False}
    assert isinstance(pixel.content[0], ImageContent)
    assert work.content == [TextContent(text="done")]
    assert seen == [1, 2, 3]
    assert refused.is_error
    assert isinstance(content, TextResourceContents)
    assert content.text == "Read me."
    assert prompt.messages[0].content == TextContent(text="Please review:\nx = 1")
