"""HTTP+SSE (2024-11-05) through the whole program: the official SDK client, and rule by rule."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from mcp.client.client import Client
from mcp.client.sse import sse_client

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running


@contextmanager
def opened(
    running: Running, path: str = "/sse", **headers: str
) -> Iterator[tuple[str, Iterator[str]]]:
    """An open stream: where to POST, and the data of its events."""
    with running.http.stream("GET", path, headers=headers) as response:
        assert response.headers["content-type"] == "text/event-stream"
        lines = response.iter_lines()
        assert next(lines) == "event: endpoint"
        endpoint = next(lines).removeprefix("data: ")
        data = (line.removeprefix("data: ") for line in lines if line.startswith("data: "))
        yield endpoint, data


def request(method: str, id_: Json = 1, **params: Json) -> JsonObject:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


@pytest.mark.requirement("sse.sdk")
@pytest.mark.parametrize("path", ["/sse", "/sse/small"])
async def test_the_sdk_lists_searches_and_executes(served: Running, path: str) -> None:
    transport = sse_client(str(served.http.base_url.join(path)))
    async with asyncio.timeout(30), Client(transport, mode="legacy") as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["search", "execute"]
        done = await client.call_tool("execute", {"code": 'api.server("echo").add(a=40, b=2)'})
        assert done.structured_content is not None
        assert done.structured_content["result"] == {"sum": 42}


@pytest.mark.requirement("sse.stream")
def test_replies_come_on_the_stream(served: Running) -> None:
    with opened(served) as (endpoint, data):
        assert endpoint.startswith("/message?session_id=")
        params: JsonObject = {"protocolVersion": "2024-11-05", "capabilities": {}}
        taken = served.post(request("initialize", **params), endpoint)
        assert (taken.status_code, taken.content) == (202, b"")
        begun = json.loads(next(data))["result"]
        assert begun["protocolVersion"] == "2024-11-05"
        assert begun["capabilities"]["tools"] == {"listChanged": True}
        assert served.post([request("ping", 2), 5], endpoint).status_code == 202
        assert {json.loads(next(data))["id"] for _ in range(2)} == {2, None}
        bad = served.http.post(endpoint, content=b"{oops")
        assert (bad.status_code, bad.json()["error"]["code"]) == (400, -32700)
        served.post(request("ping", "x"), endpoint)
        assert json.loads(next(data)) == {"jsonrpc": "2.0", "id": "x", "result": {}}
    gone = served.post(request("ping"), "/message?session_id=none")
    assert gone.status_code == 404
    assert "GET /sse" in gone.json()["error"]


@pytest.mark.requirement("access.namespaces")
def test_a_guarded_namespace(served: Running) -> None:
    assert served.http.get("/sse/locked").status_code == 401
    assert served.http.get("/sse/nowhere").status_code == 401
    assert served.http.get("/sse", headers={"X-Namespace": "locked"}).status_code == 401
    token = {"Authorization": "Bearer t0k3n"}
    with opened(served, "/sse/locked", **token) as (endpoint, data):
        assert served.post(request("tools/list"), endpoint).status_code == 404  # not its owner
        assert served.post(request("tools/list"), endpoint, **token).status_code == 202
        assert "vault" in next(data)


def test_other_methods(served: Running) -> None:
    for method in ("PUT", "DELETE", "HEAD"):
        refused = served.http.request(method, "/sse")
        assert refused.status_code == 405
        assert refused.headers["Allow"] == "POST, GET, OPTIONS"
    assert served.http.get("/message").headers["Allow"] == "POST, OPTIONS"


@pytest.mark.requirement("http.rebinding")
def test_pages_from_elsewhere(served: Running) -> None:
    assert served.http.get("/sse", headers={"Origin": "https://evil.example"}).status_code == 403


@pytest.mark.requirement("access.origins_session")
def test_a_page_that_the_namespace_lists_can_post_to_its_session(served: Running) -> None:
    page = {"Origin": "https://shop.example"}
    with opened(served, "/sse/shop", **page) as (endpoint, data):
        assert served.post(request("ping"), endpoint, **page).status_code == 202
        assert json.loads(next(data))["result"] == {}
        assert served.post(request("ping"), endpoint).status_code == 403
    with opened(served) as (endpoint, data):
        assert served.post(request("ping"), endpoint, **page).status_code == 403


def test_the_mode_of_a_connection(served: Running) -> None:
    assert served.http.get("/sse", params={"mode": "odd"}).status_code == 400
    with opened(served, "/sse?mode=direct") as (endpoint, data):
        served.post(request("tools/list"), endpoint)
        names = {tool["name"] for tool in json.loads(next(data))["result"]["tools"]}
        assert "echo__echo" in names


def test_a_client_that_reads_slowly_is_not_waited_for(served: Running) -> None:
    with opened(served) as (endpoint, _):
        for _ in range(20):
            call = request("tools/call", name="execute", arguments={"code": '"x" * 60_000'})
            assert served.post(call, endpoint).status_code == 202
        assert served.post(request("ping")).status_code == 200


def test_the_stream_ends_when_the_client_goes(served: Running) -> None:
    with opened(served) as (endpoint, _):
        pass
    with httpx.Client(base_url=served.http.base_url, trust_env=False) as http:
        while http.post(endpoint, json=request("ping")).status_code != 404:
            pass
