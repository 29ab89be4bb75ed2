"""Every way to name a tool, where rules deny it: all answers are those of a server that has no such
tool, it stands in no list and no count, and its server is not asked."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcproxy.types import Json, JsonObject
from tests.e2e.access.ways import as_object, stateless
from tests.e2e.gateways import Running, gateway
from tests.e2e.ledgers import until
from tests.e2e.shelves import Shelf, a_tool, shelved
from tests.frontends.serving import request

DENIED = "drop_tables"
READS: JsonObject = {"readOnlyHint": True}
TOOLS = [
    a_tool("list_tables", annotations=READS),
    a_tool(DENIED),
    a_tool("repos.get"),
    a_tool("add_row"),
]
# By endpoint: the tools that are left there. The endpoint ``without-NAME`` has a server that has
# no others, and no rules.
LEFT = {
    "open": ["list_tables", DENIED, "repos.get", "add_row"],
    "denied": ["list_tables", "repos.get", "add_row"],
    "child": ["list_tables", "repos.get", "add_row"],
    "listed": ["list_tables", "repos.get"],
    "reading": ["list_tables"],
    "group": ["list_tables", "repos.get", "add_row"],
}
NAMESPACES: dict[str, Json] = {
    "open": ["hub"],
    "denied": {"servers": ["hub"], "tools": {"drop_*": "deny"}},
    "child": {"extends": "denied", "tools": {"drop_*": "allow"}},
    "listed": {"servers": ["hub"], "tools": {"*": "deny", "l*": "allow", "hub.repos.*": "allow"}},
    "reading": {"extends": "open", "read_only": True},
}
CLOSED = [name for name in LEFT if name != "open"]
SCRIPT = Path(__file__).with_name("tools_script.txt").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Shelf]]:
    """One gateway for all of them."""
    directory = tmp_path_factory.mktemp("tools")
    hub = Shelf(directory)
    hub.write(TOOLS)
    servers: JsonObject = {"hub": hub.definition()}
    namespaces = dict(NAMESPACES)
    for number, endpoint in enumerate(CLOSED):
        twin = Shelf(directory, f"hu{number}")
        twin.write([tool for tool in TOOLS if tool["name"] in LEFT[endpoint]])
        servers[twin.name] = twin.definition()
        namespaces[f"without-{endpoint}"] = [twin.name]
    config: JsonObject = {
        "servers": servers,
        "namespaces": namespaces,
        "groups": {"group": ["denied", "open"]},
        "sandbox": {"min_level": "none"},
        "manifests": {
            "typed_stub_generation": {"enabled": True, "output_dir": str(directory / "typed")}
        },
    }
    with gateway(directory, config) as running:
        yield running, hub


def told(running: Running, endpoint: str, server: str, mode: str) -> Iterator[tuple[str, str]]:
    """What is answered about the denied tool, by every way to name it."""
    path = f"/mcp/{endpoint}?mode={mode}"

    yield from of_search(running, path, server)
    yield from of_scripts(running, path, server)
    for spelling in (DENIED, "dropTables"):
        body = called("call", server=server, tool=spelling, arguments={})
        yield f"call of {spelling}", running.post(body, path.replace(mode, "call")).text
    for kind, key in (("ref/prompt", "name"), ("ref/resource", "uri"), ("ref/tool", "name")):
        argument: JsonObject = {"name": "n", "value": "d"}
        for name in (DENIED, f"{server}__{DENIED}"):
            ref: JsonObject = {"type": kind, key: name}
            body = request("completion/complete", {"ref": ref, "argument": argument})
            yield f"completion of {kind} {name}", running.post(body, path).text
    for method in ("prompts/get", "tools/get"):
        yield method, running.post(request(method, {"name": f"{server}__{DENIED}"}), path).text
    for name in (
        *(f"{server}__{DENIED}", DENIED, f"{server}.{DENIED}", f"mcproxy_{DENIED}"),
        *(f"{server}__dropTables", f"{server.upper()}__{DENIED}", f"{server}__{DENIED}\u200b"),
        *(f"{server}__drop_t\u0430bles", f"{server}/{DENIED}", f" {server}__{DENIED} "),
    ):
        yield f"call {name}", running.post(called(name), path).text
        if name.isascii() and name == name.strip():  # it stands in a header too
            new, headers = stateless(called(name))
            yield f"call {name}, stateless", running.post(new, path, **headers).text


def called(name: str, **arguments: Json) -> JsonObject:
    return request("tools/call", {"name": name, "arguments": arguments})


def of_search(running: Running, path: str, server: str) -> Iterator[tuple[str, str]]:
    for depth in range(4):
        for query in (DENIED, f"{server}.{DENIED}", "drop tables", "dorp_tables", server):
            body = called("search", query=query, max_depth=depth)
            yield f"search {query} {depth}", running.post(body, path).text


def of_scripts(running: Running, path: str, server: str) -> Iterator[tuple[str, str]]:
    """Each way as a script of its own, and one that tries them all and tells what it heard."""
    codes = [
        code
        for spelling in (DENIED, "drop-tables", "dropTables", "drop_table")
        for code in (
            f'api.call_tool("{server}", "{spelling}", {{}})',
            f'api.server("{server}").{spelling.replace("-", ".")}()',
            f'api.schema("{server}", "{spelling}")',
        )
    ]
    tried = (f"try:\n    {code}\nexcept Exception as e:\n    print(e)" for code in codes)
    for script in (*codes, "\n".join(tried)):
        for more in ({}, {"check_only": True}):
            body = called("execute", code=script, **more)
            yield f"execute {script} {more}", running.post(body, path).text


def words(text: str, endpoint: str, server: str) -> str:
    """An answer without what differs from one request, endpoint or server to the next."""
    text = re.sub(r'\\*"(?:execution|session)\\*": ?\\*"[\w-]+\\*"', "", text)
    text = re.sub(r'\\*"(?:execution_time_)?ms\\*": ?[\d.]+', "", text)
    text = re.sub(r'resume=\\*"\w+', "", text)
    text = re.sub(r'(?<=namespace)\\*": ?\\*"[\w-]+', "", text)
    text = text.replace(repr(endpoint), "").replace(f"/{endpoint}", "")
    return text.replace(server, "…").replace(server.upper(), "…")


@pytest.mark.requirement("tools.no_trace")
@pytest.mark.parametrize("endpoint", CLOSED)
@pytest.mark.parametrize("mode", ["code", "direct", "both"])
def test_a_denied_tool_is_unknown_by_every_way_to_name_it(
    site: tuple[Running, Shelf], endpoint: str, mode: str
) -> None:
    running, hub = site
    before = hub.asked()
    without, twin = f"without-{endpoint}", f"hu{CLOSED.index(endpoint)}"
    denied = list(told(running, endpoint, "hub", mode))
    nowhere = list(told(running, without, twin, mode))
    assert hub.asked() == before
    for (way, of_denied), (_, of_nowhere) in zip(denied, nowhere, strict=True):
        assert words(of_denied, endpoint, "hub") == words(of_nowhere, without, twin), way


@pytest.mark.requirement("tools.no_trace")
@pytest.mark.parametrize("endpoint", LEFT)
def test_lists_and_counts_have_what_is_left(site: tuple[Running, Shelf], endpoint: str) -> None:
    running, _ = site
    left = LEFT[endpoint]
    listed = as_object(running.call("tools/list", path=f"/mcp/{endpoint}?mode=direct"))["tools"]
    assert isinstance(listed, list)
    assert [str(as_object(one)["description"]) for one in listed] == left
    script = running.run(SCRIPT, namespace=endpoint)
    assert script["status"] == "success", script
    everything = {
        "tools": running.post(request("tools/list"), f"/mcp/{endpoint}").text,
        "start": running.post(
            request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}),
            f"/mcp/{endpoint}?mode=direct",
        ).text,
        "search": json.dumps(running.tool("search", query="", namespace=endpoint)),
        "script": json.dumps(script),
    }
    assert f"hub ({len(left)}" in everything["tools"], everything["tools"]
    for way, text in everything.items():
        assert (DENIED in text) == (DENIED in left and way in ("search", "script")), (way, text)
    searched = running.tool("search", query="", namespace=endpoint)
    assert searched["total_matches"] == len(left)


@pytest.mark.requirement("tools.no_trace")
@pytest.mark.parametrize("endpoint", LEFT)
def test_the_stubs_of_a_namespace_have_what_is_left(
    site: tuple[Running, Shelf], endpoint: str
) -> None:
    _, hub = site
    folder = hub.directory / "typed" / endpoint
    until(lambda: len(list(folder.glob("mcproxy_api.*"))) == 2)
    for file in folder.glob("mcproxy_api.*"):
        text = file.read_text()
        assert "list_tables" in text
        assert ("drop_tables" in text) == (DENIED in LEFT[endpoint]), file


@pytest.mark.requirement("tools.no_trace")
def test_health_counts_what_the_caller_may_use(tmp_path: Path) -> None:
    with shelved(tmp_path, TOOLS, {"tools": {"drop_*": "deny"}}) as (running, _):
        health = running.http.get("/health").json()
        metrics = running.http.get("/metrics").text
    assert health["tools"] == health["servers"]["hub"]["tools"] == len(TOOLS) - 1
    assert f'mcproxy_server_tools{{server="hub"}} {len(TOOLS) - 1}.0' in metrics


@pytest.mark.requirement("tools.rules")
def test_a_change_of_the_rules_counts_at_once(tmp_path: Path) -> None:
    with shelved(tmp_path, TOOLS, {}) as (running, hub):
        assert running.run(f'api.call_tool("hub", "{DENIED}", {{}})')["result"] == f"did {DENIED}"
        file = tmp_path / "mcproxy.json"
        document = json.loads(file.read_text())
        document["servers"]["hub"]["tools"] = {"drop_*": "deny"}
        file.write_text(json.dumps(document))
        assert running.logged.says("loaded anew")
        refused = running.run(f'api.call_tool("hub", "{DENIED}", {{}})')
        assert as_object(refused["error"])["type"] in ("CheckError", "ToolError"), refused
        assert len(hub.asked()) == 1
