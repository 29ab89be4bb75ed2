"""Calls as tasks, in both eras, over a real socket; the scripts do what the test tells them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest

from mcproxy import mcp
from mcproxy.gateway.extensions import task_table
from mcproxy.types import Json, JsonObject
from tests.frontends.serving import (
    BOTH,
    BOUND_SECS,
    Served,
    events,
    request,
    script,
    serving,
)
from tests.frontends.test_every_transport import over_stdio

ERAS = pytest.mark.parametrize("stateless", [False, True], ids=["handshake", "stateless"])
DECLARED: JsonObject = {"extensions": {mcp.TASKS: {}}, "elicitation": {}}
KEEP_SECS = 0.02


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with asyncio.timeout(3 * BOUND_SECS), serving(keep_secs=KEEP_SECS) as running:
        yield running


@dataclass
class TaskClient:
    """A client of one of the eras that knows tasks, as a caller."""

    served: Served
    stateless: bool
    path: str = "/mcp"
    token: str | None = None
    declared: JsonObject = field(default_factory=lambda: DECLARED)
    headers: dict[str, str] = field(default_factory=dict)

    async def opened(self) -> "TaskClient":
        self.headers = {"Accept": BOTH}
        if self.token:
            self.headers["Authorization"] = f"Bearer {self.token}"
        if not self.stateless:
            params: JsonObject = {"protocolVersion": "2025-11-25", "capabilities": self.declared}
            reply = await self.post(request("initialize", params))
            self.headers["Mcp-Session-Id"] = reply.headers["Mcp-Session-Id"]
        return self

    async def post(self, body: JsonObject) -> httpx.Response:
        return await self.served.http.post(self.path, json=body, headers=self.headers)

    async def ask(self, method: str, **params: Json) -> JsonObject:
        """The result of a request, or ``{"error": …}``; what it asks on the way is accepted."""
        body, headers = self._dressed(method, params)
        async with self.served.http.stream("POST", self.path, json=body, headers=headers) as got:
            if not got.headers["content-type"].startswith("text/event-stream"):
                await got.aread()
                return _result(got.json())
            async for each in events(got):
                message = each.message if each.data else {}
                if message.get("method") == "elicitation/create":
                    asked = message["params"]
                    assert isinstance(asked, dict)
                    assert mcp.META_RELATED_TASK in str(asked["_meta"])
                    answer: JsonObject = {"action": "accept", "content": {"name": "Ada"}}
                    said: JsonObject = {"jsonrpc": "2.0", "id": message["id"], "result": answer}
                    assert (await self.post(said)).status_code == 202
                elif "id" in message:
                    return _result(message)
        raise AssertionError("the stream ended without a reply")

    async def task(self, code: str, **wish: Json) -> JsonObject:
        """Run a script as a task; what is told of it."""
        params: JsonObject = {"name": "execute", "arguments": {"code": code}}
        if not self.stateless:
            params["task"] = wish
        made = await self.ask("tools/call", **params)
        if not self.stateless:
            told = made["task"]
            assert isinstance(told, dict)
            return told
        assert made["resultType"] == "task"
        return made

    async def get(self, task: JsonObject) -> JsonObject:
        return await self.ask("tasks/get", taskId=task["taskId"])

    async def until(self, task: JsonObject, status: str) -> JsonObject:
        """The task once it is so."""
        told = task
        while told["status"] != status:
            told = await self.get(task)
        return told

    async def outcome(self, task: JsonObject) -> JsonObject:
        """What became of it: the result of the call, or its error."""
        if not self.stateless:
            return await self.ask("tasks/result", taskId=task["taskId"])
        while (told := await self.get(task))["status"] in ("working", "input_required"):
            if told["status"] == "input_required":
                wanted = told["inputRequests"]
                assert isinstance(wanted, dict)
                answers: JsonObject = {
                    key: {"action": "accept", "content": {"name": "Ada"}} for key in wanted
                }
                await self.ask("tasks/update", taskId=task["taskId"], inputResponses=answers)
        result = told.get("result", {"error": told.get("error")})
        assert isinstance(result, dict)
        return result

    def _dressed(self, method: str, params: JsonObject) -> tuple[JsonObject, dict[str, str]]:
        if not self.stateless:
            return request(method, params), self.headers
        meta: JsonObject = {mcp.META_VERSION: mcp.STATELESS_VERSION}
        meta[mcp.META_CLIENT_CAPABILITIES] = self.declared
        headers = {**self.headers, mcp.VERSION_HEADER: mcp.STATELESS_VERSION}
        headers[mcp.METHOD_HEADER] = method
        if named := params.get("name", params.get("taskId")):
            headers[mcp.NAME_HEADER] = str(named)
        return request(method, {**params, "_meta": meta}), headers


def _result(message: JsonObject) -> JsonObject:
    result = message.get("result", {"error": message.get("error")})
    assert isinstance(result, dict)
    return result


def _code(answer: JsonObject) -> Json:
    error = answer["error"]
    assert isinstance(error, dict), answer
    return error["code"]


def _value(result: JsonObject) -> Json:
    told = result["structuredContent"]
    assert isinstance(told, dict)
    return told["result"]


@pytest.mark.requirement("tasks.execute")
@ERAS
async def test_a_script_as_a_task(served: Served, stateless: bool) -> None:
    client = await TaskClient(served, stateless).opened()
    task = await client.task("wait\nask elicitation/create")
    assert task["status"] == "working"
    assert (await client.get(task))["status"] == "working"
    served.scripts.go.set()
    told = await client.until(task, "input_required")
    assert ("inputRequests" in told) == stateless
    result = await client.outcome(task)
    assert _value(result) == {"action": "accept", "content": {"name": "Ada"}}
    assert (await client.get(task))["status"] == "completed"
    assert _value(await client.outcome(task)) == _value(result), "it is kept"
    if not stateless:
        meta = result["_meta"]
        assert isinstance(meta, dict)
        assert meta[mcp.META_RELATED_TASK] == {"taskId": task["taskId"]}


@pytest.mark.requirement("tasks.execute")
@ERAS
async def test_it_goes_on_without_its_client(served: Served, stateless: bool) -> None:
    client = await TaskClient(served, stateless, path="/mcp/locked", token="t0k3n").opened()
    task = await client.task("wait")
    if not stateless:
        await served.http.delete(client.path, headers=client.headers)
    again = await TaskClient(served, stateless, path="/mcp/locked", token="t0k3n").opened()
    assert (await again.get(task))["status"] == "working"
    served.scripts.go.set()
    assert _value(await again.outcome(task)) is None


@pytest.mark.requirement("tasks.cancel")
@ERAS
async def test_a_task_is_cancelled(served: Served, stateless: bool) -> None:
    client = await TaskClient(served, stateless).opened()
    task = await client.task("wait")
    await served.scripts.waiting.wait()
    told = await client.ask("tasks/cancel", taskId=task["taskId"])
    assert told.get("status") == (None if stateless else "cancelled")
    await served.scripts.cancelled.wait()
    assert (await client.get(task))["status"] == "cancelled"
    again = await client.ask("tasks/cancel", taskId=task["taskId"])
    assert ("error" in again) == (not stateless), "2025-11-25 refuses it, 2026-07-28 takes note"
    if not stateless:
        assert "cancelled" in str((await client.outcome(task))["error"])


@pytest.mark.requirement("tasks.apart")
@ERAS
async def test_a_task_is_its_callers_own(served: Served, stateless: bool) -> None:
    ada = await TaskClient(served, stateless, path="/mcp/locked", token="t0k3n").opened()
    bob = await TaskClient(served, stateless, path="/mcp/locked", token="b0b").opened()
    elsewhere = await TaskClient(served, stateless, token="t0k3n").opened()
    task = await ada.task("wait")
    never: JsonObject = {"taskId": "x" * len(str(task["taskId"]))}
    for other in (bob, elsewhere):
        for method in ("tasks/get", "tasks/cancel", "tasks/update", "tasks/result"):
            refused = await other.ask(method, taskId=task["taskId"])
            unknown = await other.ask(method, **never)
            assert str(refused).replace(str(task["taskId"]), str(never["taskId"])) == str(unknown)
    assert (await ada.get(task))["status"] == "working"
    if not stateless:
        for client, ids in ((ada, [task["taskId"]]), (bob, [])):
            listed = (await client.ask("tasks/list"))["tasks"]
            assert isinstance(listed, list)
            assert [one["taskId"] for one in listed if isinstance(one, dict)] == ids


@pytest.mark.requirement("tasks.apart")
async def test_nameless_callers_cannot_list_tasks(served: Served) -> None:
    client = await TaskClient(served, stateless=False).opened()
    await client.task("wait")
    assert _code(await client.ask("tasks/list")) == -32601


@ERAS
async def test_how_calls_of_tasks_end(served: Served, stateless: bool) -> None:
    client = await TaskClient(served, stateless).opened()
    task = await client.task("wait\nfail")
    served.scripts.go.set()
    assert (await client.until(task, "failed"))["status"] == "failed"
    assert _code(await client.outcome(task)) == -32603
    assert "internal error" in str(await client.outcome(task))


async def test_what_is_quick_is_no_task(served: Served) -> None:
    client = await TaskClient(served, stateless=True).opened()
    call: JsonObject = {"name": "execute", "arguments": {"code": "say 0"}}
    assert (await client.ask("tools/call", **call))["resultType"] == "complete"


@pytest.mark.requirement("tasks.negotiated")
async def test_who_declares_no_tasks_gets_none(served: Served) -> None:
    client = await TaskClient(served, stateless=True, declared={}).opened()
    asyncio.get_running_loop().call_later(10 * KEEP_SECS, served.scripts.go.set)
    call: JsonObject = {"name": "execute", "arguments": {"code": "wait"}}
    assert (await client.ask("tools/call", **call))["resultType"] == "complete"
    for method in ("tasks/get", "tasks/cancel", "tasks/update"):
        assert _code(await client.ask(method, taskId="x")) == mcp.MISSING_CLIENT_CAPABILITY
    listening = await client.ask(mcp.LISTEN, notifications={"taskIds": ["x"]})
    assert _code(listening) == mcp.MISSING_CLIENT_CAPABILITY


@pytest.mark.requirement("tasks.negotiated")
async def test_methods_of_the_other_era(served: Served) -> None:
    modern = await TaskClient(served, stateless=True).opened()
    assert _code(await modern.ask("tasks/result", taskId="x")) == -32601
    assert _code(await modern.ask("tasks/list")) == -32601
    legacy = await TaskClient(served, stateless=False).opened()
    assert _code(await legacy.ask("tasks/update", taskId="x")) == -32601


@pytest.mark.requirement("tasks.negotiated")
async def test_tools_say_whether_they_can_be_tasks(served: Served) -> None:
    client = await TaskClient(served, stateless=False).opened()
    listed = (await client.ask("tools/list"))["tools"]
    assert isinstance(listed, list)
    modes = {one["name"]: one.get("execution") for one in listed if isinstance(one, dict)}
    assert modes == {"search": None, "execute": {"taskSupport": "optional"}}
    named: JsonObject = {"name": "mcproxy_execute", "arguments": {"code": "say 0"}, "task": {}}
    assert "task" in await client.ask("tools/call", **named), "by any name that it has"
    call: JsonObject = {"name": "search", "arguments": {"query": ""}, "task": {}}
    assert _code(await client.ask("tools/call", **call)) == -32601


@pytest.mark.requirement("tasks.bounded")
async def test_tasks_under_way_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_table, "MOST_OF_ONE", 2)
    client = await TaskClient(served, stateless=False).opened()
    first, _ = await client.task("wait"), await client.task("wait")
    call: JsonObject = {"name": "execute", "arguments": {"code": "wait"}, "task": {}}
    assert _code(await client.ask("tools/call", **call)) == mcp.TOO_MANY_REQUESTS
    modern = await TaskClient(served, stateless=True).opened()
    asyncio.get_running_loop().call_later(10 * KEEP_SECS, served.scripts.go.set)
    del call["task"]
    waited = await modern.ask("tools/call", **call)
    assert waited["resultType"] == "complete", "it is waited for, as without tasks"
    await client.until(first, "completed")
    assert (await client.task("say 0"))["status"] == "working"


@pytest.mark.requirement("tasks.bounded")
async def test_the_time_to_live_ends_a_task(served: Served) -> None:
    client = await TaskClient(served, stateless=False).opened()
    task = await client.task("wait", ttl=1)
    assert task["ttl"] == 1000, "no less than a second"
    await served.scripts.cancelled.wait()
    assert _code(await client.get(task)) == -32602


@pytest.mark.requirement("tasks.execute")
async def test_progress_goes_on_after_the_reply(served: Served) -> None:
    """The token of the call holds as long as the task (MCP 2025-11-25, basic/utilities/tasks)."""
    async with over_stdio(served) as talk:
        call = script("wait\nprogress half", "a", token="t")
        assert isinstance(call["params"], dict)
        await talk.send({**call, "params": {**call["params"], "task": {}}})
        assert "task" in str((await talk.reply())["result"])
        served.scripts.go.set()
        note = await talk.next()
        assert isinstance(note, dict)
        assert note["method"] == "notifications/progress"
        assert "half" in str(note["params"])


async def test_a_wish_that_is_none_is_no_task(served: Served) -> None:
    client = await TaskClient(served, stateless=False).opened()
    call: JsonObject = {"name": "execute", "arguments": {"code": "say 0"}, "task": None}
    assert "content" in await client.ask("tools/call", **call)
