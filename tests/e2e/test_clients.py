"""Clients that nobody here wrote use the gateway: two lines of the official SDK, and the Inspector.

Each does the same over each transport that it has: it lists, searches, and executes a script that
calls a tool and returns an image.
"""

import asyncio
import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import product
from pathlib import Path

import pytest
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from pydantic import BaseModel

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import ROOT, Running, echo
from tests.preloaded.program import command

BOUND_SECS = 50
SEARCH = "add two numbers"
SCRIPT = """
print(api.server("echo").add(a=40, b=2)["sum"])
api.server("echo").image()
"""

SDK1 = ROOT / "tests/sdk1/.venv/bin/python"
MODULES = ROOT / "tests/node/node_modules"
NODE = MODULES / "node/bin/node"
INSPECTOR = MODULES / "@modelcontextprotocol/inspector/clients/launcher/build/index.js"

over_each = pytest.mark.parametrize("transport", ["stdio", "/mcp", "/sse"])


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """The command line of a gateway on stdio."""
    config = tmp_path / "mcproxy.json"
    config.write_text(json.dumps({"servers": {"echo": echo()}, "sandbox": {"min_level": "none"}}))
    return command("--stdio", "--config", config)


@pytest.mark.requirement("clients.sdk")
@pytest.mark.parametrize(
    ("transport", "mode"),
    [*product(["stdio", "/mcp"], ["auto", "legacy", "2026-07-28"]), ("/sse", "legacy")],
)
async def test_the_sdk(served: Running, program: list[str], transport: str, mode: str) -> None:
    async with asyncio.timeout(BOUND_SECS), _client(served, program, transport, mode) as client:
        tools = await client.list_tools()
        search = await client.call_tool("search", {"query": SEARCH})
        execute = await client.call_tool("execute", {"code": SCRIPT})
    _check(_plain(tools), _plain(search), _plain(execute))


@pytest.mark.requirement("clients.sdk_before")
@over_each
def test_the_sdk_of_the_line_before(served: Running, program: list[str], transport: str) -> None:
    if not SDK1.exists():
        pytest.skip("the SDK 1 is not installed: make test installs it, given a registry")
    name = {"/mcp": "http", "/sse": "sse"}.get(transport, transport)
    target = program if transport == "stdio" else [_url(served, transport)]
    told = _run([str(SDK1), str(ROOT / "tests/sdk1/client.py"), name, *target], SCRIPT)
    _check(told["tools"], told["search"], told["execute"])


@pytest.mark.requirement("clients.inspector")
@over_each
def test_the_inspector(served: Running, program: list[str], transport: str) -> None:
    if not (NODE.exists() and INSPECTOR.exists()):
        pytest.skip("the Inspector is not installed: make test installs it, given npm")
    target = program if transport == "stdio" else [_url(served, transport)]
    command = [str(NODE), str(INSPECTOR), "--cli", *target]
    if transport == "stdio":
        command.append("--")

    def call(tool: str, argument: str) -> Json:
        return _run(
            [*command, "--method", "tools/call", "--tool-name", tool, "--tool-arg", argument]
        )

    tools = _run([*command, "--method", "tools/list"])
    _check(tools, call("search", f"query={SEARCH}"), call("execute", f"code={SCRIPT}"))


def _client(
    served: Running, program: list[str], transport: str, mode: str
) -> AbstractAsyncContextManager[Client]:
    if transport == "stdio":
        parameters = StdioServerParameters(command=program[0], args=program[1:])
        return Client(stdio_client(parameters), mode=mode)
    url = _url(served, transport)
    return Client(sse_client(url), mode=mode) if transport == "/sse" else Client(url, mode=mode)


def _url(served: Running, path: str) -> str:
    return str(served.http.base_url.join(path))


def _plain(result: BaseModel) -> JsonObject:
    plain: JsonObject = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return plain


def _run(command: Sequence[str], given: str = "") -> JsonObject:
    """Run a client; what it prints."""
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=BOUND_SECS, check=False
    )
    assert done.returncode == 0, done.stderr
    printed: JsonObject = json.loads(done.stdout)
    return printed


def _check(tools: Json, search: Json, execute: Json) -> None:
    """What each client must have seen, whatever its transport."""
    assert _names(tools) == ["search", "execute"]
    assert 'api.server(\\"echo\\").add(a, b)' in json.dumps(_member(search, "structuredContent"))
    assert _member(_member(execute, "structuredContent"), "stdout") == "42\n"
    blocks = _member(execute, "content")
    assert isinstance(blocks, list)
    assert [_member(block, "type") for block in blocks] == ["text", "image"]
    assert _member(blocks[1], "mimeType") == "image/png"


def _names(tools: Json) -> list[Json]:
    listed = _member(tools, "tools")
    assert isinstance(listed, list)
    return [_member(tool, "name") for tool in listed]


def _member(value: Json, name: str) -> Json:
    assert isinstance(value, Mapping), value
    return value[name]
