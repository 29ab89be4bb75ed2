"""``mcproxy add``, ``remove`` and their ``--undo``, through the real process."""

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcproxy.commands.edit_servers import CannotChange
from mcproxy.commands.registry import Input, filled, offered
from mcproxy.config.load import load
from mcproxy.types import JsonObject
from tests.commands.processes import typed
from tests.e2e.gateways import SERVERS

ECHO = (sys.executable, str(SERVERS / "echo.py"))
TEXT = """{
  // my servers
  "servers": {
    "old": {"command": "true", "enabled": false}, // not used
  },
  "namespaces": {}
}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mcproxy.json"
    path.write_text(TEXT)
    return path


@pytest.mark.requirement("cli.add")
def test_a_server_is_added_tried_and_taken_back(config: Path) -> None:
    home = config.parent
    key = "API_KEY=sk-0123456789abcdef"
    done = typed(home, "add", "echo", "--env", key, "--", *ECHO, anew=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "server echo  18 tools" in done.stdout
    assert "// my servers" in config.read_text()
    assert '"old": {"command": "true", "enabled": false}, // not used' in config.read_text()
    assert "sk-0123456789abcdef" not in config.read_text() + done.stdout
    assert load(config).config.servers["echo"].env == {"API_KEY": "sk-0123456789abcdef"}
    assert typed(home, "add", "--undo").returncode == 0
    assert config.read_text() == TEXT
    assert not (home / ".env").exists()


@pytest.mark.requirement("cli.add")
def test_a_server_that_fails_is_said_with_its_cure(config: Path) -> None:
    done = typed(config.parent, "add", "gone", "--json", "--", "/no/such/command")
    assert done.returncode == 1
    (check,) = json.loads(done.stdout)["checks"]
    assert (check["check"], check["severity"]) == ("server gone", "error")
    assert "install it" in check["cure"]


@pytest.mark.requirement("cli.remove")
def test_a_server_is_removed_and_comes_back(config: Path) -> None:
    done = typed(config.parent, "remove", "old", anew=True)
    assert done.returncode == 0, done.stderr
    assert load(config).config.servers == {}
    assert "// my servers" in config.read_text()
    assert typed(config.parent, "remove", "--undo").returncode == 0
    assert config.read_text() == TEXT
    unknown = typed(config.parent, "remove", "none")
    assert unknown.returncode == 1
    assert "there are: old" in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["add"], 2),
        (["add", "x"], 2),
        (["add", "x", "--env", "odd", "--", "c"], 2),
        (["add", "x", "--url", "u", "--", "c"], 2),
        (["add", "old", "--", "c"], 1),
        (["remove"], 2),
        (["add", "--undo"], 1),
        (["add", "registry:a/b"], 2),
    ],
)
def test_what_cannot_be_added_changes_nothing(
    config: Path, arguments: list[str], status: int
) -> None:
    done = typed(config.parent, *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout + done.stderr
    assert config.read_text() == TEXT


ENTRY: JsonObject = {
    "name": "io.example/echo",
    "version": "1.2.0",
    "packages": [
        {"registryType": "mcpb", "identifier": "https://x"},
        {
            "registryType": "npm",
            "identifier": "@example/echo",
            "version": "1.2.0",
            "transport": {"type": "stdio"},
            "environmentVariables": [
                {
                    "name": "ECHO_KEY",
                    "description": "the key",
                    "isRequired": True,
                    "isSecret": True,
                },
                {"name": "ECHO_MODE", "default": "fast"},
                {"name": "ECHO_MORE"},
            ],
            "packageArguments": [{"type": "named", "name": "--level", "value": "3"}],
        },
    ],
}
REMOTE: JsonObject = {
    "name": "io.example/far",
    "remotes": [
        {
            "type": "streamable-http",
            "url": "https://{tenant}.example/mcp",
            "variables": {"tenant": {"description": "yours"}},
            "headers": [
                {
                    "name": "Authorization",
                    "value": "Bearer {key}",
                    "variables": {"key": {"isSecret": True}},
                }
            ],
        }
    ],
}


class _Registry(http.server.BaseHTTPRequestHandler):
    """An MCP registry with API v0.1."""

    def do_GET(self) -> None:
        known = {
            "/v0.1/servers/io.example%2Fecho/versions/latest": ENTRY,
            "/v0.1/servers/io.example%2Ffar/versions/latest": REMOTE,
        }
        entry = known.get(self.path)
        body = json.dumps({"server": entry, "_meta": {}} if entry else {"title": "none"}).encode()
        self.send_response(200 if entry else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@pytest.fixture
def registry() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(timeout=10)


@pytest.mark.requirement("cli.add_registry")
def test_a_server_of_a_registry_asks_for_what_it_needs(config: Path, registry: str) -> None:
    add = ["add", "registry:io.example/echo", "--registry", registry, "--no-doctor"]
    missing = typed(config.parent, *add)
    assert missing.returncode == 1
    assert "ECHO_KEY (the key)" in missing.stderr
    assert config.read_text() == TEXT
    done = typed(config.parent, *add, "--env", "ECHO_KEY=canary", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["added"] == "echo"
    assert "canary" not in config.read_text() + done.stdout
    echo = load(config).config.servers["echo"]
    assert (echo.command, *echo.args) == ("npx", "-y", "@example/echo@1.2.0", "--level", "3")
    assert echo.env == {"ECHO_KEY": "canary", "ECHO_MODE": "fast"}


@pytest.mark.requirement("cli.add_registry")
def test_a_remote_server_of_a_registry(config: Path, registry: str) -> None:
    add = ["add", "registry:io.example/far", "--as", "away", "--no-doctor"]
    given = ["--env", "tenant=ada", "--env", "key=canary"]
    done = typed(config.parent, *add, *given, env={"MCPROXY_REGISTRY": registry})
    assert done.returncode == 0, done.stderr
    away = load(config).config.servers["away"]
    assert (away.url, away.headers) == (
        "https://ada.example/mcp",
        {"Authorization": "Bearer canary"},
    )


@pytest.mark.requirement("cli.add_registry")
def test_an_unknown_server_and_a_registry_that_is_down(config: Path, registry: str) -> None:
    unknown = typed(config.parent, "add", "registry:io.example/none", "--registry", registry)
    down = typed(config.parent, "add", "registry:x/y", "--registry", "http://127.0.0.1:1")
    assert (unknown.returncode, down.returncode) == (1, 1)
    assert "has no server 'io.example/none'" in unknown.stderr
    assert "cannot be reached" in down.stderr
    assert config.read_text() == TEXT


def test_an_entry_cannot_have_our_variables_filled_in() -> None:
    with pytest.raises(CannotChange, match=r"\$\{"):
        offered({**ENTRY, "description": "${AWS_SECRET_ACCESS_KEY}"})


def test_a_required_value_is_asked_for() -> None:
    asked: list[Input] = []

    def ask(wanted: Input) -> str:
        asked.append(wanted)
        return "told"

    server = filled(offered(ENTRY), {}, ask)
    assert [each.variable for each in asked] == ["ECHO_KEY"]
    assert server.variables == {"ECHO_KEY": "told", "ECHO_MODE": "fast"}


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ({"registryType": "pypi", "identifier": "a", "version": "1"}, ["uvx", "a@1"]),
        ({"registryType": "npm", "identifier": "a"}, ["npx", "-y", "a"]),
        (
            {
                "registryType": "oci",
                "identifier": "x.example/a",
                "version": "1",
                "environmentVariables": [{"name": "K", "isRequired": True}],
            },
            ["docker", "run", "-i", "--rm", "-e", "K", "x.example/a:1"],
        ),
    ],
)
def test_each_kind_of_package_has_its_runner(package: JsonObject, command: list[str]) -> None:
    found = offered({"name": "a/b", "packages": [package]}).definition
    args = found["args"]
    assert isinstance(args, list)
    assert [found["command"], *args] == command


def test_an_entry_without_anything_to_run_is_refused() -> None:
    odd: JsonObject = {"registryType": "npm", "identifier": "--eval=x"}
    with pytest.raises(CannotChange, match="no package"):
        offered({"name": "a", "packages": [odd]})


@pytest.mark.requirement("openapi.add")
def test_an_api_is_added_and_tried(config: Path) -> None:
    home = config.parent
    (home / "shop.json").write_text(
        json.dumps(
            {
                "openapi": "3.1.0",
                "paths": {
                    "/a": {"get": {"operationId": "a"}},
                    "/b": {"get": {"parameters": [{"$ref": "https://evil.example"}]}},
                },
            }
        )
    )
    options = ("--openapi", "shop.json", "--base-url", "https://shop.example")
    done = typed(home, "add", "shop", *options, "--header", "Authorization=Bearer sk-0123456789")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 tools, ready after" in done.stdout
    assert 'GET /b: left out: its $ref "https://evil.example" leads out' in done.stdout
    added = load(config).config.servers["shop"]
    assert added.openapi == str(home / "shop.json")
    assert added.base_url == "https://shop.example"
    assert "sk-0123456789" not in config.read_text() + done.stdout
    missing = typed(
        home, "add", "none", "--openapi", "none.json", "--base-url", "https://a.example"
    )
    assert missing.returncode == 1
    assert "its description cannot be read" in missing.stdout
