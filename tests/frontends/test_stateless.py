"""Protocol 2026-07-28 over a real socket: streams, subscriptions, and what ends them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mcproxy import mcp, queues
from mcproxy.frontends.sessions import Bounds
from mcproxy.types import Json, JsonObject
from tests.frontends.serving import BOTH, BOUND_SECS, Served, events, request, serving

META: JsonObject = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with asyncio.timeout(BOUND_SECS), serving() as running:
        yield running


def headers(method: str, name: str = "", accept: str = BOTH) -> dict[str, str]:
    """The headers of a request."""
    named = {"Mcp-Name": name} if name else {}
    version = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
    return {**version, **named, "Accept": accept}


def listen(**notifications: Json) -> JsonObject:
    """A subscription."""
    params: JsonObject = {"_meta": META, "notifications": notifications}
    return request("subscriptions/listen", params, "sub")


def script(code: str) -> JsonObject:
    """A call of ``execute``."""
    params: JsonObject = {"name": "execute", "arguments": {"code": code}, "_meta": META}
    return request("tools/call", params)


@pytest.mark.requirement("mcp.stateless")
async def test_what_is_said_before_the_reply_makes_it_a_stream(served: Served) -> None:
    send = headers("tools/call", "execute")
    params: JsonObject = {"_meta": {**META, "io.modelcontextprotocol/logLevel": "debug"}}
    call = script("say 2")
    call["params"] = {**dict(call["params"]), **params}  # type: ignore[arg-type]
    async with served.http.stream("POST", "/mcp", json=call, headers=send) as response:
        assert "Mcp-Session-Id" not in response.headers
        seen = [event async for event in events(response)]
    assert seen[-1].message["id"] == 1
    assert all(event.id == "" for event in seen)  # nothing to resume
    only = headers("tools/call", "execute", "application/json")
    reply = await served.http.post("/mcp", json=call, headers=only)
    assert reply.json()["id"] == 1


@pytest.mark.requirement("mcp.cancel")
@pytest.mark.parametrize("accept", [BOTH, "application/json", "text/event-stream"])
async def test_leaving_is_cancelling(served: Served, accept: str) -> None:
    send = headers("tools/call", "execute", accept)
    async with asyncio.TaskGroup() as tasks:
        call = served.http.post("/mcp", json=script("wait"), headers=send)
        calling = tasks.create_task(call)
        await served.scripts.waiting.wait()
        calling.cancel()
    await served.scripts.cancelled.wait()


@pytest.mark.requirement("rounds.stopped")
@pytest.mark.parametrize("askable", [True, False])
async def test_who_waits_when_the_gateway_stops_is_told_so(
    served: Served, *, askable: bool
) -> None:
    can: JsonObject = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
    call = script("wait")
    call["params"] = {**call["params"], "_meta": {**META, **(can if askable else {})}}  # type: ignore[dict-item]
    async with asyncio.TaskGroup() as tasks:
        post = served.http.post("/mcp", json=call, headers=headers("tools/call", "execute"))
        calling = tasks.create_task(post)
        await served.scripts.waiting.wait()
        draining = tasks.create_task(served.gate.drain())
        await asyncio.sleep(0)  # it has begun: nobody waits for its end
        served.sessions.close()
        await calling
        assert await draining
    error = calling.result().json()["error"]
    assert (error["code"], "the gateway was stopped" in error["message"]) == (-32603, True)


@pytest.mark.requirement("http.stopping")
@pytest.mark.parametrize("batch", [False, True])
async def test_a_plain_request_that_outlasts_the_gateway_is_told_so(
    served: Served, monkeypatch: pytest.MonkeyPatch, *, batch: bool
) -> None:
    monkeypatch.setattr(queues, "DRAIN_SECS", 0.05)
    body = script("wait")
    async with asyncio.timeout(BOUND_SECS), asyncio.TaskGroup() as tasks:
        post = tasks.create_task(served.http.post("/message", json=[body] if batch else body))
        await served.scripts.waiting.wait()
        assert not await served.gate.drain()
        reply = (await post).json()
    assert "the gateway was stopped" in reply["error"]["message"]
    assert served.scripts.cancelled.is_set()


@pytest.mark.requirement("mcp.stateless")
@pytest.mark.parametrize("method", sorted(mcp.HANDSHAKE_ONLY))
async def test_methods_that_are_no_more(served: Served, method: str) -> None:
    body = request(method, {"_meta": META})
    reply = await served.http.post("/mcp", json=body, headers=headers(method))
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, -32601)


@pytest.mark.requirement("mcp.listen")
async def test_a_subscription_from_acknowledgement_to_end(served: Served) -> None:
    send = headers("subscriptions/listen")
    body = listen(toolsListChanged=True, odd=True)
    async with served.http.stream("POST", "/mcp", json=body, headers=send) as response:
        stream = events(response)
        first = (await anext(stream)).message
        assert first["method"] == "notifications/subscriptions/acknowledged"
        about: JsonObject = {"_meta": {"io.modelcontextprotocol/subscriptionId": "sub"}}
        assert first["params"] == {**about, "notifications": {"toolsListChanged": True}}
        served.world.publish("one")
        told = (await anext(stream)).message
        assert (told["method"], told["params"]) == ("notifications/tools/list_changed", about)
        served.sessions.close()
        last = (await anext(stream)).message
        assert last["id"] == "sub"
        assert isinstance(last["result"], dict)
        assert last["result"]["resultType"] == "complete"
        assert [event async for event in stream] == []


@pytest.mark.requirement("mcp.listen")
async def test_what_was_not_asked_for_is_not_told(served: Served) -> None:
    send = headers("subscriptions/listen")
    async with served.http.stream("POST", "/mcp", json=listen(), headers=send) as response:
        stream = events(response)
        await anext(stream)
        served.world.publish("one")
        served.sessions.close()
        assert "result" in (await anext(stream)).message


async def test_subscriptions_that_are_refused() -> None:
    async with asyncio.timeout(BOUND_SECS), serving(Bounds(listeners=2)) as served:
        send = headers("subscriptions/listen")
        only = headers("subscriptions/listen", accept="application/json")
        assert (await served.http.post("/mcp", json=listen(), headers=only)).status_code == 406
        locked = {**send, "X-Namespace": "locked"}
        denied = await served.http.post("/mcp", json=listen(), headers=locked)
        assert denied.json()["error"]["code"] == -32602
        async with served.http.stream("POST", "/mcp", json=listen(), headers=send):
            full = await served.http.post("/mcp", json=listen(), headers=send)
            assert full.status_code == 503
