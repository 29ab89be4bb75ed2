"""Every feature for every pairing of eras: the SDK's client and its server, over Streamable HTTP.

``test_direct`` has the same over stdio, with servers that speak the wire by hand.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Literal

import pytest
from mcp import types
from mcp.client.client import Client

from mcproxy.types import JsonObject
from tests.conformance.upstream import fixture_server
from tests.e2e.gateways import Running, gateway
from tests.e2e.test_direct import Human, text

BOUND_SECS = 30
Mode = Literal["legacy", "2026-07-28"]
ERAS: tuple[Mode, ...] = ("legacy", "2026-07-28")
Feature = Callable[[Client, Human, Mode], Awaitable[None]]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway in direct mode before one server of each era, each in its own namespace."""
    with ExitStack() as stack:
        old = stack.enter_context(fixture_server("--legacy"))
        new = stack.enter_context(fixture_server())
        config: JsonObject = {
            "servers": {
                "old": {"url": old, "prefix": False},
                "new": {"url": new, "prefix": False},
            },
            "namespaces": {
                "legacy": {"servers": ["old"], "mode": "direct"},
                "2026-07-28": {"servers": ["new"], "mode": "direct"},
            },
            "sandbox": {"min_level": "none", "default_namespace": "legacy"},
            "manifests": {"startup_dwell_secs": 10},
        }
        directory = tmp_path_factory.mktemp("pairs")
        yield stack.enter_context(gateway(directory, config))


async def call(client: Client, human: Human, mode: Mode) -> None:
    called = await client.call_tool("test_simple_text", {})
    assert text(called) == "This is a simple text response for testing."


async def image(client: Client, human: Human, mode: Mode) -> None:
    (block,) = (await client.call_tool("test_image_content", {})).content
    assert isinstance(block, types.ImageContent)
    assert (block.mime_type, block.data[:8]) == ("image/png", "iVBORw0K")


async def structured(client: Client, human: Human, mode: Mode) -> None:
    called = await client.call_tool("test_structured", {})
    assert called.structured_content == {"sum": 3}


async def progress(client: Client, human: Human, mode: Mode) -> None:
    await client.call_tool("test_tool_with_progress", {}, progress_callback=human.on_progress)
    assert human.progress == [0, 50, 100]


async def cancel(client: Client, human: Human, mode: Mode) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(_wait(client, human))
        await human.news.wait()
        waiting.cancel()
    assert text(await client.call_tool("test_wait_cancelled", {})) == "cancelled"


async def _wait(client: Client, human: Human) -> None:
    await client.call_tool("test_wait", {}, progress_callback=human.on_progress)


async def list_changed(client: Client, human: Human, mode: Mode) -> None:
    before = {tool.name for tool in (await client.list_tools()).tools}
    if mode == "legacy":
        await client.call_tool("test_trigger_tool_change", {})
        await human.until("notifications/tools/list_changed")
    else:
        async with client.listen(tools_list_changed=True) as changes:
            await client.call_tool("test_trigger_tool_change", {})
            await anext(changes)
    after = {tool.name for tool in (await client.list_tools()).tools}
    assert before ^ after == {"test_spare"}


async def elicitation(client: Client, human: Human, mode: Mode) -> None:
    answers = text(await client.call_tool("test_elicitation", {"message": "Who?"}))
    assert json.loads(answers.removeprefix("Answers: "))["answer"]["content"] == {"name": "Ada"}


async def sampling(client: Client, human: Human, mode: Mode) -> None:
    answers = text(await client.call_tool("test_sampling", {"prompt": "Hello?"}))
    assert json.loads(answers.removeprefix("Answers: "))["answer"]["content"]["text"] == "hello"


async def roots(client: Client, human: Human, mode: Mode) -> None:
    assert "file:///home" in text(
        await client.call_tool("test_input_required_result_list_roots", {})
    )


async def rounds(client: Client, human: Human, mode: Mode) -> None:
    assert "step2" in text(await client.call_tool("test_input_required_result_multi_round", {}))


async def resource(client: Client, human: Human, mode: Mode) -> None:
    (content,) = (await client.read_resource("test://template/7/data")).contents
    assert isinstance(content, types.TextResourceContents)
    assert json.loads(content.text)["id"] == "7"


async def prompt(client: Client, human: Human, mode: Mode) -> None:
    given = {"arg1": "a", "arg2": "b"}
    (message,) = (await client.get_prompt("test_prompt_with_arguments", given)).messages
    assert isinstance(message.content, types.TextContent)
    assert message.content.text == "Prompt with arguments: arg1='a', arg2='b'"


async def asking_prompt(client: Client, human: Human, mode: Mode) -> None:
    (message,) = (await client.get_prompt("test_input_required_result_prompt")).messages
    assert isinstance(message.content, types.TextContent)
    assert "Ada" in message.content.text


FEATURES: tuple[Feature, ...] = (
    call,
    image,
    structured,
    progress,
    cancel,
    list_changed,
    elicitation,
    sampling,
    roots,
    rounds,
    resource,
    prompt,
    asking_prompt,
)


@pytest.mark.parametrize(("upstream", "spoken"), [("legacy", "2025-11-25"), (ERAS[1], ERAS[1])])
async def test_each_server_is_spoken_to_in_its_era(
    pairs: Running, upstream: str, spoken: str
) -> None:
    async with Client(str(pairs.http.base_url.join(f"/mcp/{upstream}"))) as client:
        assert text(await client.call_tool("test_era", {})) == spoken


@pytest.mark.requirement("clients.matrix")
@pytest.mark.parametrize("upstream", ERAS)
@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.__name__)
async def test_a_feature(pairs: Running, feature: Feature, mode: Mode, upstream: Mode) -> None:
    human = Human()
    async with (
        asyncio.timeout(BOUND_SECS),
        Client(
            str(pairs.http.base_url.join(f"/mcp/{upstream}")),
            mode=mode,
            elicitation_callback=human.elicit,
            sampling_callback=human.sample,
            list_roots_callback=human.roots,
            message_handler=human.on_message,
            cache=None,
        ) as client,
    ):
        await feature(client, human, mode)
