"""How far a login reaches, with real servers on two addresses of loopback: 127.0.0.1 stands for the
outside, 127.0.0.2 for the inside, where nothing may arrive that a server outside has named."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import httpx2
import pytest

from mcproxy.types import Json, JsonObject
from mcproxy.upstream.remote.confined import AddressRules, Confined
from mcproxy.upstream.remote.login_callback import LoginAnswer
from mcproxy.upstream.remote.oauth import Bearer, LoginFailed, Person, log_in
from mcproxy.upstream.remote.tokens import Login, LoginFile
from tests.sandbox.network.origins import NAMES, origins

OUTSIDE, INSIDE = "127.0.0.1", "127.0.0.2"
AUTHORITY = "/.well-known/oauth-authorization-server"
RESOURCE = "/.well-known/oauth-protected-resource/mcp"
pytestmark = pytest.mark.usefixtures("no_proxy")


@dataclass
class Host:
    """A server that gives fixed answers: JSON, a redirect (a URL), or 401 with a challenge where
    there is none. ``seen``: the paths that were asked; ``connections``: how often anybody came."""

    answers: dict[str, Json] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    connections: int = 0
    challenge: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split()[1]
            self.seen.append(path)
            writer.write(self._answer(path))
            await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    def _answer(self, path: str) -> bytes:
        answer = self.answers.get(path)
        body = json.dumps(answer)
        lines = ["HTTP/1.1 200 OK", "Content-Type: application/json"]
        if isinstance(answer, str):
            lines, body = ["HTTP/1.1 302 Found", f"Location: {answer}"], ""
        elif answer is None and path.endswith("/mcp"):
            named = f'Bearer resource_metadata="{self.challenge}"' if self.challenge else "Bearer"
            lines = ["HTTP/1.1 401 Unauthorized", f"WWW-Authenticate: {named}"]
        elif answer is None:
            lines = ["HTTP/1.1 404 Not Found"]
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", body]
        return "\r\n".join(lines).encode()


@dataclass
class World:
    """The two hosts. ``names`` says what a name resolves to, in turn; ``asked``, which were."""

    port: int
    outside: Host
    inside: Host
    names: dict[str, list[list[str]]]
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        turns = self.names.get(host, [[host]])
        count = self.asked.count(host)
        self.asked.append(host)
        return turns[min(count, len(turns) - 1)]

    @property
    def rules(self) -> AddressRules:
        return AddressRules(self.resolve, lambda address: address == OUTSIDE)

    def url(self, name: str, path: str = "") -> str:
        return f"http://{name}:{self.port}{path}"


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Both hosts listen on one port, so that only the address tells them apart."""
    outside, inside = Host(), Host()
    async with await asyncio.start_server(outside.serve, OUTSIDE, 0) as first:
        port = first.sockets[0].getsockname()[1]
        async with await asyncio.start_server(inside.serve, INSIDE, port):
            names = {
                "out.test": [[OUTSIDE]],
                "in.test": [[INSIDE]],
                "rebound.test": [[OUTSIDE], [INSIDE]],
                "both.test": [[INSIDE, OUTSIDE]],
            }
            yield World(port, outside, inside, names)


def metadata(base: str, **named: str) -> JsonObject:
    """The metadata of an authorization server; ``named`` stands elsewhere."""
    return {
        "issuer": base,
        "authorization_endpoint": f"{base}/authorize",
        "token_endpoint": f"{base}/token",
        "registration_endpoint": f"{base}/register",
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        **named,
    }


def filled(host: Host, base: str, **named: str) -> None:
    """Let the host be a server and its authorization server, reached as ``base``."""
    host.answers |= {
        RESOURCE: {"resource": f"{base}/mcp", "authorization_servers": [base]},
        AUTHORITY: metadata(base, **named),
        "/register": {"client_id": "c", "redirect_uris": ["http://127.0.0.1/callback"]},
        "/token": {"access_token": "t", "token_type": "Bearer"},
    }


async def attempt(world: World, url: str, directory: Path) -> tuple[str, list[str]]:
    """Log in; gives what went wrong, and the pages that a browser was to open."""
    opened: list[str] = []

    async def show(page: str) -> None:
        opened.append(page)

    async def answer(state: str) -> LoginAnswer:
        return LoginAnswer(code="code")

    person = Person("http://127.0.0.1/callback", show, answer)
    try:
        await log_in(url, LoginFile(directory / "login", url), person, world.rules)
    except LoginFailed as failed:
        return str(failed), opened
    return "", opened


# What a server outside names: every URL that is asked, or opened, in a login.
NAMED: Mapping[str, str] = {
    "the resource's metadata": "challenge",
    "the authorization server": "server",
    "where clients register": "registration_endpoint",
    "where tokens are": "token_endpoint",
    "where the person logs in": "authorization_endpoint",
}


@pytest.mark.requirement("remote.login_confined")
@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("name", ["in.test", INSIDE])
async def test_nothing_inside_is_asked_for_a_server_outside(
    tmp_path: Path, named: str, name: str
) -> None:
    async with world() as here:
        base, inside = here.url("out.test"), here.url(name)
        filled(here.outside, base)
        filled(here.inside, inside)
        match NAMED[named]:
            case "challenge":
                here.outside.challenge = f"{inside}{RESOURCE}"
            case "server":
                here.outside.answers[RESOURCE] = {
                    "resource": f"{base}/mcp",
                    "authorization_servers": [inside],
                }
            case endpoint:
                filled(here.outside, base, **{endpoint: f"{inside}/x"})
        said, opened = await attempt(here, f"{base}/mcp", tmp_path)
        assert "inside this machine's network" in said
        assert not [page for page in opened if name in page]
        assert here.inside.connections == 0
        assert not (tmp_path / "login").exists()


@pytest.mark.requirement("remote.login_confined")
@pytest.mark.parametrize("path", [RESOURCE, AUTHORITY, "/register", "/token"])
async def test_a_redirect_leads_nowhere_else(tmp_path: Path, path: str) -> None:
    async with world() as here:
        base = here.url("out.test")
        filled(here.outside, base)
        here.outside.answers[path] = here.url("in.test", path)
        await attempt(here, f"{base}/mcp", tmp_path)
        assert path in here.outside.seen
        assert here.inside.connections == 0


@pytest.mark.requirement("remote.login_confined")
async def test_a_name_is_resolved_once_and_inner_addresses_are_left_out(tmp_path: Path) -> None:
    async with world() as here:
        for name in ("rebound.test", "both.test"):
            filled(here.outside, here.url(name))
            said, _ = await attempt(here, here.url(name, "/mcp"), tmp_path)
            assert not said
            assert here.asked.count(name) == 1
        assert here.inside.connections == 0


@pytest.mark.requirement("remote.login_confined")
async def test_a_server_inside_may_name_others_inside(tmp_path: Path) -> None:
    async with world() as here:
        base = here.url("in.test")
        filled(here.inside, base, token_endpoint=here.url("inner.test", "/token"))
        here.names["inner.test"] = [[INSIDE]]
        said, _ = await attempt(here, f"{base}/mcp", tmp_path)
        assert not said
        assert "/token" in here.inside.seen


@pytest.mark.requirement("remote.login_confined")
@pytest.mark.parametrize(("name", "renewed"), [("in.test", False), ("out.test", True)])
async def test_a_refresh_reaches_as_far_as_the_login(
    tmp_path: Path, name: str, renewed: bool
) -> None:
    async with world() as here:
        url, base = here.url("out.test", "/mcp"), here.url("out.test")
        filled(here.outside, base)
        filled(here.inside, here.url("in.test"))
        file = LoginFile(tmp_path / "login", url)
        tokens: JsonObject = {"access_token": "old", "token_type": "Bearer", "refresh_token": "r"}
        client: JsonObject = {"client_id": "c", "redirect_uris": ["http://127.0.0.1/callback"]}
        named = metadata(base, token_endpoint=here.url(name, "/token"))
        file.write(
            Login(url=url, tokens=tokens, client=client, metadata=named, expires_at=time.time() - 9)
        )
        bearer = Bearer(url, file, here.rules)
        flow = bearer.async_auth_flow(httpx.Request("POST", url))
        signed = await anext(flow)
        await flow.aclose()
        assert signed.headers["Authorization"] == ("Bearer t" if renewed else "Bearer old")
        assert here.inside.connections == 0


@pytest.mark.requirement("remote.login_confined")
async def test_certificates_are_those_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return [OUTSIDE]

    async with origins(tmp_path) as hosts:
        monkeypatch.setenv("SSL_CERT_FILE", str(hosts.certificate))
        urls = [f"https://{name}:{hosts.ports[443]}/" for name in (*NAMES[:2], "other.test")]
        rules = AddressRules(resolve, lambda address: True)
        async with httpx2.AsyncClient(transport=Confined(urls[0], rules)) as http:
            for url in urls[:2]:
                told = (await http.get(url)).json()
                assert told["headers"]["host"] == httpx.URL(url).netloc.decode()
            with pytest.raises(httpx2.ConnectError, match=r"other\.test"):
                await http.get(urls[2])


@pytest.mark.requirement("remote.login_confined")
@pytest.mark.parametrize("name", [INSIDE, "metadata.internal", "router"])
async def test_through_a_proxy_names_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The proxy is the host outside; it resolves names, so that nothing is resolved here."""
    base = "http://mcp.example.org"
    async with world() as here:
        monkeypatch.setenv("http_proxy", here.url(OUTSIDE))
        monkeypatch.setenv("no_proxy", "")
        here.outside.answers[f"{base}{RESOURCE}"] = {
            "resource": f"{base}/mcp",
            "authorization_servers": [f"http://{name}/"],
        }
        said, _ = await attempt(here, f"{base}/mcp", tmp_path)
        assert "inside this machine's network" in said
        assert here.outside.seen == [f"{base}/mcp", f"{base}{RESOURCE}"]
        assert not here.asked
