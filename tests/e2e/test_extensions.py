"""Extensions of the protocol, between clients and servers of both eras: the official SDK in front,
servers that use them behind."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from mcp.client import ClientExtension, NotificationBinding, advertise
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import Request, RequestParams
from pydantic import BaseModel

from mcproxy import mcp
from mcproxy.types import JsonObject
from tests.e2e.gateways import Running, gateway
from tests.e2e.test_direct import BOTH, Mode, both_eras, text
from tests.upstream.fleets import server

UI, SKILLS = "io.modelcontextprotocol/ui", "io.modelcontextprotocol/skills"
ECHO = "com.example/echo"
HEARD = "notifications/echo/heard"
BOUND_SECS = 30
PAGE_TYPE = "text/html;profile=mcp-app"
PAGE: JsonObject = {"mimeTypes": [PAGE_TYPE]}
OWN: JsonObject = {mcp.TASKS: {}}  # which the gateway knows itself, whoever the client is
CONFIG: JsonObject = {
    "servers": {
        "old": server("extended.py", "old", "handshake", "--own"),
        "new": server("extended.py", "new", "2026-07-28", "--own"),
        "plain": server("extended.py", "plain", "handshake"),
        "clock": server("sdk_apps.py"),
        "apart": server("extended.py", "apart", "handshake", "--own", affinity="client"),
    },
    "namespaces": {
        "legacy": {"servers": ["old", "plain"]},
        "2026-07-28": {"servers": ["new", "plain"]},
        "legacy-alone": {"servers": ["old"]},
        "2026-07-28-alone": {"servers": ["new"]},
        "clock": {"servers": ["clock"]},
        "apart": {"servers": ["apart"]},
        "ruled": {"servers": ["new"], "tools": {"odd": "deny"}},
        "twice": {"servers": ["old", "new"]},
    },
    "sandbox": {"min_level": "none"},
}
SERVER = {"legacy": "old", "2026-07-28": "new"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway(tmp_path_factory.mktemp("extensions"), CONFIG) as running:
        yield running


class Heard(BaseModel):
    """What ``notifications/echo/heard`` tells."""

    text: str


class Echo(ClientExtension):
    """The extension as a client knows it; ``heard`` is what it was told."""

    identifier = ECHO

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    def settings(self) -> dict[str, Any]:
        return {"quiet": True}

    def notifications(self) -> Sequence[NotificationBinding[Any]]:
        async def handler(heard: Heard) -> None:
            await self.heard.put(heard.text)

        return (NotificationBinding(method=HEARD, params_type=Heard, handler=handler),)


def client(
    running: Running, mode: Mode, path: str, *, known: tuple[str, ...] = (UI, ECHO)
) -> Client:
    """A client that knows these extensions."""
    settings: dict[str, dict[str, Any]] = {UI: {**PAGE}, ECHO: {"quiet": True}}
    extensions = [advertise(name, settings[name]) for name in known]
    url = str(running.http.base_url.join(path))
    return Client(url, mode=mode, extensions=extensions)


class Params(RequestParams, extra="allow"):
    """The parameters of any method."""


class Anything(BaseModel, extra="allow"):
    """Any result."""


async def ask(client: Client, method: str, **params: Any) -> dict[str, Any]:
    """The raw result of any method."""
    request = Request(method=method, params=Params(**params))
    return (await client.session.send_request(request, Anything)).model_dump()


async def offered(client: Client, mode: Mode) -> dict[str, Any]:
    """The extensions that the client is offered."""
    if mode == "legacy":
        return client.server_capabilities.model_dump(by_alias=True)["extensions"] or {}
    return dict((await ask(client, "server/discover"))["capabilities"].get("extensions", {}))


pairs = pytest.mark.parametrize("behind", BOTH)


@pytest.mark.requirement("extensions.foreign")
@both_eras
@pairs
async def test_an_extension_that_only_the_two_ends_know_passes(
    running: Running, mode: Mode, behind: Mode
) -> None:
    async with client(running, mode, f"/mcp/{behind}?mode=direct") as seen:
        assert (await offered(seen, mode))[ECHO] == {"loud": True}
        said = await ask(seen, "echo/say", text="hello")
        assert (said["said"], said["by"]) == ("hello", SERVER[behind])


@pytest.mark.requirement("extensions.foreign")
@both_eras
@pairs
async def test_what_it_tells_reaches_the_client_whose_request_runs(
    running: Running, mode: Mode, behind: Mode
) -> None:
    path = f"/mcp/{behind}?mode=direct"
    echo, url = Echo(), str(running.http.base_url.join(path))
    hearing = Client(url, mode=mode, extensions=[echo])
    async with hearing as seen, client(running, mode, path) as other:
        await ask(other, "echo/say", text="not yours")
        await ask(seen, "echo/say", text="hello")
        async with asyncio.timeout(BOUND_SECS):
            assert await echo.heard.get() == "hello"


@pytest.mark.requirement("extensions.apart")
async def test_each_client_has_its_own_instance_for_methods_of_extensions(
    running: Running,
) -> None:
    path = "/mcp/apart?mode=direct"
    async with client(running, "legacy", path) as one, client(running, "legacy", path) as other:
        assert [(await ask(one, "echo/say", text=""))["times"] for _ in range(2)] == [1, 2]
        assert (await ask(other, "echo/say", text=""))["times"] == 1


REFUSED = [
    ("/mcp/2026-07-28?mode=code", "a client that sees no tools of servers"),
    ("/mcp/ruled?mode=direct", "rules that nobody could hold it against"),
    ("/mcp/twice?mode=direct", "two servers that have it"),
]


@pytest.mark.requirement("extensions.foreign")
@both_eras
@pytest.mark.parametrize("path", [path for path, _ in REFUSED], ids=[why for _, why in REFUSED])
async def test_elsewhere_it_is_neither_offered_nor_passed_on(
    running: Running, mode: Mode, path: str
) -> None:
    async with client(running, mode, path) as seen:
        assert ECHO not in await offered(seen, mode)
        with pytest.raises(MCPError, match="unknown method 'echo/say'"):
            await ask(seen, "echo/say", text="hello")


@pytest.mark.requirement("extensions.told")
@both_eras
async def test_a_server_is_told_what_the_client_has_declared(running: Running, mode: Mode) -> None:
    async with client(running, mode, "/mcp/2026-07-28?mode=direct") as seen:
        told = await seen.call_tool("new__told", {})
        assert told.structured_content == {"extensions": {**OWN, UI: PAGE, ECHO: {"quiet": True}}}
    async with client(running, mode, "/mcp/2026-07-28?mode=direct", known=()) as blind:
        told = await blind.call_tool("new__told", {})
        assert told.structured_content == {"extensions": OWN}


@pytest.mark.requirement("extensions.told")
@both_eras
async def test_a_server_that_is_told_at_its_start_hears_what_passes_for_any_client(
    running: Running, mode: Mode
) -> None:
    async with client(running, mode, "/mcp/legacy?mode=direct", known=()) as seen:
        told = await seen.call_tool("old__told", {})
        assert told.structured_content == {"extensions": {UI: PAGE}}


@pytest.mark.requirement("extensions.told")
async def test_with_calls_of_scripts_a_server_is_told_what_scripts_can_use(
    running: Running,
) -> None:
    async with client(running, "2026-07-28", "/mcp/2026-07-28") as seen:
        ran = await seen.call_tool("execute", {"code": "api.server('new').told()"})
        assert (ran.structured_content or {})["result"] == {"extensions": {**OWN, UI: PAGE}}


@pytest.mark.requirement("extensions.result_types")
@both_eras
@pairs
async def test_a_result_of_an_unknown_type_is_an_error(
    running: Running, mode: Mode, behind: Mode
) -> None:
    name = SERVER[behind]
    path = f"/mcp/{behind}"
    async with client(running, mode, f"{path}?mode=direct", known=(UI,)) as seen:
        for tool in ("odd", "echoed"):
            with pytest.raises(MCPError, match="of the type"):
                await seen.call_tool(f"{name}__{tool}", {})
    script = f"await api.server({name!r}).odd()"
    async with client(running, mode, path) as coding:
        ran = await coding.call_tool("execute", {"code": script})
        assert "of the type 'surprise'" in text(ran)
        assert (ran.structured_content or {})["status"] == "error"


@pytest.mark.requirement("extensions.result_types")
async def test_a_result_of_an_extension_that_both_ends_know_passes(running: Running) -> None:
    async with client(running, "2026-07-28", "/mcp/2026-07-28?mode=direct") as seen:
        given = await ask(seen, "tools/call", name="new__echoed", arguments={})
        assert (given["resultType"], given["echo"]) == ("echo", "new")


async def tools(client: Client) -> dict[str, dict[str, Any]]:
    """The tools as they are listed, by name."""
    listed = (await ask(client, "tools/list"))["tools"]
    return {tool["name"]: tool for tool in listed}


async def page(client: Client, uri: str) -> dict[str, Any]:
    """The contents of a page."""
    (content,) = (await ask(client, "resources/read", uri=uri))["contents"]
    return dict(content)


@pytest.mark.requirement("apps.direct")
@both_eras
@pairs
async def test_a_tools_page_is_named_and_read(running: Running, mode: Mode, behind: Mode) -> None:
    name = SERVER[behind]
    async with client(running, mode, f"/mcp/{behind}-alone?mode=direct") as seen:
        assert UI in await offered(seen, mode)
        meta = (await tools(seen))[f"{name}__board"]["_meta"]
        assert meta == {"ui": {"resourceUri": "ui://board"}, "com.example/kept": name}
        read = await page(seen, "ui://board")
        assert (read["mimeType"], read["_meta"]) == (PAGE_TYPE, {"ui": {"prefersBorder": True}})
        assert f"<title>{name}</title>" in read["text"]


@pytest.mark.requirement("apps.owner")
@both_eras
async def test_of_two_pages_with_one_uri_each_is_its_servers(running: Running, mode: Mode) -> None:
    async with client(running, mode, "/mcp/twice?mode=direct") as seen:
        listed = await tools(seen)
        for name in ("old", "new"):
            uri = listed[f"{name}__board"]["_meta"]["ui"]["resourceUri"]
            read = await page(seen, uri)
            assert read["uri"] == uri
            assert f"<title>{name}</title>" in read["text"]


@pytest.mark.requirement("apps.visibility")
@both_eras
@pytest.mark.parametrize("surface", ["direct", "code", "call", "both"])
async def test_tools_for_pages_are_for_clients_that_show_pages(
    running: Running, mode: Mode, surface: str
) -> None:
    path = f"/mcp/2026-07-28-alone?mode={surface}"
    async with client(running, mode, path) as seen:
        for tool in ("board", "refresh"):  # by the names by which the page calls them
            assert (await tools(seen))[tool]["_meta"]["ui"]["visibility"] == ["app"]
        assert (await seen.call_tool("refresh", {})).structured_content == {"fresh": "new"}
    async with client(running, mode, path, known=()) as blind:
        assert not {"board", "refresh", "new__refresh"} & (await tools(blind)).keys()
        with pytest.raises(MCPError, match="unknown tool"):
            await blind.call_tool("refresh", {})


@pytest.mark.requirement("apps.visibility")
async def test_no_model_finds_or_calls_a_tool_for_pages(running: Running) -> None:
    async with client(running, "2026-07-28", "/mcp/2026-07-28-alone") as seen:
        found = await seen.call_tool("search", {"query": "bring the page of a board up to date"})
        assert "refresh" not in text(found)
        ran = await seen.call_tool("execute", {"code": "api.server('new').refresh()"})
        assert (ran.structured_content or {})["status"] == "error"
    async with client(running, "2026-07-28", "/mcp/2026-07-28-alone?mode=call") as seen:
        called = await seen.call_tool("call", {"server": "new", "tool": "refresh"})
        assert called.is_error


RETURNED = [
    ("api.server({0!r}).board(rows=3)", 3),
    ("a = api.server({0!r}).board(rows=3)\napi.server({0!r}).board(rows=4)\na", 3),
    ("api.server({0!r}).board(rows=3)\n'done'", None),
    ("api.server({0!r}).told()", None),
]


@pytest.mark.requirement("apps.script")
@both_eras
@pairs
@pytest.mark.parametrize(("script", "rows"), RETURNED)
async def test_the_page_of_what_a_script_returns_reaches_its_client(
    running: Running, mode: Mode, behind: Mode, script: str, rows: int | None
) -> None:
    name = SERVER[behind]
    async with client(running, mode, f"/mcp/{behind}-alone") as seen:
        ran = await ask(seen, "tools/call", name="execute", arguments={"code": script.format(name)})
        links = [block["uri"] for block in ran["content"] if block["type"] == "resource_link"]
        if rows is None:
            assert (links, "ui" in ran.get("_meta", {})) == ([], False)
            return
        assert (links, ran["_meta"]["ui"]) == (["ui://board"], {"resourceUri": "ui://board"})
        call = ran["_meta"]["mcproxy/toolCall"]
        assert (call["server"], call["tool"], call["arguments"]) == (name, "board", {"rows": rows})
        assert call["result"]["structuredContent"] == {"server": name, "rows": rows}
        assert name in (await page(seen, links[0]))["text"]


@pytest.mark.requirement("apps.script")
async def test_a_client_without_pages_hears_of_none(running: Running) -> None:
    async with client(running, "2026-07-28", "/mcp/2026-07-28-alone", known=()) as blind:
        code = {"code": "api.server('new').board(rows=3)"}
        ran = await ask(blind, "tools/call", name="execute", arguments=code)
        assert "ui" not in ran.get("_meta", {})
        assert [block["type"] for block in ran["content"]] == ["text"]


@pytest.mark.requirement("apps.direct")
@both_eras
@pytest.mark.parametrize("known", [(UI,), ()])
async def test_the_sdks_apps_work_through_the_gateway(
    running: Running, mode: Mode, known: tuple[str, ...]
) -> None:
    async with client(running, mode, "/mcp/clock?mode=direct", known=known) as seen:
        assert UI in await offered(seen, mode)
        uri = (await tools(seen))["clock__tell"]["_meta"]["ui"]["resourceUri"]
        assert "<title>Clock</title>" in (await page(seen, uri))["text"]
        assert text(await seen.call_tool("clock__tell", {})) == f"noon, pages: {bool(known)}"
    async with client(running, mode, "/mcp/clock", known=known) as coding:
        code = {"code": "api.server('clock').tell()"}
        ran = await ask(coding, "tools/call", name="execute", arguments=code)
        assert ran["structuredContent"]["result"] == f"noon, pages: {bool(known)}"
        shown = {"ui": {"resourceUri": uri}} if known else {}
        assert {key: one for key, one in ran.get("_meta", {}).items() if key == "ui"} == shown
