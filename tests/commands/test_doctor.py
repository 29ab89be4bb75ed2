"""``mcproxy doctor``: real files, real ports, and no secret in what it says."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from mcproxy.commands import doctor
from mcproxy.commands.diagnosis import ServerResult
from mcproxy.commands.doctor import Location, TrialFindings, Way
from mcproxy.commands.screen import Screen
from mcproxy.config.load import Loaded, load, load_document
from mcproxy.errors import ConfigError
from mcproxy.types import SandboxReport, ServerHealth

CONFIG = """{
  "servers": {
    "github": {"command": "c", "env": {"GITHUB_TOKEN": "${TOKEN}"}},
    "old": {"command": "c", "args": ["--api-key", "canary-in-args"]}
  },
  "auth": {"tokens": [{"name": "alice", "token": "canary-of-alice", "namespaces": ["public"]}]}
}"""
GOOD = """{"servers": {"github": {"command": "c", "env": {"GITHUB_TOKEN": "${TOKEN}"}}}}"""


@dataclass(frozen=True)
class Seen:
    """What a run printed, and its status."""

    text: str
    status: int

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def attempt(loaded: Loaded, findings: TrialFindings) -> None:
    """Servers that say their secrets when they fail."""
    ready = ServerResult(ServerHealth("ready", tools=2), 0.1)
    words = " ".join(loaded.secrets | {"canary-in-args"})
    failed = ServerHealth("failed", last_error=f"exit status 1\nbad key: {words}")
    servers = {"github": ready, "old": ServerResult(failed, 0.1)}
    findings.sandbox(SandboxReport("strict"))
    for name, result in servers.items():
        if name in loaded.config.servers:
            findings.server(name, result)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number: int = listener.getsockname()[1]
        return number


@pytest.fixture
def place(tmp_path: Path, port: int) -> Location:
    return Location("127.0.0.1", port, tmp_path / "state" / "mcproxy")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mcproxy.json"
    path.write_text(GOOD)
    (tmp_path / ".env").write_text("TOKEN=canary-token\n")
    (tmp_path / ".env").chmod(0o600)
    return path


def examined(path: Path | None, place: Location, *, as_json: bool = False) -> Seen:
    printed: list[str] = []
    reading = partial(load, path) if path else partial(load_document, {})
    screen = Screen(printed.append)
    status = doctor.run(path, Way(reading, attempt), place, screen, as_json=as_json)
    return Seen("".join(printed), status)


@pytest.mark.requirement("cli.doctor")
def test_all_good(path: Path, place: Location) -> None:
    report = examined(path, place)
    assert report.status == 0
    assert report.lines[-1] == "all good"
    assert "2 tools, ready after 0.1 s" in report.text
    assert not place.state.exists()


@pytest.mark.requirement("cli.doctor")
def test_problems_are_counted_and_no_secret_is_printed(path: Path, place: Location) -> None:
    path.write_text(CONFIG)
    (path.parent / ".env").chmod(0o644)
    with socket.create_server(("127.0.0.1", place.port)):
        text = examined(path, place)
        as_json = examined(path, place, as_json=True)
    assert (text.status, as_json.status) == (1, 1)
    assert text.lines[-1] == "5 problems found"
    assert "servers.old.args[1] has what looks like a secret" in text.text
    assert "auth.tokens[0].token has what looks like a secret" in text.text
    assert "bad key: ***" in text.text
    assert "canary" not in text.text + as_json.text
    document = json.loads(as_json.text)
    assert (document["schema"], document["problems"]) == (1, 5)
    assert {check["check"] for check in document["checks"] if check["severity"] == "error"} == {
        "server old",
        "port",
    }


@pytest.mark.requirement("upstream.proxies")
def test_a_proxy_with_credentials_is_named_and_not_shown(
    path: Path, place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:canary@proxy.corp:3128")
    report = examined(path, place)
    assert "HTTPS_PROXY has credentials in it and is not passed on to servers" in report.text
    assert "canary" not in report.text


@pytest.mark.requirement("cli.kept_back")
def test_variables_that_servers_do_not_get_are_named(
    path: Path, place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://canary.example")
    monkeypatch.setenv("npm_config_cafile", "/canary.pem")
    report = examined(path, place)
    (line,) = [line for line in report.lines if "not passed on to servers: " in line]
    assert {"NPM_CONFIG_REGISTRY", "npm_config_cafile"} <= {*line.partition(": ")[2].split(", ")}
    assert (report.status, "canary" in report.text) == (0, False)


@pytest.mark.requirement("cli.doctor_short")
def test_thirty_six_servers_are_a_page(place: Location, tmp_path: Path) -> None:
    servers = {f"s{number}": {"command": "c"} for number in range(36)}
    path = tmp_path / "many.json"
    path.write_text(json.dumps({"servers": servers}))

    def try_them(loaded: Loaded, findings: TrialFindings) -> None:
        for number, name in enumerate(loaded.config.servers):
            words = "exit status 1\n" + "\n".join(f"line {line}" for line in range(20))
            ill = ServerHealth("failed", last_error=words, cause="exited")
            health = ill if number < 2 else ServerHealth("ready", tools=3)
            findings.server(name, ServerResult(health, 0.1))

    printed: list[str] = []
    way = Way(partial(load, path), try_them)
    assert doctor.run(path, way, place, Screen(printed.append)) == 1
    lines = "".join(printed).splitlines()
    assert len(lines) <= 60
    assert all(sum(f"server {name} " in line for line in lines) == 1 for name in servers)
    assert "  | line 19" in lines


def test_a_refused_configuration_is_a_finding(path: Path, place: Location) -> None:
    path.write_text('{"servers": {"a": {"comand": "c"}}}')
    report = examined(path, place)
    assert report.status == 1
    assert "servers.a.comand: unknown key" in report.text
    assert "did you mean 'command'?" in report.text


def test_a_missing_file_is_refused(tmp_path: Path, place: Location) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        examined(tmp_path / "none.json", place)


def test_the_demo_can_be_examined(place: Location) -> None:
    report = examined(None, place)
    assert (report.status, report.lines[-1]) == (0, "all good")


def test_directories_must_be_writable(path: Path, place: Location, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    path.write_text('{"audit": {"file": "mcproxy.json/audit.log"}}')
    report = examined(path, place)
    assert f"{tmp_path / 'state'} is no directory" in report.text
    assert f"{path} is no directory" in report.text


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"uptime_secs": 1, "servers": {}, "sandbox": {}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@pytest.fixture
def gateway() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(timeout=10)


def test_the_port_of_a_running_mcproxy_is_no_problem(path: Path, gateway: int) -> None:
    report = examined(path, Location("127.0.0.1", gateway, path.parent))
    assert report.status == 0
    assert "a running MCProxy" in report.text
