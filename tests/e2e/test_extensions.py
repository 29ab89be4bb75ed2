"""Extensions of the protocol, between clients and servers of both eras: the official SDK in front,
servers that use them behind."""

from collections.abc import Iterator
from typing import Any

import pytest
from mcp.client import advertise
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import Request, RequestParams
from pydantic import BaseModel

from mcproxy.types import JsonObject
from tests.e2e.gateways import Running, gateway
from tests.e2e.test_direct import BOTH, Mode, both_eras, text
from tests.upstream.fleets import server

UI, SKILLS = "io.modelcontextprotocol/ui", "io.modelcontextprotocol/skills"
ECHO = "com.example/echo"
PAGE: JsonObject = {"mimeTypes": ["text/html;profile=mcp-app"]}
CONFIG: JsonObject = {
    "servers": {
        "old": server("extended.py", "old", "handshake", "--own"),
        "new": server("extended.py", "new", "2026-07-28", "--own"),
        "plain": server("extended.py", "plain", "handshake"),
    },
    "namespaces": {
        "legacy": {"servers": ["old", "plain"]},
        "2026-07-28": {"servers": ["new", "plain"]},
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
        assert told.structured_content == {"extensions": {UI: PAGE, ECHO: {"quiet": True}}}
    async with client(running, mode, "/mcp/2026-07-28?mode=direct", known=()) as blind:
        told = await blind.call_tool("new__told", {})
        assert told.structured_content == {"extensions": {}}


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
