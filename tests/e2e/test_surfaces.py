"""What a client is shown: by the URL, by the namespace, by its name, by what the tools cost."""

import json
from collections.abc import Iterator

import pytest

from mcproxy.manifest.reply_text import as_text
from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running, echo, gateway
from tests.tokens import count

CONFIG: JsonObject = {
    "servers": {"echo": echo(), "many": {**echo("--tools", "400"), "namespace": "large"}},
    "namespaces": {
        "small": {"servers": ["echo"], "mode": "auto"},
        "large": {"mode": "auto"},
        "calls": {"servers": ["echo"], "mode": "call"},
    },
    "hosts": {"my-agent": "both", "Small-*": "call"},
    "meta_tools": {"prefix": "gw_"},
    "direct_tokens": 4000,
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway(tmp_path_factory.mktemp("surfaces"), CONFIG) as running:
        yield running


def names(running: Running, path: str, client: str) -> list[str]:
    """The tools that a client of this name is shown."""
    info: JsonObject = {"name": client, "version": "1"}
    hello: JsonObject = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
    first = running.post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}, path)
    headers = {"Mcp-Session-Id": first.headers["mcp-session-id"]}
    listing: JsonObject = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
    listed = running.post(listing, path, **headers).json()["result"]["tools"]
    return [tool["name"] for tool in listed]


OWN = {
    "code": ["gw_search", "gw_execute"],
    "call": ["gw_search", "gw_call"],
    "both": ["gw_search", "gw_execute", "…"],
    "direct": ["…"],
}
# What three clients see of two catalogues: one that is small, one that is not.
SEEN = [
    ("/mcp/small", "claude-code", "direct"),
    ("/mcp/small", "some-ide", "direct"),
    ("/mcp/small", "ollama-chat", "call"),
    ("/mcp/large", "Claude-Code", "direct"),
    ("/mcp/large", "some-ide", "code"),
    ("/mcp/large", "", "code"),
    ("/mcp/large", "ollama-chat", "call"),
    ("/mcp/large", "small-model", "call"),
    ("/mcp/large", "my-agent", "both"),
    ("/mcp/large?mode=call", "my-agent", "call"),
    ("/mcp/large?mode=auto", "some-ide", "code"),
    ("/mcp/calls", "claude-code", "call"),
    ("/mcp/calls?mode=auto", "claude-code", "direct"),
    ("/mcp", "claude-code", "code"),
]


@pytest.mark.requirement("surfaces.auto")
@pytest.mark.parametrize(("path", "client", "surface"), SEEN)
def test_a_client_is_shown_what_suits_it(
    running: Running, path: str, client: str, surface: str
) -> None:
    seen = names(running, path, client)
    own = [name for name in seen if "__" not in name]
    others = ["…"] if len(own) < len(seen) else []
    assert own + others == OWN[surface]


@pytest.mark.requirement("surfaces.told")
def test_the_choice_and_its_reason_are_told(running: Running) -> None:
    names(running, "/mcp/large", "an-ide-of-mine")
    modes = running.http.get("/health").json()["modes"]
    (told,) = [one for one in modes if one["client"] == "an-ide-of-mine"]
    assert (told["namespace"], told["mode"]) == ("large", "code")
    assert "direct_tokens" in told["reason"]
    assert running.logged.says("an-ide-of-mine")


def call(running: Running, name: str, arguments: JsonObject, path: str = "/sse/calls") -> Json:
    return running.call("tools/call", {"name": name, "arguments": arguments}, path)


@pytest.mark.requirement("surfaces.call")
@pytest.mark.parametrize("name", ["gw_call", "call", "mcproxy_call"])
def test_call_calls_a_tool(running: Running, name: str) -> None:
    given: JsonObject = {"server": "echo", "tool": "add", "arguments": {"a": 1, "b": 2}}
    result = call(running, name, given)
    assert isinstance(result, dict)
    assert result["structuredContent"] == {"sum": 3}


FAULTS: list[tuple[JsonObject, list[str]]] = [
    ({"server": "echo", "tool": "ad", "arguments": {}}, ["echo: add(a, b)"]),
    ({"server": "eco", "tool": "add"}, ["echo"]),
    ({"server": "echo", "tool": "add", "arguments": {"a": 1}}, ["echo: add(a, b)", "b"]),
    ({"server": "echo", "tool": "add", "arguments": {"a": 1, "b": 2, "c": 3}}, ["c", "add(a, b)"]),
    ({"server": "echo", "tool": "add", "arguments": [1]}, ["object"]),
    ({"tool": "add"}, ['"server"', '"tool"']),
    ({"server": "echo", "tool": "add", "args": {}}, ["arguments"]),
    ({"server": "echo", "tool": "fail"}, ["told to fail"]),
    ({"server": "many", "tool": "add", "arguments": {"a": 1, "b": 2}}, ["no server"]),
]


@pytest.mark.requirement("surfaces.call")
@pytest.mark.parametrize(("given", "words"), FAULTS)
def test_a_fault_says_what_to_mend_without_python(
    running: Running, given: JsonObject, words: list[str]
) -> None:
    result = call(running, "call", given)
    assert isinstance(result, dict)
    assert result["isError"] is True
    match result["content"]:
        case [{"text": str(text)}]:
            assert all(word in text for word in words), text
            assert "await" not in text
            assert "api." not in text
        case other:
            raise AssertionError(other)


@pytest.mark.requirement("surfaces.call")
def test_search_speaks_no_python_to_a_client_that_calls(running: Running) -> None:
    result = call(running, "gw_search", {"query": "add numbers"})
    assert isinstance(result, dict)
    match result:
        case {"content": [{"text": str(text)}], "structuredContent": {"results": [first, *_]}}:
            assert text.startswith("echo\nadd(a, b)")
            assert "await" not in str(first)
            assert "echo: add(a, b)" in str(first)
        case other:
            raise AssertionError(other)


@pytest.mark.requirement("surfaces.call")
def test_what_is_not_on_a_surface_is_not_answered(running: Running) -> None:
    refused = call(running, "execute", {"code": "1"})
    assert isinstance(refused, dict)
    assert "gw_call calls one" in str(refused["message"])
    other = running.call("tools/call", {"name": "call", "arguments": {}})
    assert isinstance(other, dict)
    assert "gw_execute" in str(other["message"])


@pytest.mark.requirement("surfaces.call")
def test_the_tools_of_a_calling_client_cost_little(running: Running) -> None:
    listed = running.call("tools/list", {}, "/sse/calls")
    assert count(json.dumps(listed)) <= 900


def test_plain_replies_keep_their_text() -> None:
    reply: JsonObject = {"results": [{"server": "x", "tools": 3}], "total_matches": 3}
    assert as_text(reply, plain=True) == as_text(reply)
