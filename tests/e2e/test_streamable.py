"""Streamable HTTP through the whole program: the official SDK client in both eras, real servers."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.client.client import Client

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import SERVERS, TIME, Running, echo, gateway

BOUND_SECS = 30
BOTH = "application/json, text/event-stream"
META: JsonObject = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway whose server can change its tools."""
    config: JsonObject = {
        "servers": {"time": TIME, "echo": echo("--list-changed")},
        "namespaces": {"only": {"extends": "public"}},
        "sandbox": {"min_level": "none"},
    }
    with gateway(tmp_path_factory.mktemp("changing"), config) as running:
        yield running


def url(running: Running, path: str) -> str:
    """The address of an endpoint."""
    return str(running.http.base_url.join(path))


def stateless(method: str, name: str = "", **params: Json) -> tuple[dict[str, str], JsonObject]:
    """The headers and the body of a stateless request."""
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method, "Accept": BOTH}
    if name:
        headers["Mcp-Name"] = name
        params["name"] = name
    body: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": method}
    return headers, {**body, "params": {**params, "_meta": META}}


@pytest.mark.requirement("mcp.sdk")
@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
@pytest.mark.parametrize("path", ["/mcp", "/mcp/only"])
async def test_the_sdk_lists_searches_and_executes(changing: Running, mode: str, path: str) -> None:
    async with Client(url(changing, path), mode=mode) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["search", "execute"]
        found = await client.call_tool("search", {"query": "convert a time between time zones"})
        assert "convert_time" in str(found.structured_content)
        done = await client.call_tool("execute", {"code": 'api.server("echo").add(a=40, b=2)'})
        assert done.structured_content is not None
        assert done.structured_content["result"] == {"sum": 42}


@pytest.mark.requirement("mcp.progress")
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_long_script_shows_signs_of_life(changing: Running, mode: str) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with Client(url(changing, "/mcp"), mode=mode) as client:
        code = "import time\ntime.sleep(4)\n42"
        done = await client.call_tool("execute", {"code": code}, progress_callback=hear)
        assert done.structured_content is not None
        assert done.structured_content["result"] == 42
    assert heard


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Running]:
    """A gateway whose server tells how far its work is."""
    sdk: JsonObject = {"command": sys.executable, "args": [str(SERVERS / "sdk_server.py")]}
    with gateway(tmp_path, {"servers": {"sdk": sdk}}) as running:
        yield running


@pytest.mark.requirement("execute.progress")
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_progress_of_a_scripts_calls_is_heard(working: Running, mode: str) -> None:
    heard: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    code = 'await asyncio.gather(api.server("sdk").work(), api.server("sdk").work())'
    async with Client(url(working, "/mcp"), mode=mode) as client:
        await client.call_tool("execute", {"code": code}, progress_callback=hear)
    values, words = [value for value, _ in heard], [text for _, text in heard]
    assert values == sorted(set(values))
    for step in (1, 2, 3):
        assert words.count(f"sdk.work: step {step} ({step} of 3)") == 2


@pytest.mark.requirement("mcp.list_changed")
async def test_a_handshake_client_hears_of_changed_tools(changing: Running) -> None:
    changed = asyncio.Event()

    async def hear(message: Any) -> None:
        if "ToolListChanged" in type(message).__name__:
            changed.set()

    address = url(changing, "/mcp")
    async with Client(address, mode="legacy", message_handler=hear) as client:
        await client.call_tool("execute", {"code": 'api.server("echo").grow()'})
        async with asyncio.timeout(BOUND_SECS):
            await changed.wait()


@pytest.mark.requirement("mcp.listen")
async def test_a_stateless_client_hears_of_changed_tools(changing: Running) -> None:
    async with (
        asyncio.timeout(BOUND_SECS),
        Client(url(changing, "/mcp"), mode="2026-07-28") as client,
        client.listen(tools_list_changed=True) as subscription,
    ):
        await client.call_tool("execute", {"code": 'api.server("echo").grow()'})
        async for event in subscription:
            assert "ToolsListChanged" in type(event).__name__
            break


@pytest.mark.requirement("mcp.stateless")
def test_stateless_requests_have_no_session(changing: Running) -> None:
    headers, body = stateless("tools/list")
    reply = changing.http.post("/mcp", json=body, headers={**headers, "Mcp-Session-Id": "any"})
    assert reply.json()["result"]["resultType"] == "complete"
    assert "Mcp-Session-Id" not in reply.headers
    headers, body = stateless("server/discover")
    found = changing.http.post("/mcp", json=body, headers=headers).json()["result"]
    assert "2026-07-28" in found["supportedVersions"]
    assert found["capabilities"]["tools"] == {"listChanged": True}


@pytest.mark.requirement("mcp.stateless")
@pytest.mark.parametrize(
    ("method", "changed", "status", "code"),
    [
        ("tools/call", {"Mcp-Name": "execute"}, 400, -32020),
        ("tools/call", {"Mcp-Method": "tools/list"}, 400, -32020),
        ("tools/call", {"MCP-Protocol-Version": "2025-11-25"}, 400, -32020),
        ("tools/nothing", {}, 404, -32601),
        ("subscriptions/listen", {}, 400, -32602),
    ],
)
def test_stateless_faults(
    changing: Running, method: str, changed: dict[str, str], status: int, code: int
) -> None:
    headers, body = stateless(method, "search", arguments={"query": ""})
    reply = changing.http.post("/mcp", json=body, headers={**headers, **changed})
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    headers, body = stateless("tools/call", "search", arguments={"query": ""})
    assert changing.http.post("/mcp", json=body, headers=headers).status_code == 200


def test_a_stateless_version_from_the_future(changing: Running) -> None:
    headers, body = stateless("tools/list")
    text = json.dumps(body).replace("2026-07-28", "2099-01-01")
    headers["MCP-Protocol-Version"] = "2099-01-01"
    reply = changing.http.post("/mcp", content=text, headers=headers)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == -32022
    assert "2026-07-28" in reply.json()["error"]["data"]["supported"]


def test_other_stateless_bodies(changing: Running) -> None:
    headers, body = stateless("tools/list")
    note: JsonObject = {"jsonrpc": "2.0", "method": "notifications/anything"}
    assert changing.http.post("/mcp", json=note, headers=headers).status_code == 202
    assert changing.http.post("/mcp", json=[body], headers=headers).status_code == 400
    answer: JsonObject = {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert changing.http.post("/mcp", json=answer, headers=headers).status_code == 400
    bare = {**body, "params": {}}
    missing = changing.http.post("/mcp", json=bare, headers=headers)
    assert missing.json()["error"]["code"] == -32602


@pytest.mark.requirement("mcp.cancel")
@pytest.mark.parametrize("era", ["stateless", "session"])
def test_a_client_that_leaves_cancels_the_call_at_the_server(changing: Running, era: str) -> None:
    cancelled = _cancelled(changing)
    code = 'api.server("echo").sleep(secs=25)'
    headers, body = stateless("tools/call", "execute", arguments={"code": code})
    if era == "session":
        params: JsonObject = {"protocolVersion": "2025-11-25"}
        opened = changing.post(
            {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}, "/mcp"
        )
        headers = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"], "Accept": BOTH}
        body = {**body, "params": {"name": "execute", "arguments": {"code": code}}}
    with pytest.raises(httpx.ReadTimeout):
        changing.http.post("/mcp", json=body, headers=headers, timeout=2)
    while _cancelled(changing) == cancelled:
        pass  # each look is a script of its own; the test's time limit is the bound


def _cancelled(running: Running) -> Json:
    counts = running.run('api.server("echo").counter()')["result"]
    assert isinstance(counts, dict)
    return counts["cancelled"]


@pytest.mark.requirement("sessions.bounded")
def test_a_thousand_sessions_are_opened_and_abandoned(changing: Running) -> None:
    params: JsonObject = {"protocolVersion": "2025-11-25", "capabilities": {}}
    opening: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    ids = {changing.post(opening, "/mcp").headers["Mcp-Session-Id"] for _ in range(1100)}
    assert len(ids) == 1100
    assert changing.call("tools/list", path="/mcp")
