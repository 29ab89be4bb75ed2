"""Pages of other sites at a running gateway, on every route and every kind of address: they are
refused, and no script of theirs runs. What is no page goes on working."""

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import SERVERS, Running, gateway

APP, EVIL = "https://app.example", "https://evil.example"
NAME = "mcp.example.org"
RUN: JsonObject = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {
        "name": "execute",
        "arguments": {"code": "await api.server('keeper').touch_keeper()\nresult = 'it ran'"},
    },
}
# What a browser sends to another site without asking first: these, and GET.
SIMPLE = ("text/plain", "application/x-www-form-urlencoded", "text/plain;application/json", "")
POSTED = ("/message", "/sse", "/mcp", "/sse/app", "/mcp/app", "/message/", "/mcp/", "/sse/app/")
OTHERS = (
    ("GET", "/sse"),
    ("GET", "/sse/app"),
    ("GET", "/mcp"),
    ("DELETE", "/mcp"),
    ("OPTIONS", "/mcp"),
    ("OPTIONS", "/message"),
    ("GET", "/health"),
    ("HEAD", "/health"),
    ("GET", "/health/"),
    ("GET", "/metrics"),
    ("GET", "/.well-known/oauth-protected-resource"),
    ("GET", "/.well-known/oauth-protected-resource/mcp"),
    ("GET", "/"),
    ("GET", "/tools"),
    ("POST", "/health"),
    ("PUT", "/mcp"),
    ("TRACE", "/sse"),
)


@dataclass(frozen=True)
class Listening:
    """A gateway, the address that it listens on, and the file in which its server counts."""

    running: Running
    bind: str
    asked: Path

    @property
    def port(self) -> int:
        port = self.running.http.base_url.port
        assert port
        return port

    def send(
        self, method: str, path: str, body: Json = None, **headers: str
    ) -> tuple[int, httpx.Headers, str]:
        """A request with these headers and no more; of a stream, only the head is read."""
        content = b"" if body is None else json.dumps(body).encode()
        with self.running.http.stream(method, path, content=content, headers=headers) as reply:
            told = reply.is_stream_consumed or "event-stream" in reply.headers.get(
                "Content-Type", ""
            )
            return reply.status_code, reply.headers, "" if told else reply.read().decode()

    def runs(self, path: str = "/message", **headers: str) -> bool:
        """Does a script that is sent so run?"""
        before = self.calls
        _, _, text = self.send("POST", path, RUN, Accept="application/json", **headers)
        assert self.calls - before == ("it ran" in text)
        return self.calls > before

    @property
    def calls(self) -> int:
        return self.asked.read_text().count("tools/call")


@contextmanager
def listening(directory: Path, bind: str, **settings: Json) -> Iterator[Listening]:
    asked = directory / "asked"
    config: JsonObject = {
        "servers": {
            "keeper": {
                "command": sys.executable,
                "args": [str(SERVERS / "keeper.py"), "keeper", str(asked)],
            }
        },
        "namespaces": {
            "app": {"extends": "public", "allowed_origins": [APP]},
            "here": {"extends": "public", "allowed_origins": ["localhost"]},
        },
        "manifests": {"startup_dwell_secs": 20},
        "sandbox": {"min_level": "none"},
        **settings,
    }
    with gateway(directory, config, "--host", bind) as running:
        yield Listening(running, bind, asked)


def own_address() -> str | None:
    """This machine's address in its network, where it has one; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


BINDS = [bind for bind in ("127.0.0.1", "::1", "0.0.0.0", own_address()) if bind]


@pytest.fixture(scope="module", params=BINDS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Listening]:
    with listening(tmp_path_factory.mktemp("origins"), request.param) as site:
        yield site


def pages(site: Listening) -> list[dict[str, str]]:
    """The headers of pages that are not the gateway's: loaded from elsewhere, from nowhere, from
    another port of the same host, and by a name that leads here since (DNS rebinding)."""
    rebound = f"evil.example:{site.port}"
    host = site.running.http.base_url.netloc.decode()
    found = [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": f"http://{host}.evil.example"},
        {"Host": rebound, "Origin": f"http://{rebound}"},
    ]
    if site.bind not in ("127.0.0.1", "::1"):
        found += [{"Origin": "http://localhost:5173"}, {"Origin": f"http://{host}1"}]
    return found


@pytest.mark.requirement("http.origins")
def test_no_page_of_another_site_runs_a_script(site: Listening) -> None:
    before = site.calls
    for headers in pages(site):
        for path in POSTED:
            for kind in SIMPLE:
                sent = {**headers, "Content-Type": kind} if kind else headers
                status, told, _ = site.send("POST", path, RUN, **sent)
                assert status == 403, (path, sent)
                assert "access-control-allow-origin" not in told
    assert site.calls == before


@pytest.mark.requirement("http.origins")
def test_no_page_of_another_site_is_told_anything(site: Listening) -> None:
    for headers in pages(site):
        for method, path in OTHERS:
            status, told, text = site.send(method, path, Accept="text/event-stream", **headers)
            assert status == 403, (method, path, headers)
            assert "keeper" not in text
            assert "location" not in told


@pytest.mark.requirement("http.origins")
def test_the_gateways_own_pages_and_listed_ones_are_served(site: Listening) -> None:
    host = site.running.http.base_url.netloc.decode()
    assert site.runs(Origin=f"http://{host}")
    assert site.runs("/mcp", Origin=f"http://{host}")
    assert site.runs("/mcp/app", Origin=APP)
    assert not site.runs("/mcp", Origin=APP)
    assert site.runs(Origin="http://localhost:5173") is (site.bind in ("127.0.0.1", "::1"))


@pytest.mark.requirement("http.origins")
def test_what_is_no_page_goes_on_working(site: Listening) -> None:
    for path in ("/message", "/message/", "/sse", "/mcp", "/mcp/"):
        assert site.runs(path)
    named = site.send("POST", "/message", RUN, Host="mcproxy:12010")[0]
    assert named == (403 if site.bind in ("127.0.0.1", "::1") else 200)


@pytest.mark.requirement("http.no_reflection")
def test_nobody_is_redirected_and_no_host_repeated(site: Listening) -> None:
    for method, path in (*OTHERS, *(("GET", path) for path in POSTED)):
        for host in ("evil.example", "evil.example/x"):
            forwarded = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
            status, told, text = site.send(method, path, Host=host, **forwarded)
            assert not 300 <= status < 400
            assert "evil" not in str(told)
            assert "evil" not in text.replace("the Host 'evil.example", "")


@pytest.mark.requirement("http.forwarded")
def test_what_came_through_a_proxy_is_not_local(site: Listening) -> None:
    assert site.runs("/mcp/here") is (site.bind != own_address())
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Proto", "Via"):
        assert not site.runs("/mcp/here", **{header: "127.0.0.1"})


@pytest.mark.requirement("http.forwarded")
def test_the_environment_makes_nobody_local(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    with listening(tmp_path, "127.0.0.1") as site:
        assert not site.runs("/mcp/here", **{"X-Forwarded-For": "127.0.0.1"})


@pytest.mark.requirement("http.rebinding")
@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0"])
def test_allowed_hosts_are_the_gateways_names(tmp_path: Path, bind: str) -> None:
    with listening(tmp_path, bind, allowed_hosts=[NAME]) as site:
        assert site.runs(Host=NAME)
        assert site.runs(Host=f"{NAME.upper()}.:443", Origin=f"https://{NAME}")
        assert site.runs(Host=f"localhost:{site.port}")
        assert not site.runs(Host=NAME, Origin=EVIL)
        for method, path in OTHERS:
            assert site.send(method, path, Host="evil.example")[0] == 403, (method, path)
        # The list follows the file.
        file = tmp_path / "mcproxy.json"
        file.write_text(file.read_text().replace(NAME, "other.example.org"))
        while site.send("GET", "/health", Host="other.example.org")[0] != 200:
            pass
        assert site.send("GET", "/health", Host=NAME)[0] == 403
