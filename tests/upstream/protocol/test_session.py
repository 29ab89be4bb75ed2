"""What passes between servers and the clients behind calls, at real child processes."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from mcproxy.call_errors import UpstreamError
from mcproxy.errors import RpcError
from mcproxy.exchange import NOBODY, Exchange
from mcproxy.types import Json, JsonObject, ToolRef
from tests.upstream.fleets import BEHIND, Watched, running, server

WAIT_SECS = 20.0


class Client:
    """The client behind calls; ``answer`` is what it says when it is asked."""

    def __init__(self, answer: Callable[[str], Awaitable[JsonObject]] | None = None) -> None:
        self._answer = answer
        self.heard: list[tuple[str, JsonObject]] = []
        self.asked: list[str] = []

    def notify(self, method: str, params: JsonObject) -> None:
        self.heard.append((method, params))

    async def ask(self, method: str, params: JsonObject) -> JsonObject:
        self.asked.append(method)
        if self._answer is None:
            raise RpcError(-32601, "nobody is there")
        return await self._answer(method)


@contextmanager
def calling(client: Client, meta: JsonObject | None = None, **facts: object) -> Iterator[None]:
    """Within the block, calls are made on behalf of the client."""
    exchange = Exchange(client.notify, client.ask, meta=meta or {}, **facts)  # type: ignore[arg-type]
    token = BEHIND.set(exchange)
    try:
        yield
    finally:
        BEHIND.reset(token)


async def said(fleet: Watched, tool: str, server: str = "asker") -> Json:
    """What a tool of the test server says, decoded."""
    content = (await fleet.call(server, tool))["content"]
    assert isinstance(content, list)
    assert isinstance(content[0], dict)
    value: Json = json.loads(str(content[0]["text"]))
    return value


async def named(method: str) -> JsonObject:
    return {"action": "accept", "content": {"name": "Ada"}}


@pytest.mark.requirement("upstream.ask")
async def test_a_server_asks_the_client_behind_the_call() -> None:
    async with running(asker=server("asker.py")) as fleet:
        client = Client(named)
        with calling(client):
            assert await said(fleet, "elicit") == await named("")
        assert client.asked == ["elicitation/create"]
        with calling(Client()):
            refused = await said(fleet, "sample")
            assert isinstance(refused, dict)
            assert refused["message"] == "nobody is there"
        refused = await said(fleet, "roots")  # by nobody's call
        assert isinstance(refused, dict)
        assert "only while a client's request is running" in str(refused["message"])


async def test_what_is_asked_for_a_call_that_ended_is_withdrawn() -> None:
    asked, withdrawn = asyncio.Event(), asyncio.Event()

    async def think(method: str) -> JsonObject:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            withdrawn.set()
        return {}

    async with running(asker=server("asker.py")) as fleet:
        with calling(Client(think)):
            async with asyncio.timeout(WAIT_SECS), asyncio.TaskGroup() as tasks:
                call = tasks.create_task(said(fleet, "elicit"))
                await asked.wait()
                call.cancel()
                await withdrawn.wait()
        with calling(Client(named)):
            assert await said(fleet, "elicit") == await named("")


@pytest.mark.requirement("upstream.progress")
async def test_progress_has_the_token_of_the_client() -> None:
    async with running(asker=server("asker.py")) as fleet:
        one, other = Client(), Client()

        async def work(client: Client, meta: JsonObject) -> None:
            with calling(client, meta):
                await said(fleet, "work")

        await asyncio.gather(work(one, {"progressToken": "a"}), work(other, {"progressToken": "b"}))
        for client, token in ((one, "a"), (other, "b")):
            assert [params["progressToken"] for _, params in client.heard] == [token] * 3
        silent = Client()
        await work(silent, {})
        assert silent.heard == []


@pytest.mark.requirement("upstream.meta")
@pytest.mark.parametrize("name", ["asker", "modern"])
async def test_meta_of_the_client(name: str) -> None:
    key = "io.modelcontextprotocol/"
    meta: JsonObject = {
        "vendor.example/x": 1,
        f"{key}clientInfo": {"name": "other", "version": "9"},
        f"{key}protocolVersion": "2000-01-01",
        f"{key}clientCapabilities": {"everything": {}},
    }
    async with running(asker=server("asker.py"), modern=server("modern.py")) as fleet:
        with calling(Client(), meta):
            if name == "asker":
                assert await said(fleet, "meta") == {"vendor.example/x": 1}
            else:  # it refuses requests of another version
                assert (await fleet.call("modern", "echo"))["resultType"] == "complete"


@pytest.mark.requirement("upstream.input_required")
async def test_a_stateless_server_gets_its_input() -> None:
    async with running(modern=server("modern.py")) as fleet:
        with calling(Client(named)):
            content = (await fleet.call("modern", "ask"))["content"]
        assert content == [{"type": "text", "text": "hello Ada"}]
        with calling(Client()), pytest.raises(UpstreamError, match="nobody is there"):
            await fleet.call("modern", "ask")


@pytest.mark.requirement("upstream.lists")
async def test_lists_are_remembered_until_they_change() -> None:
    async with running(asker=server("asker.py")) as fleet:
        upstream = fleet.fleet.upstream
        uris = [item["uri"] for item in await upstream.list("asker", "resources/list")]
        assert uris == ["memo://one", "memo://two"]
        before = await upstream.list("asker", "prompts/list")
        assert await upstream.list("asker", "prompts/list") is before
        await fleet.call("asker", "rename")
        (after,) = await upstream.list("asker", "prompts/list")
        assert after["name"] == "renamed"
        with pytest.raises(UpstreamError, match="Method not found"):
            await upstream.request(NOBODY, "asker", "no/such", {})


async def test_a_server_without_a_capability_has_an_empty_list() -> None:
    async with running(echo=server("echo.py")) as fleet:
        assert await fleet.fleet.upstream.list("echo", "prompts/list") == ()


@pytest.mark.requirement("upstream.listen")
async def test_a_stateless_server_tells_of_new_tools() -> None:
    async with running(modern=server("modern.py")) as fleet:
        tools = fleet.fleet.health()["modern"].tools
        await fleet.fleet.call(NOBODY, ToolRef("modern", "grow"), {})
        await fleet.until("modern", lambda health: health.tools == tools + 1)
