"""Access tokens of a real issuer open namespaces of the whole program, and nothing else does."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import httpx2
import pytest
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from mcproxy.policy.oauth import keyring
from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running, echo, gateway
from tests.issuing import AUDIENCE, Issuer, claims, issuing, signed, signer

BOUND_SECS = 40.0  # the gateway asks an issuer again after 5 s; a busy machine gets more
PAUSE_SECS = 0.1
LIST: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
INITIALIZE: JsonObject = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
METADATA = "/.well-known/oauth-protected-resource"


def config(issuer: str, **rules: Json) -> JsonObject:
    return {
        "servers": {
            "vault": {**echo(), "namespace": "locked"},
            "books": {**echo(), "namespace": "finance"},
        },
        "namespaces": {"locked": {"require_auth": True}, "finance": {"require_auth": True}},
        "auth": {
            "tokens": [{"name": "ada", "token": "t0k3n-of-ada", "namespaces": ["finance"]}],
            "jwt": {
                "issuer": issuer,
                "audience": AUDIENCE,
                "scopes": {"vault": ["locked"], "all": ["*"]},
                **rules,
            },
        },
        "audit": {"file": "audit.jsonl"},
    }


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as found:
        yield found


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jwt")


@pytest.fixture(scope="module")
def guarded(directory: Path, issuer: Issuer) -> Iterator[Running]:
    with gateway(directory, config(issuer.url)) as running:
        yield running


def ask(running: Running, path: str, token: str | None, body: JsonObject = LIST) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return running.post(body, path, **headers)


def until(condition: Callable[[], bool], about: Callable[[], str]) -> None:
    end = time.monotonic() + BOUND_SECS
    while not condition():
        assert time.monotonic() < end, about()
        time.sleep(PAUSE_SECS)


@pytest.mark.requirement("jwt.scopes")
@pytest.mark.parametrize(
    ("scope", "locked", "finance"),
    [
        ("vault", 200, 404),
        ("vault other", 200, 404),
        ("all", 200, 200),
        ("", 404, 404),
        ("finance", 404, 404),
        ("locked *", 404, 404),
        (None, 404, 404),
    ],
)
def test_a_token_opens_what_its_scopes_say(
    guarded: Running, issuer: Issuer, scope: str | None, locked: int, finance: int
) -> None:
    token = issuer.token(scope=scope)
    assert ask(guarded, "/mcp/locked", token).status_code == locked
    assert ask(guarded, "/sse/finance", token).status_code == finance
    assert ask(guarded, "/mcp/nowhere", token).status_code == 404
    assert ask(guarded, "/mcp", token).status_code == 200


def test_other_tokens_stay_what_they_are(guarded: Running) -> None:
    assert ask(guarded, "/mcp/finance", "t0k3n-of-ada").status_code == 200
    assert ask(guarded, "/mcp/locked", "t0k3n-of-ada").status_code == 404
    assert ask(guarded, "/mcp/locked", None).status_code == 401
    assert ask(guarded, "/mcp", None).status_code == 200


def test_health_shows_the_servers_that_a_token_opens(guarded: Running, issuer: Issuer) -> None:
    headers = {"Authorization": f"Bearer {issuer.token(scope='vault')}"}
    assert set(guarded.http.get("/health", headers=headers).json()["servers"]) == {"vault"}
    assert not guarded.http.get("/health").json()["servers"]


IMPOSTOR = signer("first")
WRONG: dict[str, Callable[[Issuer], str]] = {
    "no token at all": lambda _: "garbage",
    "signed by another": lambda issuer: signed(IMPOSTOR, claims(issuer.url, scope="all")),
    "a key that is unknown": lambda issuer: signed(signer("x"), claims(issuer.url, scope="all")),
    "another issuer": lambda issuer: issuer.token(iss="https://evil.org", scope="all"),
    "another audience": lambda issuer: issuer.token(aud="https://evil.org", scope="all"),
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 3600, scope="all"),
    "not yet valid": lambda issuer: issuer.token(nbf=int(time.time()) + 3600, scope="all"),
    "for ever": lambda issuer: issuer.token(exp=None, scope="all"),
    "huge": lambda issuer: issuer.token(more="x" * 40_000, scope="all"),
}


@pytest.mark.requirement("jwt.refused")
@pytest.mark.parametrize("title", WRONG)
def test_a_wrong_token_is_refused_everywhere(guarded: Running, issuer: Issuer, title: str) -> None:
    token = WRONG[title](issuer)
    replies = [ask(guarded, path, token) for path in ("/mcp/locked", "/mcp", "/sse", "/message")]
    headers = {"Authorization": f"Bearer {token}"}
    replies += [guarded.http.get(path, headers=headers) for path in ("/health", "/metrics", "/sse")]
    assert [reply.status_code for reply in replies] == [401] * len(replies)
    for reply in replies:
        assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]
        assert METADATA in reply.headers["WWW-Authenticate"]
        assert token[-40:] not in reply.text or title == "no token at all"
    assert token[-40:] not in guarded.logged.text


@pytest.mark.requirement("jwt.metadata")
@pytest.mark.parametrize("path", ["/mcp/locked", "/mcp/nowhere", "/sse/locked"])
def test_a_refusal_leads_to_the_issuer(guarded: Running, issuer: Issuer, path: str) -> None:
    base = str(guarded.http.base_url).rstrip("/")
    refused = ask(guarded, path, None)
    where = f"{base}{METADATA}{path}"
    told = refused.headers["WWW-Authenticate"]
    assert (refused.status_code, told) == (
        401,
        f'Bearer realm="mcproxy", resource_metadata="{where}"',
    )
    assert guarded.http.get(where).json() == {
        "resource": base + path,
        "authorization_servers": [issuer.url],
        "scopes_supported": ["all", "vault"],
        "bearer_methods_supported": ["header"],
    }


def test_metadata_of_the_gateway_itself(guarded: Running) -> None:
    base = str(guarded.http.base_url).rstrip("/")
    wrong = {"Authorization": "Bearer wrong"}
    assert guarded.http.get(METADATA, headers=wrong).json()["resource"] == base
    assert guarded.http.post(METADATA).status_code == 405
    assert guarded.http.get(METADATA, headers={"Host": "evil.org"}).status_code == 403


@pytest.mark.requirement("jwt.sessions")
def test_a_session_goes_on_with_a_renewed_token_of_the_same_caller(
    guarded: Running, issuer: Issuer
) -> None:
    opened = ask(guarded, "/mcp/locked", issuer.token(scope="vault"), INITIALIZE)
    session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}

    def status(token: str) -> int:
        headers = {**session, "Authorization": f"Bearer {token}"}
        return guarded.post(LIST, "/mcp/locked", **headers).status_code

    now = int(time.time())
    assert status(issuer.token(scope="vault", exp=now + 300, jti="renewed")) == 200
    assert status(issuer.token(scope="vault", exp=now - 60)) == 401
    assert status(issuer.token(scope="vault", sub="mallory")) == 404
    assert status(issuer.token(scope="", jti="poorer")) == 404
    assert status(issuer.token(scope="vault")) == 200


@pytest.mark.requirement("jwt.names")
def test_an_issuers_name_is_never_one_of_ours(
    guarded: Running, issuer: Issuer, directory: Path
) -> None:
    call: JsonObject = {**LIST, "method": "tools/call"}
    code = 'api.server("vault").add(a=1, b=1)["sum"]'
    call["params"] = {"name": "execute", "arguments": {"code": code}}
    for name in ("ada", "anonymous"):
        reply = ask(guarded, "/mcp/locked", issuer.token(scope="vault", sub=name), call)
        assert reply.json()["result"]["structuredContent"]["result"] == 2
    lines = [json.loads(line) for line in (directory / "audit.jsonl").read_text().splitlines()]
    assert {line["caller"] for line in lines} == {"jwt:ada", "jwt:anonymous"}


class _Store:
    """What the SDK keeps of a login."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@pytest.mark.requirement("jwt.metadata")
async def test_the_sdk_finds_its_way_to_a_token_by_itself(guarded: Running, issuer: Issuer) -> None:
    url = str(guarded.http.base_url.join("/mcp/locked"))
    auth = ClientCredentialsOAuthProvider(url, _Store(), "id", "secret", issuer=issuer.url)
    async with (
        asyncio.timeout(BOUND_SECS),
        httpx2.AsyncClient(auth=auth, timeout=BOUND_SECS) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        tools = await client.list_tools()
    assert "vault" in str(tools)
    assert issuer.asked["/token"] == 1


@pytest.mark.requirement("jwt.rotation")
def test_rotated_keys_are_found_and_forgeries_cannot_make_the_gateway_ask_more(
    guarded: Running, issuer: Issuer
) -> None:
    forged = signed(signer("forged"), claims(issuer.url, scope="vault"))
    began, before = time.monotonic(), issuer.asked["/jwks"]
    for _ in range(30):
        assert ask(guarded, "/mcp/locked", forged).is_error
    most = 1 + (time.monotonic() - began) / keyring.PAUSE_SECS
    assert issuer.asked["/jwks"] - before <= most
    old = issuer.token(scope="vault")
    issuer.publish(signer("next"), issuer.key)
    new = issuer.token(scope="vault")
    until(lambda: ask(guarded, "/mcp/locked", new).is_success, lambda: guarded.logged.text)
    assert ask(guarded, "/mcp/locked", old).is_success


@pytest.mark.requirement("jwt.issuer_down")
def test_an_issuer_that_is_down(tmp_path: Path) -> None:
    with issuing() as issuer:
        token, port = issuer.token(scope="vault"), int(issuer.url.rpartition(":")[2])
    with gateway(tmp_path, config(issuer.url)) as running:
        refused = ask(running, "/mcp/locked", token)
        assert refused.status_code == 401
        assert "the issuer's keys cannot be had" in refused.text
        until(lambda: "no keys from the issuer" in running.logged.text, lambda: "not logged")
        assert ask(running, "/mcp/finance", "t0k3n-of-ada").status_code == 200
        with issuing(port, key=issuer.key) as back:
            until(
                lambda: ask(running, "/mcp/locked", token).is_success, lambda: running.logged.text
            )
            back.fail()
        assert ask(running, "/mcp/locked", token).is_success
        assert ask(running, "/mcp/locked", signed(signer("x"), claims(issuer.url))).is_error
        assert token[-40:] not in running.logged.text


@pytest.mark.requirement("jwt.reload")
def test_changed_rules_apply_at_once(tmp_path: Path, issuer: Issuer) -> None:
    def rewrite(changed: JsonObject) -> None:
        (tmp_path / "draft").write_text(json.dumps(changed))
        (tmp_path / "draft").rename(tmp_path / "mcproxy.json")

    none: JsonObject = {**config(issuer.url), "auth": {}}
    with gateway(tmp_path, none) as running:

        def status(path: str, token: str) -> int:
            return ask(running, path, token).status_code

        def becomes(path: str, token: str, wanted: int) -> None:
            until(lambda: status(path, token) == wanted, lambda: running.logged.text)

        token = issuer.token(scope="vault")
        assert status("/mcp/locked", token) == 401
        assert running.http.get(METADATA).status_code == 404
        rewrite(config(issuer.url))
        becomes("/mcp/locked", token, 200)
        assert status("/mcp/finance", token) == 404
        rewrite(config(issuer.url, namespaces=["finance"], scopes={}))
        becomes("/mcp/finance", token, 200)
        assert status("/mcp/locked", token) == 404
        rewrite(config(issuer.url, audience=["https://other.example.org"], namespaces=["*"]))
        becomes("/mcp/finance", token, 401)
        other = issuer.token(aud="https://other.example.org")
        becomes("/mcp/finance", other, 200)
        rewrite(none)
        becomes("/mcp/finance", other, 401)
        assert running.http.get(METADATA).status_code == 404
        assert "endpoints" in running.http.get(METADATA).json()
