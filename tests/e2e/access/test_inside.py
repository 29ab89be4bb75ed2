"""Within each endpoint: what it reaches answers, what it does not is unknown and never asked."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mcproxy.types import Json, JsonObject
from tests.e2e.access.conftest import Site
from tests.e2e.access.model import KEEPERS, REACH, STATUS, entered, headers
from tests.e2e.access.ways import as_object, opened, stateless, tool
from tests.frontends.serving import events, request

SCRIPT = Path(__file__).with_name("script.txt").read_text()
NOBODYS = "nosuch"  # a server that does not exist at all
# The weakest caller that may enter: what is reached must not hang on a mighty token.
ENTRANT = {name: next(caller for caller in STATUS if name in entered(caller)) for name in REACH}

at_every_endpoint = pytest.mark.parametrize("endpoint", REACH)


@pytest.mark.requirement("access.scripts")
@at_every_endpoint
async def test_a_script_reaches_what_its_endpoint_reaches(site: Site, endpoint: str) -> None:
    reach = REACH[endpoint]
    with site.untouched([reach]):
        done = await asked(site, endpoint, tool("execute", code=SCRIPT), "?mode=code")
    body = as_object(as_object(done["result"])["structuredContent"])
    assert body["status"] == "success", body
    result = as_object(body["result"])
    manifest = as_object(result["manifest"])
    assert as_object(manifest["servers"]).keys() == reach
    assert names_in(manifest) == reach
    for server, way, code, told in outcomes(result["tried"]):
        assert names_in(without(told, server)) <= reach, (server, way, told)
        if server in reach:
            assert code == "value" or way == "odd spelling", (server, way, told)
            assert server in json.dumps(told)
        elif "search" in way or way == "a forged namespace":
            assert code == "value"
            assert '"total_matches": 0' in json.dumps(told), (server, way, told)
        else:
            assert code == "unknown_server", (server, way, told)
            assert without(told, server).startswith("\"There is no server '…'"), told
    calls = body["calls"]
    assert isinstance(calls, list)
    groups = [call for call in map(as_object, calls) if "count" in call]
    reached = [call for call in groups if call["count"] != call.get("failed", 0)]
    assert {str(call["server"]) for call in reached} == reach


@pytest.mark.requirement("access.scripts")
@at_every_endpoint
async def test_an_unreachable_server_is_unknown_to_a_script(site: Site, endpoint: str) -> None:
    """In the words of one that does not exist, but for what is spelled like the name."""
    done = await asked(site, endpoint, tool("execute", code=SCRIPT), "?mode=code")
    body = as_object(as_object(done["result"])["structuredContent"])
    words: dict[str, set[str]] = {}
    for server, way, _, told in outcomes(as_object(body["result"])["tried"]):
        if server not in REACH[endpoint] and "search" not in way and way != "a forged namespace":
            plain = re.sub(r" Did you mean [^?]*\?", "", without(told, server))
            words.setdefault(way, set()).add(plain)
    assert {way: len(each) for way, each in words.items()} == dict.fromkeys(words, 1), words


def named(server: str) -> dict[str, JsonObject]:
    """The requests of protocol 2025-11-25 and 2026-07-28 that name a server's things."""
    prompt, one = f"{server}__greet_{server}", f"keep://{server}/one"
    asked: JsonObject = {"argument": {"name": "id", "value": ""}}
    of_prompt: JsonObject = {"type": "ref/prompt", "name": prompt}
    of_template: JsonObject = {"type": "ref/resource", "uri": f"keep://{server}/{{id}}"}
    return {
        "a tool": request("tools/call", {"name": f"{server}__touch_{server}"}),
        "a tool, bare": request("tools/call", {"name": f"touch_{server}"}),
        "a prompt": request("prompts/get", {"name": prompt}),
        "a resource": request("resources/read", {"uri": one}),
        "a resource of a template": request("resources/read", {"uri": f"keep://{server}/two"}),
        "completion of a prompt": request("completion/complete", {"ref": of_prompt, **asked}),
        "completion of a template": request("completion/complete", {"ref": of_template, **asked}),
        "a subscription": request("resources/subscribe", {"uri": one}),
    }


ONLY_HANDSHAKE = ("a subscription",)
NEVER = ("a tool, bare",)  # no server of the table has ``prefix`` off


@pytest.mark.requirement("access.passing")
@pytest.mark.parametrize("era", ["handshake", "stateless"])
@at_every_endpoint
async def test_what_passes_goes_to_reachable_servers_only(
    site: Site, endpoint: str, era: str
) -> None:
    reach = REACH[endpoint]
    async with site.client() as http:
        session = await opened(http, f"/mcp/{endpoint}?mode=direct", headers(ENTRANT[endpoint]))
        for server in (*KEEPERS, NOBODYS):
            for title, body in named(server).items():
                if era == "stateless" and title in ONLY_HANDSHAKE:
                    continue
                sent, within = stateless(body) if era == "stateless" else (body, session)
                with site.untouched([reach]):
                    reply = await posted(
                        http, endpoint, sent, {**headers(ENTRANT[endpoint]), **within}
                    )
                reached = server in reach and title not in NEVER
                check(server, title, reply, reached=reached)
                assert names_in(without(reply, server)) <= reach, (server, title, reply)


def check(server: str, title: str, reply: JsonObject, *, reached: bool) -> None:
    """The answer of the server itself, or that there is no such thing."""
    if reached:
        assert "result" in reply, (server, title, reply)
        assert title == "a subscription" or server in json.dumps(reply["result"]), (title, reply)
    elif title == "completion of a template":
        assert as_object(as_object(reply["result"])["completion"])["values"] == [], reply
    else:
        error = as_object(reply["error"])
        assert error["code"] in (-32602, -32002), (server, title, error)


@pytest.mark.requirement("access.passing")
@at_every_endpoint
async def test_lists_and_subscriptions_have_reachable_servers_only(
    site: Site, endpoint: str
) -> None:
    reach, caller = REACH[endpoint], headers(ENTRANT[endpoint])
    async with site.client() as http:
        with site.untouched([reach]):
            for method in ("tools/list", "prompts/list", "resources/list", "initialize"):
                body = request(method, {"protocolVersion": "2025-11-25"})
                reply = await posted(http, endpoint, body, caller)
                assert names_in(reply) == reach, (method, reply)
            listed = await posted(http, endpoint, request("resources/templates/list"), caller)
            assert names_in(listed) == reach
            assert await watched(http, endpoint, caller) == {f"keep://{name}/one" for name in reach}


async def watched(http: httpx.AsyncClient, endpoint: str, caller: dict[str, str]) -> set[str]:
    """Subscribe to a resource of every server; those that were granted."""
    wanted: JsonObject = {"resourceSubscriptions": [f"keep://{name}/one" for name in KEEPERS]}
    body, needed = stateless(request("subscriptions/listen", {"notifications": wanted}))
    sent = {**caller, **needed}
    async with http.stream("POST", f"/mcp/{endpoint}", json=body, headers=sent) as response:
        async for event in events(response):
            honoured = as_object(as_object(event.message["params"])["notifications"])
            granted = honoured.get("resourceSubscriptions")
            assert isinstance(granted, list)
            return set(map(str, granted))
    raise AssertionError("the stream ended before it began")


async def asked(site: Site, endpoint: str, body: JsonObject, query: str) -> JsonObject:
    """The reply to the endpoint's weakest caller."""
    async with site.client() as http:
        path = f"/mcp/{endpoint}{query}"
        reply = await http.post(path, json=body, headers=headers(ENTRANT[endpoint]))
        return as_object(reply.json())


async def posted(
    http: httpx.AsyncClient, endpoint: str, body: JsonObject, sent: dict[str, str]
) -> JsonObject:
    """The reply in direct mode, be it JSON or the last event of a stream."""
    path = f"/mcp/{endpoint}?mode=direct"
    response = await http.post(path, json=body, headers={**sent, "Accept": "application/json"})
    return as_object(response.json())


def outcomes(tried: Json) -> Iterator[tuple[str, str, str, Json]]:
    """Server, way, code and words or value of each attempt."""
    for server, ways in as_object(tried).items():
        for way, outcome in as_object(ways).items():
            assert isinstance(outcome, list)
            yield server, way, str(outcome[0]), outcome[1]


def names_in(told: object) -> set[str]:
    """The servers that are named."""
    return {name for name in KEEPERS if name in str(told)}


def without(told: Json, server: str) -> str:
    """The text but for the name that was asked, which may be repeated."""
    return re.sub(server, "…", json.dumps(told, ensure_ascii=False), flags=re.IGNORECASE)
