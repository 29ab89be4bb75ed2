"""What a namespace allows, over HTTP: calls of a script, calls a minute, and how many at once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running, echo, gateway
from tests.e2e.test_reload import rewrite
from tests.upstream.fleets import server

WITHIN_SECS = 20.0
PAUSE_SECS = 0.02
ONE: JsonObject = {"max_running": 1, "max_waiting": 1}
SLOW: JsonObject = {"requests_per_minute": 1}  # one call, and the next in a minute
CONFIG: JsonObject = {
    "servers": {"echo": echo(), "asker": server("asker.py")},
    "namespaces": {
        "public": {"sandbox": {"max_calls": 210}},
        "few": {"extends": "public", "sandbox": {"max_calls": 2}},
        "one": {"extends": "public", "mode": "both", "concurrency": ONE},
        "apart": {"extends": "one"},
        "secret": {"extends": "one", "require_auth": True},
        "slow": {"extends": "public", "mode": "both", "rate_limit": SLOW},
        "shared": {"extends": "slow"},
        "other": {"extends": "slow"},
        "read": {"extends": "slow"},
        "member": {"extends": "slow"},
    },
    "groups": {"both": ["public", "few"], "all": ["apart", "one"], "around": ["member"]},
    "auth": {
        "tokens": [
            {"name": "ada", "token": "t0k3n", "namespaces": ["secret"]},
            {"name": "bob", "token": "b0b", "namespaces": []},
        ]
    },
    "audit": {"file": "audit.jsonl"},
}
PING: JsonObject = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
CALLS = """
codes = []
for number in range({}):
    try:
        api.server("echo").add(a=1, b=number)
        codes.append("ok")
    except ToolError as error:
        codes.append(error.code)
        said = error.message
result = [codes.count("ok"), codes[-1], said]
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limited")


@pytest.fixture(scope="module")
def limited(directory: Path) -> Iterator[Running]:
    """A gateway whose namespaces have limits."""
    with gateway(directory, CONFIG) as running:
        yield running


@pytest.mark.requirement("api.call_limit")
@pytest.mark.parametrize(("namespace", "limit"), [("public", 210), ("few", 2), ("both", 2)])
def test_a_script_makes_as_many_calls_as_its_namespace_allows(
    limited: Running, namespace: str, limit: int
) -> None:
    done = limited.run(CALLS.format(limit + 1), namespace=namespace)
    result = done["result"]
    assert isinstance(result, list)
    assert result[:2] == [limit, "call_limit"]
    assert f"may make {limit} calls (sandbox.max_calls" in str(result[2])


def test_a_result_groups_many_calls_and_has_those_that_failed(limited: Running) -> None:
    source = "for n in range(205):\n    try: api.server('echo').add(a=1, b=n if n % 100 else 'x')\n"
    done: Any = limited.run(source + "    except ToolError: pass")
    *failed, group = done["calls"]
    assert (group["tool"], group["count"], group["failed"]) == ("add", 205, 3)
    assert [(call["outcome"], call["arguments"]) for call in failed] == [
        ("failed", '{"a":1,"b":"x"}')
    ] * 3


class Asking:
    """Requests to a gateway, several at once."""

    def __init__(self, http: httpx.AsyncClient, tasks: asyncio.TaskGroup) -> None:
        self.http, self.tasks = http, tasks

    async def call(self, place: str, name: str, **arguments: Json) -> httpx.Response:
        """Call a tool in a namespace or group."""
        return await self.http.post(f"/sse/{place}", json=tools_call(name, **arguments))

    async def run(self, place: str, code: str) -> Json:
        """The result of a script."""
        reply = (await self.call(place, "execute", code=code)).json()["result"]
        result: Json = reply["structuredContent"]["result"]
        return result

    async def load(self, place: str) -> tuple[float, float] | None:
        """How many run and wait in a namespace, as /metrics tells it."""
        text = (await self.http.get("/metrics")).text
        found = {
            sample.name.removeprefix("mcproxy_namespace_"): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.labels.get("namespace") == place
        }
        return (found["running"], found["waiting"]) if found else None

    async def until(self, place: str, running: int, waiting: int) -> None:
        """Return when so many run and wait."""

        async def so_many() -> bool:
            return await self.load(place) == (running, waiting)

        await comes_true(so_many)

    @asynccontextmanager
    async def held(self, place: str) -> AsyncIterator[Callable[[], object]]:
        """Hold the one place of a namespace with a call that ends when its client leaves."""
        task = self.tasks.create_task(self.call(place, "echo__sleep", secs=60))
        await self.until(place, 1, 0)
        try:
            yield task.cancel
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self.until(place, 0, 0)


async def comes_true(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask the gateway until it is as it should become."""
    async with asyncio.timeout(WITHIN_SECS):
        while not await condition():  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(PAUSE_SECS)


@asynccontextmanager
async def asking(running: Running) -> AsyncIterator[Asking]:
    """What asks this gateway."""
    async with (
        httpx.AsyncClient(base_url=running.http.base_url, timeout=60, trust_env=False) as http,
        asyncio.timeout(2 * WITHIN_SECS),
        asyncio.TaskGroup() as tasks,
    ):
        yield Asking(http, tasks)


def tools_call(name: str, **arguments: Json) -> JsonObject:
    params: JsonObject = {"name": name, "arguments": {**arguments}}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def refused(response: httpx.Response) -> tuple[int, str]:
    """In how many seconds to try again, and the words; body and header must agree."""
    assert response.status_code == 200
    result = response.json()["result"]
    assert result["isError"] is True
    secs = result["_meta"]["mcproxy/retryAfter"]
    assert response.headers["Retry-After"] == str(secs)
    return secs, result["content"][0]["text"]


def audited(directory: Path, **wanted: str) -> list[JsonObject]:
    """The lines of the audit file that have these members."""
    lines = [json.loads(line) for line in (directory / "audit.jsonl").read_text().splitlines()]
    return [line for line in lines if wanted.items() <= line.items()]


@pytest.mark.requirement("concurrency.queue")
@pytest.mark.requirement("http.retry_after")
async def test_what_exceeds_waits_and_what_cannot_is_refused(
    limited: Running, directory: Path
) -> None:
    async with asking(limited) as client, client.held("one") as release:
        waiting = client.tasks.create_task(client.run("one", "1 + 1"))
        await client.until("one", 1, 1)
        calls = (("execute", {"code": "3"}), ("echo__add", {"a": 1, "b": 1}))
        for name, arguments in calls:
            secs, words = refused(await client.call("one", name, **arguments))
            assert secs == 5
            assert words == (
                "Namespace 'one' is busy: of executions and direct calls, 1 may run at once and 1 "
                "more may wait (concurrency.max_running and max_waiting). Nothing was done; try "
                "again in 5 s."
            )
        assert await client.load("apart") == (0, 0)
        release()
        assert await waiting == 2
    assert len(audited(directory, event="execution", namespace="one", outcome="busy")) == 1
    (call,) = audited(directory, event="call", namespace="one", outcome="busy")
    assert (call["server"], call["tool"]) == ("echo", "add")


@pytest.mark.requirement("concurrency.cancel")
async def test_who_leaves_gives_up_its_place_in_the_queue(limited: Running) -> None:
    async with asking(limited) as client, client.held("one") as release:
        for _ in range(3):
            gone = client.tasks.create_task(client.run("one", "1"))
            await client.until("one", 1, 1)
            gone.cancel()
            await client.until("one", 1, 0)
        waiting = client.tasks.create_task(client.call("one", "echo__add", a=1, b=1))
        await client.until("one", 1, 1)
        release()
        assert (await waiting).json()["result"]["structuredContent"] == {"sum": 2}


@pytest.mark.requirement("concurrency.scripts")
async def test_the_calls_of_a_script_take_no_place(limited: Running) -> None:
    code = "sum(r['sum'] for r in api.parallel([api.server('echo').add(a=1, b=1)] * 5))"
    async with asking(limited) as client:
        assert await client.run("one", code) == 10


@pytest.mark.requirement("concurrency.groups")
async def test_a_script_of_a_group_counts_in_every_member_and_a_call_in_one(
    limited: Running,
) -> None:
    async with asking(limited) as client, client.held("one") as release:
        script = client.tasks.create_task(client.run("all", "1 + 1"))
        await client.until("one", 1, 1)
        assert await client.load("apart") == (1, 0)
        release()
        assert await script == 2


@pytest.mark.requirement("concurrency.metrics")
def test_metrics_tell_of_namespaces_with_limits_that_the_caller_may_use(limited: Running) -> None:
    def told(**headers: str) -> set[str]:
        text = limited.http.get("/metrics", headers=headers).text
        families = text_string_to_metric_families(text)
        samples = (sample for family in families for sample in family.samples)
        return {place for sample in samples if (place := sample.labels.get("namespace"))}

    assert told() == {"one", "apart"}
    assert told(Authorization="Bearer t0k3n") == {"one", "apart", "secret"}


@pytest.mark.requirement("concurrency.reload")
async def test_a_reload_lets_in_who_waits_and_leaves_who_runs(tmp_path: Path) -> None:
    def config(limits: JsonObject | None) -> JsonObject:
        place: JsonObject = {"servers": ["echo"], "mode": "both", "concurrency": limits}
        return {"servers": {"echo": echo()}, "namespaces": {"one": place}}

    with gateway(tmp_path, config(ONE)) as running:
        async with asking(running) as client:
            holding = client.tasks.create_task(client.call("one", "echo__sleep", secs=60))
            await client.until("one", 1, 0)
            waiting = client.tasks.create_task(client.run("one", "1 + 1"))
            await client.until("one", 1, 1)
            rewrite(tmp_path, config({"max_running": 2}))
            assert await waiting == 2
            assert not holding.done()
            rewrite(tmp_path, config({**ONE, "max_waiting": 0}))

            async def too_many() -> bool:
                return "isError" in (await client.call("one", "execute", code="1")).text

            await comes_true(too_many)
            holding.cancel()
            await client.until("one", 0, 0)


@pytest.mark.requirement("concurrency.reload")
async def test_who_may_no_longer_use_the_namespace_gets_no_place(tmp_path: Path) -> None:
    def config(*, guarded: bool) -> JsonObject:
        place: JsonObject = {"servers": ["echo"], "mode": "both", "require_auth": guarded}
        place["concurrency"] = {"max_running": 1}
        return {"servers": {"echo": echo()}, "namespaces": {"one": place}}

    with gateway(tmp_path, config(guarded=False)) as running:
        async with asking(running) as client:
            holding = client.tasks.create_task(client.call("one", "echo__sleep", secs=60))
            await client.until("one", 1, 0)
            calls = (("execute", {"code": "1"}), ("echo__add", {"a": 1, "b": 1}))
            waiting = []
            for name, arguments in calls:
                waiting.append(client.tasks.create_task(client.call("one", name, **arguments)))
                await client.until("one", 1, len(waiting))
            rewrite(tmp_path, config(guarded=True))

            async def closed() -> bool:
                return (await client.http.post("/sse/one", json=PING)).status_code == 401

            await comes_true(closed)
            holding.cancel()
            for task in waiting:
                assert (await task).json()["error"]["code"] == -32602


@pytest.mark.requirement("rate.shared")
@pytest.mark.requirement("http.retry_after")
def test_direct_calls_and_scripts_share_a_bucket_by_caller_and_namespace(
    limited: Running, directory: Path
) -> None:
    add = tools_call("echo__add", a=1, b=1)
    assert limited.post(add, "/sse/shared").json()["result"]["structuredContent"] == {"sum": 2}
    secs, words = refused(limited.post(add, "/sse/shared"))
    assert 1 <= secs <= 60
    assert words.startswith(
        "Namespace 'shared' allows 1 calls a minute (rate_limit.requests_per_minute)"
    )
    script = limited.run(CALLS.format(1), namespace="shared")["result"]
    assert isinstance(script, list)
    assert script[:2] == [0, "rate_limited"]
    lines = audited(directory, event="call", namespace="shared", outcome="rate_limited")
    assert [(line["caller"], line["tool"]) for line in lines] == [("anonymous", "add")] * 2

    own = {"Authorization": "Bearer t0k3n"}  # another caller, with a bucket of its own
    code = tools_call("execute", code=CALLS.format(1).replace("said]", "1]"), namespace="shared")
    reply = limited.post(code, **own).json()["result"]["structuredContent"]
    assert reply["result"] == [1, "ok", 1]
    refused(limited.post(add, "/sse/shared", **own))
    free = limited.post(add, "/sse/other", **own)
    assert free.json()["result"]["structuredContent"] == {"sum": 2}
    assert "Retry-After" not in free.headers


@pytest.mark.requirement("rate.shared")
def test_resource_reads_of_scripts_take_from_the_same_bucket(limited: Running) -> None:
    code = """
read = api.read_resource("asker", "memo://one")
try:
    api.server("echo").add(a=1, b=1)
except ToolError as error:
    one = error.code
try:
    api.read_resource("asker", "memo://one")
except ToolError as error:
    result = [bool(read), one, error.code, error.retryable, 0 < error.retry_after <= 60]
"""
    found = limited.run(code, namespace="read")["result"]
    assert found == [True, "rate_limited", "rate_limited", True, True]


@pytest.mark.requirement("rate.shared")
def test_a_group_counts_in_its_member(limited: Running) -> None:
    script = limited.run(CALLS.format(2), namespace="around")["result"]
    assert isinstance(script, list)
    assert script[:2] == [1, "rate_limited"]
    assert "Namespace 'member'" in str(script[2])
    refused(limited.post(tools_call("echo__add", a=1, b=1), "/sse/member"))


@pytest.mark.requirement("http.retry_after")
@pytest.mark.parametrize("era", ["handshake", "2026-07-28"])
def test_streamable_http_says_when_to_try_again(limited: Running, era: str) -> None:
    add = tools_call("echo__add", a=1, b=1)
    headers = {"Accept": "application/json, text/event-stream"}
    if era == "handshake":
        hello: JsonObject = {"protocolVersion": "2025-11-25", "capabilities": {}}
        opening: JsonObject = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
        opened = limited.post(opening, "/mcp/slow", **headers)
        headers["Mcp-Session-Id"] = opened.headers["Mcp-Session-Id"]
    else:
        prefix = "io.modelcontextprotocol/"
        meta: JsonObject = {f"{prefix}protocolVersion": era, f"{prefix}clientCapabilities": {}}
        assert isinstance(add["params"], dict)
        add["params"]["_meta"] = meta
        headers |= {"MCP-Protocol-Version": era, "Mcp-Method": "tools/call"}
        headers |= {"Mcp-Name": "echo__add"}
    while not (reply := limited.post(add, "/mcp/slow", **headers)).json()["result"].get("isError"):
        assert "Retry-After" not in reply.headers
    refused(reply)


@pytest.mark.requirement("http.retry_after")
def test_a_batch_says_so_if_all_of_it_is_refused(limited: Running) -> None:
    add = tools_call("echo__add", a=1, b=1)
    while "isError" not in limited.post(add, "/sse/slow").text:
        continue
    whole = limited.http.post("/sse/slow", json=[add, add])
    assert 1 <= int(whole.headers["Retry-After"]) <= 60
    assert "Retry-After" not in limited.http.post("/sse/slow", json=[add, PING]).headers
