"""Direct mode and everything that is not a tool, with the official SDK in front, both eras.

The servers behind are of both eras too: ``asker`` and ``echo`` of the handshake's, ``modern`` of
the stateless one, ``sdk`` of both.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, cast

import pytest
from mcp import types
from mcp.client import Transport
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from pydantic import FileUrl

from mcproxy.types import JsonObject
from tests.e2e.gateways import Running, echo, gateway
from tests.preloaded.program import command
from tests.upstream.fleets import server

Mode = Literal["legacy", "2026-07-28"]
BOTH: tuple[Mode, ...] = ("legacy", "2026-07-28")
WAIT_SECS = 20.0
ASKER = {"asker": server("asker.py")}

both_eras = pytest.mark.parametrize("mode", BOTH)


class Human:
    """A client's user and its model, and what they heard."""

    def __init__(self) -> None:
        self.logged: list[str] = []
        self.progress: list[float] = []
        self.heard: list[str] = []
        self.news = asyncio.Event()

    async def elicit(
        self, context: object, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async def sample(
        self, context: object, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        hello = types.TextContent(type="text", text="hello")
        return types.CreateMessageResult(role="assistant", content=hello, model="m")

    async def roots(self, context: object) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=FileUrl("file:///home"))])

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logged.append(params.level)

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append(progress)
        self.news.set()

    async def on_message(self, message: object) -> None:
        method = getattr(message, "method", None)
        if method:
            self.heard.append(str(method))
            self.news.set()

    async def until(self, method: str) -> None:
        async with asyncio.timeout(WAIT_SECS):
            while method not in self.heard:
                self.news.clear()
                await self.news.wait()


SERVERS: dict[str, JsonObject] = {
    **ASKER,
    "echo": echo(),
    "bare": {**echo(), "prefix": False},
    "modern": server("modern.py"),
    "sdk": server("sdk_server.py"),
    "reviewer": server("sdk_server.py", prefix=False),
    "down": {"command": "/no/such/command"},
}
SHOWN = (
    *("direct-asker", "direct-echo", "direct-modern", "direct-sdk", "code-asker", "code-modern"),
    *("direct-asker-bare", "direct-asker-modern", "direct-asker-reviewer", "both-asker-modern"),
    *("code-asker-reviewer", "code-asker-sdk-down"),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway for the tests that leave its servers as they were: a namespace for some servers,
    and the way they are offered, is named ``offer-server-server``."""
    document: JsonObject = {
        "servers": {**SERVERS},
        "namespaces": {
            name: {"servers": [*name.split("-")[1:]], "mode": name.split("-")[0]} for name in SHOWN
        },
        "sandbox": {"min_level": "none"},
    }
    with gateway(tmp_path_factory.mktemp("direct"), document) as running:
        yield running


def visiting(shared: Running, mode: Mode, namespace: str, human: Human | None = None) -> Client:
    """A client of the shared gateway; with a human, it can be asked everything."""
    assert namespace in SHOWN
    return client_of(str(shared.http.base_url.join(f"/mcp/{namespace}")), mode, human)


@asynccontextmanager
async def connected(
    directory: Path, mode: Mode, servers: Mapping[str, JsonObject], human: Human | None = None
) -> AsyncIterator[Client]:
    """A client, on pipes, of a gateway in direct mode that is its own, whose servers it may
    change."""
    config = directory / "mcproxy.json"
    document: JsonObject = {
        "servers": {**servers},
        "namespaces": {"public": {"servers": [*servers], "mode": "direct"}},
        "sandbox": {"min_level": "none"},
        "manifests": {"startup_dwell_secs": 10},
    }
    config.write_text(json.dumps(document))
    program, *arguments = command("--stdio", "--config", config)
    parameters = StdioServerParameters(
        command=program,
        args=arguments,
        env={"XDG_STATE_HOME": str(directory / "state")},
    )
    async with client_of(stdio_client(parameters), mode, human) as client:
        yield client


def client_of(transport: str | Transport, mode: Mode, human: Human | None) -> Client:
    """The SDK's client; with a human, it can be asked everything."""
    return Client(
        transport,
        mode=mode,
        elicitation_callback=human.elicit if human else None,
        sampling_callback=human.sample if human else None,
        list_roots_callback=human.roots if human else None,
        logging_callback=human.log if human else None,
        message_handler=human.on_message if human else None,
        cache=None,
    )


def meta_of(**members: str) -> types.RequestParamsMeta:
    """A request's ``_meta`` with members of any name, as the protocol allows."""
    return cast(types.RequestParamsMeta, members)


def text(result: types.CallToolResult) -> str:
    """The text of a result's first block."""
    block = result.content[0]
    assert isinstance(block, types.TextContent)
    return block.text


@pytest.mark.requirement("direct.tools")
@both_eras
async def test_the_tools_of_servers_themselves(shared: Running, mode: Mode) -> None:
    async with visiting(shared, mode, "direct-asker-bare") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "search" not in tools
        assert {"asker__elicit", "asker__rich", "echo", "add"} <= set(tools)
        (odd,) = [name for name in tools if name.startswith("asker__odd_name_with_spaces_")]
        assert text(await client.call_tool(odd, {})) == '"odd.name/with spaces"'
        rich = tools["asker__rich"]
        assert rich.title == "Rich"
        assert rich.annotations
        assert rich.annotations.read_only_hint is True
        assert rich.icons
        assert rich.output_schema == {"type": "object"}
        assert rich.meta == {"vendor.example/x": 1}
        result = await client.call_tool("asker__rich", {})
        assert result.structured_content == {"rich": True}
        assert result.meta
        assert result.meta["vendor.example/trace"] == "t"
        image = await client.call_tool("image", {})
        assert [block.type for block in image.content] == ["image"]
        assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"sum": 3}


@pytest.mark.requirement("direct.faults")
@both_eras
async def test_what_goes_wrong_is_told(shared: Running, mode: Mode) -> None:
    async with visiting(shared, mode, "direct-echo") as client:
        await client.list_tools()
        with pytest.raises(MCPError, match="unknown tool 'echo__ecco'; did you mean echo__echo"):
            await client.call_tool("echo__ecco", {})
        with pytest.raises(MCPError, match="unknown tool 'search'"):
            await client.call_tool("search", {"query": "x"})
        wrong = await client.call_tool("echo__add", {"a": "one"})
        assert wrong.is_error
        assert "inputSchema of echo__add" in text(wrong)
        failed = await client.call_tool("echo__fail", {"message": "no"})
        assert failed.is_error
        assert text(failed) == "no"
        with pytest.raises(MCPError) as refused:
            await client.call_tool("echo__rpc_error", {"code": -32050, "message": "own"})
        assert (refused.value.error.code, refused.value.error.message) == (-32050, "own")


@pytest.mark.requirement("direct.progress")
@both_eras
@pytest.mark.parametrize(
    ("name", "tool"), [("asker", "work"), ("modern", "count"), ("sdk", "work")]
)
async def test_progress(shared: Running, mode: Mode, name: str, tool: str) -> None:
    human = Human()
    async with visiting(shared, mode, f"direct-{name}", human) as client:
        await client.call_tool(f"{name}__{tool}", {}, progress_callback=human.on_progress)
        assert human.progress == [1, 2, 3]


@pytest.mark.requirement("direct.ask")
@both_eras
async def test_servers_ask_the_client(shared: Running, mode: Mode) -> None:
    async with visiting(shared, mode, "direct-asker-modern", Human()) as client:
        elicited = await client.call_tool("asker__elicit", {})
        assert json.loads(text(elicited)) == {"action": "accept", "content": {"name": "Ada"}}
        sampled = await client.call_tool("asker__sample", {})
        assert json.loads(text(sampled))["content"]["text"] == "hello"
        rooted = await client.call_tool("asker__roots", {})
        assert json.loads(text(rooted))["roots"][0]["uri"] == "file:///home"
        assert text(await client.call_tool("modern__ask", {})) == "hello Ada"


@pytest.mark.requirement("direct.cannot_ask")
@both_eras
async def test_clients_that_cannot_be_asked(shared: Running, mode: Mode) -> None:
    async with visiting(shared, mode, "direct-asker") as client:
        answer = text(await client.call_tool("asker__elicit", {}))
        assert "elicitation/create" in json.loads(answer)["message"]


@pytest.mark.requirement("direct.cancel")
@both_eras
async def test_a_cancelled_call_is_cancelled_at_its_server(tmp_path: Path, mode: Mode) -> None:
    human = Human()
    async with connected(tmp_path, mode, {"echo": echo()}, human) as client:

        async def sleep() -> None:
            await client.call_tool(
                "echo__sleep", {"secs": 300}, progress_callback=human.on_progress
            )

        async with asyncio.TaskGroup() as tasks:
            sleeping = tasks.create_task(sleep())
            await client.call_tool("echo__echo", {})  # the sleep was sent before
            sleeping.cancel()
        async with asyncio.timeout(WAIT_SECS):
            while await cancellations(client) == 0:
                pass


async def cancellations(client: Client) -> int:
    """How many the server has been told of."""
    counted = (await client.call_tool("echo__counter", {})).structured_content
    assert counted
    return int(counted["cancelled"])


@pytest.mark.requirement("direct.logging")
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@both_eras
async def test_log_messages(tmp_path: Path, mode: Mode) -> None:
    human = Human()
    async with connected(tmp_path, mode, ASKER, human) as client:
        await client.call_tool("asker__talk", {})
        # A handshake-era client that says nothing gets what the server sends, a stateless one none.
        assert human.logged[:1] == (["info"] if mode == "legacy" else [])
        human.logged.clear()
        if mode == "legacy":
            await client.set_logging_level("error")
            await client.call_tool("asker__talk", {})
            assert human.logged == ["error", "critical", "alert", "emergency"]
            human.logged.clear()
            await client.set_logging_level("debug")
            await client.call_tool("asker__talk", {})
        else:
            meta = meta_of(**{"io.modelcontextprotocol/logLevel": "debug"})
            await client.call_tool("asker__talk", {}, meta=meta)
        assert human.logged[:2] == ["debug", "info"]


@pytest.mark.requirement("pass.meta")
@both_eras
async def test_meta_goes_through_but_for_what_concerns_one_hop(shared: Running, mode: Mode) -> None:
    async with visiting(shared, mode, "direct-asker") as client:
        meta = meta_of(**{"vendor.example/trace": "42"})
        seen = text(await client.call_tool("asker__meta", {}, meta=meta))
        assert json.loads(seen) == {"vendor.example/trace": "42"}


@pytest.mark.requirement("direct.list_changed")
@both_eras
@pytest.mark.parametrize("name", ["echo", "modern"])
async def test_a_changed_list_of_tools(tmp_path: Path, mode: Mode, name: str) -> None:
    human = Human()
    servers = {"echo": echo("--list-changed"), "modern": server("modern.py")}
    async with connected(tmp_path, mode, {name: servers[name]}, human) as client:
        before = {tool.name for tool in (await client.list_tools()).tools}
        if mode == "legacy":
            await client.call_tool(f"{name}__grow", {})
            await human.until("notifications/tools/list_changed")
        else:
            async with client.listen(tools_list_changed=True) as changes:
                await client.call_tool(f"{name}__grow", {})
                async with asyncio.timeout(WAIT_SECS):
                    await anext(changes)
        after = {tool.name for tool in (await client.list_tools()).tools}
        assert [name.partition("_grown")[0] for name in after - before] == [f"{name}_"]


@pytest.mark.requirement("pass.prompts")
@both_eras
@pytest.mark.parametrize("offer", ["code", "direct"])
async def test_prompts(shared: Running, mode: Mode, offer: str) -> None:
    async with visiting(shared, mode, f"{offer}-asker-reviewer", Human()) as client:
        if mode == "legacy":  # the SDK asks for no capabilities when it is told the version
            assert client.server_capabilities.prompts
        names = [prompt.name for prompt in (await client.list_prompts()).prompts]
        assert names == ["asker__review", "review"]
        for name, said in (("asker__review", "review: x"), ("review", "Please review:\nx")):
            (message,) = (await client.get_prompt(name, {"code": "x"})).messages
            assert isinstance(message.content, types.TextContent)
            assert message.content.text == said
        with pytest.raises(MCPError, match="unknown prompt 'asker__reviev'; did you mean"):
            await client.get_prompt("asker__reviev", {})
        reference = types.PromptReference(name="asker__review")
        completed = await client.complete(reference, {"name": "code", "value": "a"})
        assert completed.completion.values == ["a-completed"]


@pytest.mark.requirement("pass.resources")
@both_eras
async def test_resources(shared: Running, mode: Mode) -> None:
    async with visiting(shared, mode, "code-asker-sdk-down") as client:
        listed = [str(each.uri) for each in (await client.list_resources()).resources]
        assert listed == ["mcproxy://instructions", "memo://one", "memo://two", "note://readme"]
        templates = (await client.list_resource_templates()).resource_templates
        assert [each.uri_template for each in templates] == [
            "mcproxy://results/{ref}{?session}",
            "memo://{name}/pages",
            "note://{name}",
        ]
        for uri, expected in (
            ("memo://two", "['memo://two']"),
            ("memo://a/pages", "['memo://a/pages']"),
            ("note://readme", "Read me."),
            ("note://b", "Note b."),
        ):
            (content,) = (await client.read_resource(uri)).contents
            assert isinstance(content, types.TextResourceContents)
            assert content.text == expected
        with pytest.raises(MCPError) as missing:
            await client.read_resource("memo://missing/pages")
        assert missing.value.error.code == (-32002 if mode == "legacy" else -32602)
        reference = types.ResourceTemplateReference(uri="memo://{name}/pages")
        completed = await client.complete(reference, {"name": "name", "value": "o"})
        assert completed.completion.values == ["o-completed"]


@pytest.mark.requirement("pass.subscriptions")
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@both_eras
async def test_a_changed_resource(tmp_path: Path, mode: Mode) -> None:
    human = Human()
    async with connected(tmp_path, mode, ASKER, human) as client:
        if mode == "legacy":
            await client.call_tool("asker__touch", {})
            await client.subscribe_resource("memo://one")
            await client.call_tool("asker__touch", {})
            await human.until("notifications/resources/updated")
            await client.unsubscribe_resource("memo://one")
        else:
            async with client.listen(resource_subscriptions=["memo://one"]) as changes:
                await client.call_tool("asker__touch", {})
                async with asyncio.timeout(WAIT_SECS):
                    event = await anext(changes)
            assert "memo://one" in str(event)


@pytest.mark.requirement("pass.list_changed")
async def test_a_changed_list_of_prompts(tmp_path: Path) -> None:
    human = Human()
    async with connected(tmp_path, "legacy", ASKER, human) as client:
        await client.list_prompts()
        await client.call_tool("asker__rename", {})
        await human.until("notifications/prompts/list_changed")
        (prompt,) = (await client.list_prompts()).prompts
        assert prompt.name == "asker__renamed"


@pytest.mark.requirement("execute.ask")
@both_eras
async def test_servers_ask_the_client_behind_a_script(shared: Running, mode: Mode) -> None:
    code = """
a = api.server("asker").elicit()
b = api.server("modern").ask()
[a["content"]["name"], b, api.read_resource("asker", "memo://one")]
"""
    async with visiting(shared, mode, "both-asker-modern", Human()) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"search", "execute", "asker__elicit"} <= names
        done = await client.call_tool("execute", {"code": code})
        assert done.structured_content
        assert done.structured_content["result"] == ["Ada", "hello Ada", "['memo://one']"]


class Hesitant(Human):
    """A user who thinks for longer than a script may run."""

    async def elicit(
        self, context: object, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        late = asyncio.Event()
        asyncio.get_running_loop().call_later(2.5, late.set)
        await late.wait()
        return await super().elicit(context, params)


@pytest.mark.requirement("execute.patience")
@both_eras
async def test_a_script_waits_for_a_user_beyond_its_limit(shared: Running, mode: Mode) -> None:
    code = 'api.server("asker").elicit()["content"]["name"]'
    async with visiting(shared, mode, "code-asker", Hesitant()) as client:
        done = await client.call_tool("execute", {"code": code, "timeout_secs": 2})
        assert done.structured_content
        assert done.structured_content["result"] == "Ada"


@pytest.mark.requirement("execute.cannot_ask")
async def test_scripts_of_clients_that_cannot_be_asked(shared: Running) -> None:
    code = """
try:
    api.server("modern").ask()
except ToolError as error:
    result = error.message
"""
    async with visiting(shared, "legacy", "code-modern") as client:
        done = await client.call_tool("execute", {"code": code})
        assert done.structured_content
        assert "cannot be asked for elicitation/create" in done.structured_content["result"]


@pytest.mark.requirement("execute.read_resource")
async def test_a_script_reads_resources(shared: Running) -> None:
    code = """
try:
    api.read_resource("askr", "memo://one")
except ToolError as error:
    result = [error.code, api.read_resource("asker", "memo://two")]
"""
    async with visiting(shared, "legacy", "code-asker") as client:
        done = await client.call_tool("execute", {"code": code})
        assert done.structured_content
        assert done.structured_content["result"] == ["unknown_server", "['memo://two']"]
