"""Skills (SEP-2640) of several servers through one gateway, with clients of both eras."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running, gateway
from tests.e2e.test_direct import Mode, both_eras
from tests.e2e.test_extensions import ask, client, offered
from tests.upstream.fleets import server

SKILLS = "io.modelcontextprotocol/skills"
CONFIG: JsonObject = {
    "servers": {
        "old": server("extended.py", "old", "handshake"),
        "new": server("extended.py", "new", "2026-07-28"),
        "none": server("echo.py"),
        "vault": {**server("extended.py", "vault", "handshake"), "namespace": "locked"},
    },
    "namespaces": {
        "one": {"servers": ["new"], "mode": "direct"},
        "two": {"servers": ["old", "new", "none"], "mode": "direct"},
        "without": {"servers": ["none"], "mode": "direct"},
        "locked": {"mode": "direct"},
        "ada": {"servers": ["new"], "require_auth": True},
        "bob": {"servers": ["old"], "require_auth": True},
    },
    "auth": {
        "tokens": [
            {"name": "ada", "token": "ada-t0k3n", "namespaces": ["ada"]},
            {"name": "bob", "token": "bob-t0k3n", "namespaces": ["bob"]},
        ]
    },
    "sandbox": {"min_level": "none"},
}
OWN = "skill://mcproxy/writing-scripts/SKILL.md"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway(tmp_path_factory.mktemp("skills"), CONFIG) as running:
        yield running


async def read(seen: Any, uri: str) -> str:
    (content,) = (await ask(seen, "resources/read", uri=uri))["contents"]
    assert content["uri"] == uri
    return str(content["text"])


async def check_files(seen: Any, entry: dict[str, Any]) -> None:
    """Verify a skill as a host does ("Integrity and Verification")."""
    for file in entry["resources"]:
        text = (await read(seen, file["uri"])).encode()
        assert len(text) == file["size"]
        assert f"sha256:{hashlib.sha256(text).hexdigest()}" == file["digest"]
    head = (await read(seen, entry["uri"])).split("---")[1]
    assert f"name: {entry['frontmatter']['name']}\n" in head
    assert f"description: {entry['frontmatter']['description']}\n" in head
    assert entry["uri"].split("/")[-2] == entry["frontmatter"]["name"]


@pytest.mark.requirement("skills.listed")
@both_eras
async def test_the_skills_of_one_server_are_as_it_has_them(running: Running, mode: Mode) -> None:
    async with client(running, mode, "/mcp/one") as seen:
        assert (await offered(seen, mode))[SKILLS] == {"directoryRead": True}
        listed = (await ask(seen, "skills/list"))["skills"]
        uris = ["skill://refunds/SKILL.md", "skill://teams/new-only/SKILL.md"]
        assert [entry["uri"] for entry in listed] == uris
        for entry in listed:
            await check_files(seen, entry)
            assert (await ask(seen, "skills/get", uri=entry["uri"]))["skill"] == entry


@pytest.mark.requirement("skills.owner")
@both_eras
async def test_of_two_skills_with_one_uri_each_is_its_servers(running: Running, mode: Mode) -> None:
    async with client(running, mode, "/mcp/two") as seen:
        listed = {entry["uri"]: entry for entry in (await ask(seen, "skills/list"))["skills"]}
        shared = [f"skill://{name}/refunds/SKILL.md" for name in ("new", "old")]
        only = [f"skill://teams/{name}-only/SKILL.md" for name in ("new", "old")]
        assert sorted(listed) == sorted(shared + only)
        for uri, entry in listed.items():
            await check_files(seen, entry)
            assert (await ask(seen, "skills/get", uri=uri))["skill"] == entry
        for name in ("new", "old"):
            assert (
                await read(seen, f"skill://{name}/refunds/notes/when.md") == f"When {name} refunds."
            )
            folder = f"skill://{name}/refunds"
            found = (await ask(seen, "resources/directory/read", uri=folder))["resources"]
            assert [each["uri"] for each in found] == [f"{folder}/SKILL.md", f"{folder}/notes"]
        for method in ("skills/get", "resources/read"):
            with pytest.raises(MCPError, match="several servers have 'skill://refunds/"):
                await ask(seen, method, uri="skill://refunds/SKILL.md")


@pytest.mark.requirement("skills.owner")
@both_eras
async def test_a_skill_that_nobody_lists_is_got_by_its_uri(running: Running, mode: Mode) -> None:
    uri = "skill://unlisted/SKILL.md"
    async with client(running, mode, "/mcp/one") as seen:
        await check_files(seen, (await ask(seen, "skills/get", uri=uri))["skill"])
    async with client(running, mode, "/mcp/two") as seen:
        for method in ("skills/get", "resources/read"):
            with pytest.raises(MCPError, match="several servers have"):
                await ask(seen, method, uri=uri)
        for name in ("new", "old"):
            entry = (await ask(seen, "skills/get", uri=f"skill://{name}/unlisted/SKILL.md"))[
                "skill"
            ]
            assert entry["frontmatter"]["description"] == f"In no list of {name}."
            await check_files(seen, entry)


@pytest.mark.requirement("skills.owner")
@both_eras
@pytest.mark.parametrize("method", ["skills/get", "resources/directory/read", "resources/read"])
@pytest.mark.parametrize(
    "uri", ["skill://vault/refunds/SKILL.md", "skill://teams/vault-only/SKILL.md", "skill://x/y"]
)
async def test_nothing_of_servers_out_of_sight_is_served(
    running: Running, mode: Mode, method: str, uri: str
) -> None:
    async with client(running, mode, "/mcp/two") as seen:
        with pytest.raises(MCPError) as refused:
            await ask(seen, method, uri=uri)
        assert refused.value.code in (-32602, -32002 if method == "resources/read" else -32602)


@pytest.mark.requirement("skills.listed")
@both_eras
async def test_where_nobody_has_skills_they_are_not_offered(running: Running, mode: Mode) -> None:
    async with client(running, mode, "/mcp/without") as seen:
        assert SKILLS not in await offered(seen, mode)
        with pytest.raises(MCPError, match="unknown method 'skills/list'"):
            await ask(seen, "skills/list")


@pytest.mark.requirement("skills.own")
@both_eras
async def test_the_gateway_has_a_skill_of_its_own_where_there_are_scripts(
    running: Running, mode: Mode
) -> None:
    async with client(running, mode, "/mcp/without?mode=code") as seen:
        assert SKILLS in await offered(seen, mode)
        (entry,) = (await ask(seen, "skills/list"))["skills"]
        assert entry["uri"] == OWN
        await check_files(seen, entry)
        assert (await ask(seen, "skills/get", uri=OWN))["skill"] == entry
        folder = OWN.removesuffix("/SKILL.md")
        found = (await ask(seen, "resources/directory/read", uri=folder))["resources"]
        assert [each["name"] for each in found] == ["SKILL.md", "references"]
    async with client(running, mode, "/mcp/one") as seen:
        with pytest.raises(MCPError):
            await ask(seen, "skills/get", uri=OWN)
        with pytest.raises(MCPError):
            await read(seen, OWN)


def asked(running: Running, who: str, where: str, method: str, **params: Json) -> JsonObject:
    """The reply to a caller in a namespace."""
    request: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params}}
    headers = {"Authorization": f"Bearer {who}-t0k3n"}
    reply = running.post(request, f"/sse/{where}?mode=direct", **headers).json()
    assert isinstance(reply, dict)
    return reply


@pytest.mark.requirement("skills.owner")
def test_two_callers_get_the_skills_and_pages_of_their_own_servers(running: Running) -> None:
    for who, other, name in (("ada", "bob", "new"), ("bob", "ada", "old")):
        uri = f"skill://teams/{name}-only/SKILL.md"
        skill = asked(running, who, who, "skills/get", uri=uri)
        assert f"Only {name} has it." in str(skill["result"])
        assert f"When {name} refunds." in str(
            asked(running, who, who, "resources/read", uri="skill://refunds/notes/when.md")
        )
        page = asked(running, who, who, "resources/read", uri="ui://board")
        assert f"<title>{name}</title>" in str(page["result"])
        for method in ("skills/get", "resources/read"):
            assert "result" not in asked(running, other, other, method, uri=uri)
            assert "result" not in asked(running, other, who, method, uri=uri)


@pytest.mark.requirement("skills.script")
async def test_a_script_reads_a_skill(running: Running) -> None:
    code = "api.read_resource('new', 'skill://refunds/notes/when.md')"
    async with client(running, "2026-07-28", "/mcp/two?mode=code") as seen:
        ran = await seen.call_tool("execute", {"code": code})
        assert (ran.structured_content or {})["result"] == "When new refunds."
