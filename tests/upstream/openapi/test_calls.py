"""Calls of an API through a running fleet: a real description, a real server, real HTTP."""

import asyncio
import base64
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from mcproxy.call_errors import ServerDown, UpstreamError
from mcproxy.types import Json, JsonObject
from tests.servers.api import PICTURE
from tests.upstream.fleets import WAIT_SECS, running
from tests.upstream.openapi.described import FILES, PETSTORES, description, one, written
from tests.upstream.remote.remotes import listening

ECHO: JsonObject = {
    "responses": {"200": {"content": {"application/json": {"schema": {"type": "object"}}}}}
}


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    """The URL of an API."""
    with listening("api.py") as url:
        yield url


def getting(name: str, **more: Json) -> JsonObject:
    """A path with one operation, by GET."""
    return {"get": {"operationId": name, **ECHO, **more}}


def structured(result: JsonObject) -> JsonObject:
    """What a result has for programs."""
    found = result["structuredContent"]
    assert isinstance(found, dict)
    return found


@pytest.mark.requirement("openapi.versions")
@pytest.mark.parametrize("name", PETSTORES)
async def test_the_pet_store_is_called_whatever_its_version(api: str, name: str) -> None:
    definition: JsonObject = {
        "openapi": str(FILES / name),
        "base_url": f"{api}/v2",
        "credentials": {"api_key": "special-key"},
    }
    async with running(pets=definition) as fleet:
        pet = await fleet.call("pets", "addPet", name="Rex", photoUrls=[], status="sold")
        number = structured(pet)["id"]
        assert structured(await fleet.call("pets", "getPetById", petId=number))["name"] == "Rex"
        found = structured(await fleet.call("pets", "findPetsByStatus", status=["sold", "pending"]))
        assert {as_dict(pet)["name"] for pet in as_list(found["result"])} == {"Rex"}
        gone = await fleet.call("pets", "deletePet", petId=number)
        assert gone["content"] == [{"type": "text", "text": "204 No Content"}]


@pytest.mark.requirement("openapi.errors")
async def test_an_error_has_status_and_body_and_no_secret(api: str) -> None:
    definition: JsonObject = {
        "openapi": str(FILES / "petstore-3.1.json"),
        "base_url": f"{api}/v2",
        "credentials": {"api_key": "special-key"},
    }
    async with running(pets=definition) as fleet:
        result = await fleet.call("pets", "getPetById", petId=4711)
    assert result["isError"] is True
    body = {"code": 1, "type": "error", "message": "Pet not found, for ***"}
    assert structured(result) == {"status": 404, "body": body}
    assert f"404 Not Found: {json.dumps(body)}" in json.dumps(result["content"]).replace("\\", "")


@pytest.mark.requirement("openapi.errors")
async def test_refusals_say_what_is_the_matter(api: str, tmp_path: Path) -> None:
    document = description({f"/{name}": getting(name) for name in ("closed", "busy", "elsewhere")})
    definition: JsonObject = {
        "openapi": written(tmp_path, document),
        "base_url": api,
        "headers": {"Authorization": "Bearer very-secret"},
    }
    async with running(api=definition) as fleet:
        closed = await fleet.call("api", "closed")
        assert closed["isError"] is True
        told = json.dumps(closed)
        assert "401 Unauthorized" in told
        assert "`credentials`" in told
        assert "very-secret" not in told
        with pytest.raises(ServerDown, match=r"429 Too Many Requests.*slow down") as busy:
            await fleet.call("api", "busy")
        assert busy.value.retry_after == 7
        with pytest.raises(ServerDown, match="where the configured headers are not sent"):
            await fleet.call("api", "elsewhere")


@pytest.mark.requirement("openapi.bodies")
async def test_answers_of_every_kind(api: str, tmp_path: Path) -> None:
    kinds = ("picture", "bytes", "text", "long", "no-json")
    document = description({f"/{kind}": getting(kind) for kind in kinds})
    async with running(api={"openapi": written(tmp_path, document), "base_url": api}) as fleet:
        coded = base64.b64encode(PICTURE).decode()
        picture = await fleet.call("api", "picture")
        assert picture["content"] == [{"type": "image", "data": coded, "mimeType": "image/png"}]
        (block,) = as_list((await fleet.call("api", "bytes"))["content"])
        assert block == {
            "type": "resource",
            "resource": {
                "uri": f"{api}/bytes",
                "mimeType": "application/octet-stream",
                "blob": coded,
            },
        }
        assert (await fleet.call("api", "text"))["content"] == [{"type": "text", "text": "grüße"}]
        broken = await fleet.call("api", "no_json")
        assert broken == {"content": [{"type": "text", "text": "{broken"}]}
        with pytest.raises(UpstreamError, match="longer than 16777216 bytes"):
            await fleet.call("api", "long")


def as_list(value: Json) -> list[Json]:
    """A list that is one."""
    assert isinstance(value, list)
    return value


SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "file": {"type": "string", "format": "binary"},
    },
}
BODIES = [
    ("application/json", {"name": "ä"}, '{"name":"ä"}', "application/json"),
    ("application/merge-patch+json", {"name": None}, '{"name":null}', None),
    ("application/x-www-form-urlencoded", {"name": "a b", "tags": ["x", "y"]},
     "name=a+b&tags=x&tags=y", None),
    ("text/plain", {"body": "as it is"}, "as it is", "text/plain; charset=utf-8"),
    ("application/octet-stream", {"body": "aGk="}, "hi", None),
]  # fmt: skip


@pytest.mark.requirement("openapi.bodies")
@pytest.mark.parametrize(("media", "arguments", "sent", "said"), BODIES)
async def test_bodies_of_every_kind(
    api: str, tmp_path: Path, media: str, arguments: JsonObject, sent: str, said: str | None
) -> None:
    schema: JsonObject = {"type": "string"} if "body" in arguments else SCHEMA
    document = one("/echo", requestBody={"content": {media: {"schema": schema}}}, **ECHO)
    async with running(api={"openapi": written(tmp_path, document), "base_url": api}) as fleet:
        got = structured(await fleet.call("api", "op", **arguments))
    assert got["body"] == sent
    headers = got["headers"]
    assert isinstance(headers, dict)
    assert headers["content-type"] == (said or media)


@pytest.mark.requirement("openapi.bodies")
async def test_a_form_with_a_file(api: str, tmp_path: Path) -> None:
    document = one(
        "/echo", requestBody={"content": {"multipart/form-data": {"schema": SCHEMA}}}, **ECHO
    )
    async with running(api={"openapi": written(tmp_path, document), "base_url": api}) as fleet:
        got = structured(await fleet.call("api", "op", name="Rex", file="aGk="))
    body = str(got["body"])
    assert 'name="name"\r\n\r\nRex\r\n' in body
    assert 'name="file"; filename="file"\r\n' in body
    assert "\r\n\r\nhi\r\n" in body


SCHEMES: JsonObject = {
    "head": {"type": "apiKey", "in": "header", "name": "X-Key"},
    "ask": {"type": "apiKey", "in": "query", "name": "key"},
    "cook": {"type": "apiKey", "in": "cookie", "name": "sid"},
    "user": {"type": "http", "scheme": "basic"},
    "bear": {"type": "http", "scheme": "bearer"},
    "login": {"type": "oauth2", "flows": {}},
}
SECRETS = {"head": "k 1", "ask": "k&2", "cook": "k3", "user": "u:p", "bear": "k4", "login": "k5"}
SIGNED = [
    ("head", "x-key", "k 1"),
    ("cook", "cookie", "sid=k3"),
    ("user", "authorization", "Basic dTpw"),
    ("bear", "authorization", "Bearer k4"),
    ("login", "authorization", "Bearer k5"),
]


@pytest.mark.requirement("openapi.credentials")
async def test_each_security_scheme_signs_its_operations(api: str, tmp_path: Path) -> None:
    paths: JsonObject = {
        f"/{name}": getting(name, security=[{"other": []}, {name: []}]) for name in SCHEMES
    }
    keys: list[Json] = [{"name": name, "in": "header"} for name in ("X-KEY", "Authorization")]
    paths["/plain"] = getting("plain", parameters=keys, security=[])
    document = description(paths, components={"securitySchemes": SCHEMES})
    definition: JsonObject = {
        "openapi": written(tmp_path, document),
        "base_url": api,
        "credentials": {**SECRETS},
    }
    async with running(api=definition) as fleet:
        for name, header, value in SIGNED:
            headers = structured(await fleet.call("api", name))["headers"]
            assert isinstance(headers, dict)
            assert headers[header] == value
        assert structured(await fleet.call("api", "ask"))["query"] == "key=k%262"
        # What the gateway sends by itself is no argument.
        got = structured(await fleet.call("api", "plain", X_KEY="mine", Authorization="mine"))
    assert not {"x-key", "authorization", "cookie"} & set(as_dict(got["headers"]))


def as_dict(value: Json) -> JsonObject:
    """An object that is one."""
    assert isinstance(value, dict)
    return value


@pytest.mark.requirement("openapi.credentials")
async def test_credentials_for_no_scheme_are_told(api: str, tmp_path: Path) -> None:
    definition: JsonObject = {
        "openapi": written(tmp_path, description({})),
        "base_url": api,
        "credentials": {"key": "secret-key"},
    }
    async with running(api=definition) as fleet:
        error = fleet.fleet.health()["api"].last_error or ""
    assert "credentials.key: its description has no such security scheme" in error
    assert "secret-key" not in error


@pytest.mark.requirement("openapi.elsewhere")
async def test_a_description_from_the_network_names_its_own_origin_only(tmp_path: Path) -> None:
    document = description({"/x": getting("x")})
    elsewhere: JsonObject = {**document, "servers": [{"url": "http://169.254.169.254/v1"}]}
    with listening("api.py", written(tmp_path, elsewhere)) as url:
        async with running(api={"openapi": f"{url}/openapi"}) as fleet:
            health = fleet.fleet.health()["api"]
            assert health.cause == "no_api"
            assert "set `base_url` to that server if you trust it" in (health.last_error or "")
        await replace(url, document)
        async with running(api={"openapi": f"{url}/openapi"}) as fleet:
            assert structured(await fleet.call("api", "x"))["path"] == "/v1/x"


@pytest.mark.requirement("openapi.elsewhere")
async def test_operations_at_other_servers_are_left_out(api: str, tmp_path: Path) -> None:
    document = description(
        {
            "/x": getting("x", servers=[{"url": "/v9"}]),
            "/y": getting("y", servers=[{"url": "https://other.example"}]),
        }
    )
    definition: JsonObject = {"openapi": written(tmp_path, document), "base_url": f"{api}/v1"}
    async with running(api=definition) as fleet:
        assert structured(await fleet.call("api", "x"))["path"] == "/v9/x"
        with pytest.raises(UpstreamError, match="no operation 'y'"):
            await fleet.call("api", "y")


async def replace(url: str, document: JsonObject) -> None:
    """Have the server give another description."""
    async with httpx.AsyncClient() as client:
        await client.put(f"{url}/openapi", content=json.dumps(document))


@pytest.mark.requirement("openapi.refresh")
async def test_a_changed_file_is_read_again(api: str, tmp_path: Path) -> None:
    path = written(tmp_path, description({"/x": getting("x")}))
    async with running(api={"openapi": path, "base_url": api}) as fleet:
        with told("the new one is no good") as warned:
            overwrite(path, "{broken")
            async with asyncio.timeout(WAIT_SECS):
                await warned.wait()
        assert structured(await fleet.call("api", "x"))["path"] == "/x"
        written(tmp_path, description({"/new": getting("new")}))
        await fleet.until("api", lambda _: tools(fleet.fleet.views()) == {"new"})
        assert structured(await fleet.call("api", "new"))["path"] == "/new"
        assert fleet.fleet.health()["api"].restarts == 0


def overwrite(path: str, text: str) -> None:
    """Write something else into a file."""
    Path(path).write_text(text)


@contextmanager
def told(words: str) -> Iterator[asyncio.Event]:
    """An event that is set when the log has these words."""
    event = asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if words in record.getMessage():
                event.set()

    listener = Listener()
    logging.getLogger("mcproxy").addHandler(listener)
    try:
        yield event
    finally:
        logging.getLogger("mcproxy").removeHandler(listener)


@pytest.mark.requirement("openapi.refresh")
async def test_a_changed_description_is_fetched_again(tmp_path: Path) -> None:
    before = description({"/x": getting("x")})
    with listening("api.py", written(tmp_path, before)) as url:
        async with running(api={"openapi": f"{url}/openapi", "refresh_secs": 1}) as fleet:
            after = description({"/new": getting("new")})
            await replace(url, after)
            await fleet.until("api", lambda _: tools(fleet.fleet.views()) == {"new"})


def tools(views: object) -> set[str]:
    """The names of all tools."""
    assert isinstance(views, tuple)
    return {tool.ref.tool for view in views for tool in view.tools}


@pytest.mark.requirement("openapi.gone")
async def test_an_api_that_is_not_there(tmp_path: Path) -> None:
    document = description({"/x": getting("x")})
    definition: JsonObject = {
        "openapi": written(tmp_path, document),
        "base_url": "http://127.0.0.1:9",
    }
    async with running(api=definition) as fleet:
        for _ in range(7):
            with pytest.raises(ServerDown) as down:
                await fleet.call("api", "x")
        assert "its last 5 calls got no answer" in str(down.value)
        assert fleet.fleet.health()["api"].state == "ready"
    async with running(api={"openapi": str(tmp_path / "none.json")}) as fleet:
        assert "cannot be read" in (fleet.fleet.health()["api"].last_error or "")
