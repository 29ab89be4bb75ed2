"""Servers that keep state, through the whole program: clients, scripts and namespaces apart."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mcp import types
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running, echo, gateway
from tests.e2e.test_streamable import stateless, url
from tests.preloaded.program import command
from tests.upstream.fleets import server, until_gone

WAIT_SECS = 30.0
LOOK_SECS = 0.05
PID = 'api.server("echo").pid()["pid"]'
legacy_warnings = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
COUNT = 'api.server("echo").counter()["count"]'


def config(**more: Json) -> JsonObject:
    """One server that keeps state, in two namespaces."""
    return {
        "servers": {"echo": {**echo(), "affinity": "client", **more}},
        "namespaces": {"other": {"extends": "public"}},
        "sandbox": {"min_level": "none"},
    }


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway in front of a server that keeps state."""
    with gateway(tmp_path_factory.mktemp("keeping"), config(max_instances=20)) as running:
        yield running


def program(directory: Path, document: JsonObject) -> StdioServerParameters:
    """The program as a server on stdin and stdout."""
    path = directory / "mcproxy.json"
    path.write_text(json.dumps(document))
    executable, *arguments = command("--stdio", "--config", path)
    environment = {**os.environ, "XDG_STATE_HOME": str(directory / "state")}
    return StdioServerParameters(command=executable, args=arguments, env=environment)


async def run(client: Client, code: str, **arguments: Json) -> Json:
    """The result of a script."""
    done = await client.call_tool("execute", {"code": code, **arguments})
    assert done.structured_content is not None, done
    result: Json = done.structured_content["result"]
    return result


def health(running: Running, name: str = "echo") -> dict[str, Json]:
    """How the server is."""
    told: dict[str, Json] = running.http.get("/health").json()["servers"][name]
    return told


async def until(
    running: Running, condition: Callable[[dict[str, Json]], bool], name: str = "echo"
) -> None:
    """Wait, bounded, until the server is as the condition wants it."""
    async with asyncio.timeout(WAIT_SECS):
        while not condition(health(running, name)):  # noqa: ASYNC110  nobody tells of it
            await asyncio.sleep(LOOK_SECS)


@pytest.mark.requirement("affinity.sessions")
async def test_sessions_have_processes_of_their_own(keeping: Running) -> None:
    address = url(keeping, "/mcp")
    async with (
        Client(address, mode="legacy") as ada,
        Client(address, mode="legacy") as bob,
        Client(sse_client(url(keeping, "/sse")), mode="legacy") as eve,
    ):
        shared = health(keeping)["pid"]
        pids = [await run(client, PID) for client in (ada, bob, eve)]
        assert len({shared, *pids}) == 4
        assert await run(ada, f"[{PID}, {PID}]") == [pids[0]] * 2
        assert await run(ada, f"[{COUNT}, {COUNT}]") == [1, 2]
        assert await run(ada, COUNT) == 3
        assert await run(bob, COUNT) == 1
        assert health(keeping)["instances"] == 3
        assert 'mcproxy_server_instances{server="echo"} 3.0' in keeping.http.get("/metrics").text
    await until_gone(*(pid for pid in pids if isinstance(pid, int)))
    await until(keeping, lambda told: told["instances"] == 0)


@pytest.mark.requirement("affinity.sessions")
async def test_one_session_has_a_process_in_each_namespace(keeping: Running) -> None:
    async with Client(url(keeping, "/mcp"), mode="legacy") as client:
        here, there = await run(client, PID), await run(client, PID, namespace="other")
        assert here != there
        assert await run(client, PID, namespace="other") == there


@pytest.mark.requirement("affinity.sessions")
async def test_a_client_over_stdio_keeps_its_process(tmp_path: Path) -> None:
    direct: JsonObject = {"public": {"mode": "both", "servers": ["echo"]}}
    document = {**config(), "namespaces": direct}
    async with Client(stdio_client(program(tmp_path, document))) as client:
        first = await run(client, PID)
        called = await client.call_tool("echo__pid", {})
        assert called.structured_content == {"pid": first}
        assert await run(client, PID) == first


@pytest.mark.requirement("affinity.requests")
async def test_a_request_without_session_has_a_process_for_itself(keeping: Running) -> None:
    code = f"[{PID}, *[each['pid'] for each in api.parallel([{PID[:-7]}, {PID[:-7]}])]]"
    scripts = [keeping.run(code)["result"] for _ in range(3)]
    headers, body = stateless("tools/call", "execute", arguments={"code": code})
    modern = keeping.post(body, "/mcp", **headers).json()["result"]["structuredContent"]["result"]
    pids = [{*script} for script in (*scripts, modern) if isinstance(script, list)]
    assert [len(each) for each in pids] == [1] * 4
    assert len(set.union(*pids)) == 4
    await until_gone(*set.union(*pids))


@pytest.mark.requirement("affinity.note")
@pytest.mark.requirement("affinity.handles")
async def test_requests_with_one_handle_share_a_process(keeping: Running) -> None:
    session: Json = keeping.run("1", session="new")["session"]
    first = keeping.run(COUNT, session=session)["result"]
    assert [keeping.run(COUNT, session=session)["result"] for _ in range(2)] == [2, 3]
    assert first == 1
    alone = [keeping.run(COUNT, **asked)["result"] for asked in ({}, {"session": "new"})]
    assert alone == [1, 1]
    notes = [keeping.run(COUNT, **asked).get("notes") for asked in ({}, {"session": session})]
    assert notes == [
        [
            'what echo kept ended with this request; session="new" gives a handle that later '
            "requests pass to keep it"
        ],
        None,
    ]
    elsewhere = keeping.run("1", session="new", namespace="other")["session"]
    assert keeping.run(COUNT, session=elsewhere, namespace="other")["result"] == 1
    assert keeping.run(COUNT, session=session)["result"] == 5


@pytest.mark.requirement("affinity.handles")
async def test_the_process_of_a_handle_ends_with_it(tmp_path: Path) -> None:
    with gateway(tmp_path, config() | {"results": {"ttl_secs": 4}}) as running:
        session: Json = running.run("1", session="new")["session"]
        pid = running.run(PID, session=session)["result"]
        assert isinstance(pid, int)
        await until_gone(pid)
        assert "unknown session" in str(running.run(PID, session=session)["fault"])


class Listeners:
    """Clients of one gateway, and who of them heard of a changed resource."""

    def __init__(self, running: Running) -> None:
        self.heard: list[str] = []
        self._address = url(running, "/mcp")
        self._news = asyncio.Event()

    def client(self, name: str) -> Client:
        """A client by name."""

        async def hear(message: object) -> None:
            if isinstance(message, types.ResourceUpdatedNotification):
                self.heard.append(name)
                self._news.set()

        return Client(self._address, mode="legacy", message_handler=hear)

    async def arrived(self, client: Client) -> None:
        """Return once the gateway has taken what this client sent before."""
        await client.send_ping()

    async def after_touch(self, client: Client) -> list[str]:
        """Change the resource of a client; all that was heard once somebody has heard of it."""
        self._news.clear()
        await client.call_tool("asker__touch", {})
        async with asyncio.timeout(WAIT_SECS):
            await self._news.wait()
        return self.heard


def asking(**more: Json) -> JsonObject:
    """A server of resources that can be subscribed to, in direct mode."""
    return {
        "servers": {"asker": server("asker.py", affinity="client", **more)},
        "namespaces": {"public": {"mode": "direct", "servers": ["asker"]}},
        "sandbox": {"min_level": "none"},
    }


@pytest.mark.requirement("affinity.watch")
@legacy_warnings
async def test_each_session_hears_of_its_own_resources(tmp_path: Path) -> None:
    with gateway(tmp_path, asking()) as running:
        listeners = Listeners(running)
        async with listeners.client("ada") as ada, listeners.client("bob") as bob:
            for client in (ada, bob):
                await client.subscribe_resource("memo://one")
                await client.read_resource("memo://one")
            assert await listeners.after_touch(ada) == ["ada"]
            assert await listeners.after_touch(bob) == ["ada", "bob"]
            await bob.unsubscribe_resource("memo://one")
            await bob.call_tool("asker__touch", {})
            assert await listeners.after_touch(ada) == ["ada", "bob", "ada"]


@pytest.mark.requirement("pass.subscriptions")
@legacy_warnings
async def test_a_subscription_counts_that_is_made_while_another_is_turned_off(
    tmp_path: Path,
) -> None:
    document: JsonObject = {**asking(), "servers": {"asker": server("asker.py", str(tmp_path))}}
    with gateway(tmp_path, document) as running:
        listeners = Listeners(running)
        async with (
            listeners.client("ada") as ada,
            listeners.client("bob") as bob,
            asyncio.timeout(WAIT_SECS),
            asyncio.TaskGroup() as tasks,
        ):
            await ada.subscribe_resource("memo://one")
            tasks.create_task(ada.unsubscribe_resource("memo://one"))
            while not (tmp_path / "unsubscribing").exists():  # noqa: ASYNC110
                await asyncio.sleep(LOOK_SECS)
            subscribing = tasks.create_task(bob.subscribe_resource("memo://one"))
            await listeners.arrived(bob)
            (tmp_path / "go").touch()
            await subscribing
            assert await listeners.after_touch(bob) == ["bob"]


@pytest.mark.requirement("affinity.watch")
@legacy_warnings
async def test_a_new_instance_takes_over_the_subscriptions(tmp_path: Path) -> None:
    with gateway(tmp_path, asking(instance_idle_secs=0.5)) as running:
        listeners = Listeners(running)
        async with listeners.client("ada") as ada:
            await ada.subscribe_resource("memo://one")
            await until(running, lambda told: told["instances"] == 0, "asker")
            assert await listeners.after_touch(ada) == ["ada"]


@pytest.mark.requirement("affinity.watch")
async def test_a_stateless_client_over_stdio_hears_of_what_its_calls_change(tmp_path: Path) -> None:
    command = program(tmp_path, {**asking(), "namespaces": {}})
    async with (
        Client(stdio_client(command)) as client,
        client.listen(resource_subscriptions=["memo://one"]) as changes,
    ):
        await run(client, 'api.server("asker").touch()')
        async with asyncio.timeout(WAIT_SECS):
            assert "memo://one" in str(await anext(changes))


@pytest.mark.requirement("affinity.ended")
async def test_an_open_subscription_is_a_request_with_an_instance(tmp_path: Path) -> None:
    with gateway(tmp_path, asking()) as running:
        async with (
            Client(url(running, "/mcp"), mode="2026-07-28") as client,
            client.listen(resource_subscriptions=["memo://one"]),
        ):
            await until(running, lambda told: told["instances"] == 1, "asker")
        await until(running, lambda told: told["instances"] == 0, "asker")


@pytest.mark.requirement("affinity.limit")
async def test_a_script_is_told_that_there_is_no_room(tmp_path: Path) -> None:
    with gateway(tmp_path, config(max_instances=1)) as running:
        async with Client(url(running, "/mcp"), mode="legacy") as client:
            first = await run(client, PID)
            refused = running.run(PID)["error"]
            assert isinstance(refused, dict)
            assert refused["retryable"] is True
            assert "is full: all 1 of its instances" in str(refused["message"])
            assert await run(client, PID) == first


@pytest.mark.requirement("affinity.nothing_left")
async def test_abandoned_sessions_and_sigterm_leave_no_process(tmp_path: Path) -> None:
    with gateway(tmp_path, config(max_instances=30, instance_idle_secs=2)) as running:
        pids = await asyncio.to_thread(lambda: [_abandon(running, at) for at in range(20)])
        await until(running, lambda told: told["instances"] == 0)
        async with Client(url(running, "/mcp"), mode="legacy") as client:
            pids.append(await run(client, PID))
            running.process.terminate()
            await asyncio.to_thread(running.process.wait, WAIT_SECS)
    assert len(set(pids)) == 21
    await until_gone(*(pid for pid in pids if isinstance(pid, int)))


def _abandon(running: Running, number: int) -> Json:
    """Open a session, call the server in it, and never come back."""
    hello: JsonObject = {"protocolVersion": "2025-11-25", "capabilities": {}}
    hello["clientInfo"] = {"name": "lost", "version": "1"}
    accept = {"Accept": "application/json, text/event-stream"}
    begun = running.post(
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}, "/mcp", **accept
    )
    session = {**accept, "Mcp-Session-Id": begun.headers["mcp-session-id"]}
    call: JsonObject = {"name": "execute", "arguments": {"code": PID}}
    body: JsonObject = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}
    answered = running.post(body, "/mcp", **session)
    text = answered.text.partition("data: ")[2] or answered.text
    found: Json = json.loads(text)["result"]["structuredContent"]["result"]
    return found
