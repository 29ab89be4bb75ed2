"""HTTP APIs behind the whole program: real descriptions, a real server, scripts and direct mode."""

from collections.abc import Iterator

import pytest

from mcproxy.types import JsonObject
from tests.e2e.gateways import Running, gateway
from tests.upstream.openapi.described import FILES, description, github, written
from tests.upstream.remote.remotes import listening


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway before GitHub, the pet store, and an API with a bad operation."""
    home = tmp_path_factory.mktemp("openapi")
    whole = home / "github.json"
    whole.write_bytes(github())
    bad = description({"/ok": {"get": {"operationId": "ok"}}, "/bad": {"brew": {}}})
    with listening("api.py") as url:
        servers: JsonObject = {
            "github": {"openapi": str(whole), "base_url": url},
            "pets": {
                "openapi": str(FILES / "petstore-3.0.yaml"),
                "base_url": f"{url}/v2",
                "credentials": {"api_key": "${PET_KEY}"},
            },
            "bad": {"openapi": written(home, bad), "base_url": url},
        }
        with gateway(home, {"servers": servers}, environment={"PET_KEY": "key-of-pets"}) as gate:
            yield gate


SCRIPT = """
for number in range(3):
    api.github.issues_create(owner="octo", repo="hello", title=f"Issue {number}", labels=["bug"])
found, page = [], 1
while batch := api.github.issues_list_for_repo(owner="octo", repo="hello", per_page=2, page=page):
    found += batch
    page += 1
try:
    api.pets.getPetById(petId=99)
except ToolError as error:
    told = str(error)
return {"titles": [issue["title"] for issue in found], "told": told}
"""


@pytest.mark.requirement("openapi.real")
def test_a_script_finds_and_calls_them(running: Running) -> None:
    found = running.tool("search", query="list issues of a repository")
    assert "issues_list_for_repo" in str(found)
    done = running.run(SCRIPT)
    assert done["status"] == "success", done
    result = done["result"]
    assert isinstance(result, dict)
    assert result["titles"] == ["Issue 0", "Issue 1", "Issue 2"]
    assert "404 Not Found" in str(result["told"])
    assert "Pet not found, for ***" in str(result["told"])


@pytest.mark.requirement("openapi.real")
def test_direct_mode_has_them(running: Running) -> None:
    path = "/message?mode=direct"
    arguments: JsonObject = {"name": "Rex", "photoUrls": [], "status": "sold"}
    call: JsonObject = {"name": "pets__addPet", "arguments": arguments}
    made = running.call("tools/call", call, path)
    assert isinstance(made, dict)
    assert made["structuredContent"] == {**arguments, "id": 1}
    gone = running.call(
        "tools/call", {**call, "name": "pets__getPetById", "arguments": {"petId": 99}}, path
    )
    assert isinstance(gone, dict)
    assert gone["isError"] is True
    structured = gone["structuredContent"]
    assert isinstance(structured, dict)
    assert structured["status"] == 404
    assert "key-of-pets" not in str(gone)


@pytest.mark.requirement("openapi.arguments")
def test_wrong_arguments_are_refused_before_anything_is_sent(running: Running) -> None:
    done = running.run('return api.github.issues_create(owner="octo", repo="hello")')
    assert done["status"] == "error"
    assert "title" in str(done["error"])


@pytest.mark.requirement("openapi.left_out")
def test_health_says_what_is_left_out(running: Running) -> None:
    servers = running.http.get("/health").json()["servers"]
    assert servers["bad"]["repaired_tools"] == [
        "BREW /bad: left out: 'brew' is no method that can be called"
    ]
    assert servers["bad"]["tools"] == 1
    assert servers["github"]["tools"] == 1222  # one is at another server
