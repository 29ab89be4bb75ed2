"""``--stdio``: the official SDK as a client of ours in both eras, and odd clients too."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcproxy import mcp
from mcproxy.frontends.conversation import MAX_RUNNING
from mcproxy.types import JsonObject
from tests.e2e.gateways import MAIN, PATIENT, ROOT, echo
from tests.preloaded.program import command

CONFIG: JsonObject = {"servers": {"echo": echo()}, "manifests": PATIENT}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mcproxy.json"
    path.write_text(json.dumps(CONFIG))
    return path


@pytest.mark.requirement("stdio.sdk")
@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_the_sdk_lists_searches_and_executes(config: Path, mode: str) -> None:
    parameters = StdioServerParameters(
        command=sys.executable, args=[str(MAIN), "--stdio", "--config", str(config)]
    )
    async with Client(stdio_client(parameters), mode=mode) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["search", "execute"]
        found = await client.call_tool("search", {"query": "add two numbers"})
        assert "add(a, b)" in str(found.structured_content)
        code = 'async def run():\n    return await api.call_tool("echo", "add", {"a": 40, "b": 2})'
        done = await client.call_tool("execute", {"code": code})
        assert done.structured_content is not None
        assert done.structured_content["result"] == {"sum": 42}
        picture = await client.call_tool("execute", {"code": 'api.server("echo").image()'})
        assert [block.type for block in picture.content] == ["text", "image"]


def converse(config: Path, *lines: str, log: bool = False) -> tuple[list[Any], str]:
    """Send lines, close the input; the replies and what was logged."""
    done = subprocess.run(
        command("--stdio", "--config", config, *(["--log"] if log else [])),
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.requirement("stdio.clean")
def test_only_protocol_on_stdout_and_running_calls_end(config: Path) -> None:
    call = {"name": "execute", "arguments": {"code": "print('hi')\n6 * 7"}}
    replies, log = converse(
        config,
        "{oops",
        "",
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json.dumps([{"jsonrpc": "2.0", "id": 2, "method": "ping"}]),
        log=True,
    )
    assert "DEBUG" in log
    assert len(replies) == 3
    by_id = {reply["id"]: reply for reply in replies if isinstance(reply, dict)}
    assert by_id[None]["error"] == {"code": -32700, "message": by_id[None]["error"]["message"]}
    assert by_id[1]["result"]["structuredContent"]["result"] == 42
    assert by_id[1]["result"]["structuredContent"]["stdout"] == "hi\n"
    assert [{"jsonrpc": "2.0", "id": 2, "result": {}}] in replies


@pytest.mark.requirement("stdio.cancel")
def test_a_cancelled_script_gets_no_reply(config: Path) -> None:
    call = {"name": "execute", "arguments": {"code": "import time\ntime.sleep(25)"}}
    replies, _ = converse(
        config,
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}),
        json.dumps(
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        ),
        json.dumps({"jsonrpc": "2.0", "id": 2, "method": "ping"}),
    )
    assert replies == [{"jsonrpc": "2.0", "id": 2, "result": {}}]


def test_input_from_a_file(config: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.write_text('{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    with calls.open() as stdin:
        done = subprocess.run(
            command("--stdio", "--config", config),
            stdin=stdin,
            capture_output=True,
            timeout=60,
            check=True,
        )
    assert json.loads(done.stdout) == {"jsonrpc": "2.0", "id": 1, "result": {}}


@pytest.mark.requirement("stdio.gone")
@pytest.mark.parametrize("how", ["closed", "full"])
def test_a_client_that_takes_nothing_any_more_is_gone(config: Path, how: str) -> None:
    start = command("--stdio", "--config", config)
    ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
    with (
        Path("/dev/full").open("wb") as full,
        subprocess.Popen(
            start,
            stdin=subprocess.PIPE,
            stdout=full if how == "full" else subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        ) as program,
    ):
        assert program.stdin
        assert program.stderr
        program.stdin.write(ping)
        program.stdin.flush()
        if program.stdout:
            program.stdout.readline()
            program.stdout.close()
            program.stdin.write(ping * 1000)
            program.stdin.flush()
        said = program.stderr.read().decode()  # its input stays open
        assert program.wait(60) == 0
    assert "nothing can be written to the client" in said
    assert "Traceback" not in said


SLEEP = {"name": "execute", "arguments": {"code": "api.server('echo').sleep(secs=30)"}}


@pytest.mark.requirement("stdio.bounded")
def test_requests_under_way_are_bounded(config: Path) -> None:
    calls = (
        json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": SLEEP})
        for number in range(MAX_RUNNING)
    )
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 0}}
    ping = {"jsonrpc": "2.0", "id": "one more", "method": "ping"}
    with conversing(config) as process:
        assert process.stdin
        assert process.stdout
        for line in (*calls, json.dumps(ping), json.dumps(cancel)):
            process.stdin.write(f"{line}\n")
        process.stdin.flush()
        refused = json.loads(process.stdout.readline())
        assert (refused["id"], refused["error"]["code"]) == ("one more", mcp.TOO_MANY_REQUESTS)
        answer = refused
        while "error" in answer:  # the place of the cancelled one is free soon
            process.stdin.write(f"{json.dumps(ping)}\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
        assert answer["result"] == {}
        process.kill()


@pytest.mark.requirement("stdio.unread_log")
def test_a_log_that_nobody_reads_stops_nothing(config: Path) -> None:
    with conversing(config, "--log") as process:  # a line for each call, and none is read
        assert process.stdin
        assert process.stdout
        call = {"name": "execute", "arguments": {"code": CALLS}}
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        for _ in range(5):
            process.stdin.write(f"{json.dumps(request)}\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert answer["result"]["structuredContent"]["status"] == "success"
        process.stdin.close()
        assert process.wait(timeout=30) == 0


CALLS = "for number in range(150): api.server('echo').add(a=number, b=1)"


@contextmanager
def conversing(config: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A gateway on three pipes, of which the test need not read the last."""
    pipe, start = subprocess.PIPE, command("--stdio", "--config", config, *options)
    with subprocess.Popen(start, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
