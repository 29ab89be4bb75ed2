"""``mcproxy connect`` on prepared homes: the real shapes of clients' files, byte for byte."""

import json
import tomllib
from pathlib import Path

import pytest

from mcproxy.config import jsonc
from mcproxy.config.load import load
from mcproxy.types import Json
from tests.commands.processes import typed

SECRET = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
STDIO = {"command": "npx", "args": ["-y", "server-a"], "env": {"GITHUB_TOKEN": SECRET}}

CLAUDE = json.dumps({"globalShortcut": "", "mcpServers": {"a": STDIO}}, indent=2)
CLAUDE_CODE = json.dumps(
    {
        "numStartups": 3,
        "mcpServers": {"a": {"type": "stdio", **STDIO}},
        "projects": {
            "/home/ada/x": {
                "history": ["one"],
                "mcpServers": {"b": {"type": "http", "url": "https://b.example/mcp"}},
            }
        },
    },
    indent=2,
)
CURSOR = json.dumps({"mcpServers": {"a": STDIO, "b": {"url": "https://b.example/mcp"}}})
VSCODE = """{
  // servers of mine
  "inputs": [{"id": "key", "type": "promptString", "password": true}],
  "servers": {
    "a": {
      "type": "stdio",
      "command": "npx", // the runner
      "args": ["-y", "server-a"],
      "env": {"GITHUB_TOKEN": "${input:key}"},
    },
    "odd": {"type": "quantum", "how": "unknown"}, // not for us
  },
}
"""
CODEX = f"""model = "o"  # the model

[mcp_servers.a]
command = "npx"
args = ["-y", "server-a"]

[mcp_servers.a.env]
GITHUB_TOKEN = "{SECRET}"

# what follows is ours
[tui]
theme = "dark"
"""
WINDSURF = json.dumps({"mcpServers": {"b": {"serverUrl": "https://b.example/mcp"}}}, indent=4)
GEMINI = json.dumps({"theme": "x", "mcpServers": {"b": {"httpUrl": "https://b.example/mcp"}}})

HOMES = {
    "claude": (".config/Claude/claude_desktop_config.json", CLAUDE, ("mcpServers",), {"a"}),
    "claude-code": (".claude.json", CLAUDE_CODE, ("mcpServers",), {"a", "b"}),
    "cursor": (".cursor/mcp.json", CURSOR, ("mcpServers",), {"a", "b"}),
    "vscode": (".config/Code/User/mcp.json", VSCODE, ("servers",), {"a"}),
    "codex": (".codex/config.toml", CODEX, ("mcp_servers",), {"a"}),
    "windsurf": (".codeium/windsurf/mcp_config.json", WINDSURF, ("mcpServers",), {"b"}),
    "gemini": (".gemini/settings.json", GEMINI, ("mcpServers",), {"b"}),
}


def prepared(home: Path, client: str) -> Path:
    """The client's file in the home."""
    name, text, _, _ = HOMES[client]
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def content(path: Path) -> dict[str, Json]:
    """The document in a client's file."""
    text = path.read_text()
    value = tomllib.loads(text) if path.suffix == ".toml" else jsonc.parse(text).value
    assert isinstance(value, dict)
    return value


@pytest.mark.requirement("cli.connect")
@pytest.mark.parametrize("client", HOMES)
def test_a_client_is_connected_and_comes_back_byte_for_byte(tmp_path: Path, client: str) -> None:
    path = prepared(tmp_path, client)
    before = path.read_bytes()
    _, _, (key,), names = HOMES[client]
    done = typed(tmp_path, "connect", client)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "mcproxy" in done.stdout
    servers = content(path)[key]
    assert isinstance(servers, dict)
    assert set(servers) == {"mcproxy"} | ({"odd"} if client == "vscode" else set())
    config = tmp_path / "config/mcp-servers.json"
    entry = servers["mcproxy"]
    assert isinstance(entry, dict)
    assert isinstance(entry["args"], list)
    assert entry["args"][-3:] == ["--stdio", "--config", str(config)]
    assert set(load(config).config.servers) == names
    assert SECRET not in config.read_text()
    assert SECRET not in path.read_text()
    env = tmp_path / "config/.env"
    assert not env.exists() or env.stat().st_mode & 0o777 == 0o600

    again = typed(tmp_path, "connect", client)
    assert "nothing to do" in again.stdout

    undone = typed(tmp_path, "connect", client, "--undo")
    assert undone.returncode == 0, undone.stderr
    assert path.read_bytes() == before
    assert not config.exists()
    assert not env.exists()


@pytest.mark.requirement("cli.connect")
def test_what_else_is_in_the_file_stays_as_it_is_written(tmp_path: Path) -> None:
    vscode, codex = prepared(tmp_path, "vscode"), prepared(tmp_path, "codex")
    assert typed(tmp_path, "connect", "vscode", anew=True).returncode == 0
    assert typed(tmp_path, "connect", "codex").returncode == 0
    assert "// servers of mine" in vscode.read_text()
    assert '"odd": {"type": "quantum", "how": "unknown"}, // not for us' in vscode.read_text()
    assert 'model = "o"  # the model' in codex.read_text()
    assert "# what follows is ours\n[tui]" in codex.read_text()


@pytest.mark.requirement("cli.connect")
def test_a_client_that_wrote_its_file_since_keeps_that(tmp_path: Path) -> None:
    path = prepared(tmp_path, "claude-code")
    assert typed(tmp_path, "connect", "claude-code").returncode == 0
    since = path.read_text().replace('"numStartups": 3', '"numStartups": 4')
    path.write_text(since)
    assert typed(tmp_path, "connect", "claude-code", "--undo").returncode == 0
    assert path.read_text() == CLAUDE_CODE.replace('"numStartups": 3', '"numStartups": 4')


@pytest.mark.requirement("cli.connect")
def test_a_configuration_that_changed_since_is_not_overwritten(tmp_path: Path) -> None:
    path = prepared(tmp_path, "cursor")
    assert typed(tmp_path, "connect", "cursor").returncode == 0
    config = tmp_path / "config/mcp-servers.json"
    config.write_text(config.read_text() + "\n// mine\n")
    connected = path.read_bytes()
    done = typed(tmp_path, "connect", "cursor", "--undo")
    assert done.returncode == 1
    assert "has changed since" in done.stderr
    assert path.read_bytes() == connected
    assert "// mine" in config.read_text()


@pytest.mark.requirement("cli.connect")
def test_no_value_of_a_variable_is_shown(tmp_path: Path) -> None:
    odd = {"type": "quantum", "env": {"WHO": "canary-plain-words"}}
    path = prepared(tmp_path, "cursor")
    path.write_text(json.dumps({"mcpServers": {"odd": odd, "a": STDIO}}, indent=2))
    done = typed(tmp_path, "connect", "cursor")
    assert done.returncode == 0, done.stderr
    assert "canary" not in done.stdout + done.stderr


def test_a_client_without_a_file_gets_one(tmp_path: Path) -> None:
    done = typed(tmp_path, "connect", "cursor", "--http", "http://127.0.0.1:12010/mcp")
    assert done.returncode == 0, done.stderr
    path = tmp_path / ".cursor/mcp.json"
    assert content(path) == {"mcpServers": {"mcproxy": {"url": "http://127.0.0.1:12010/mcp"}}}
    assert typed(tmp_path, "connect", "cursor", "--undo").returncode == 0
    assert not path.exists()


@pytest.mark.requirement("cli.connect")
def test_what_a_client_without_servers_starts_has_a_configuration(tmp_path: Path) -> None:
    assert typed(tmp_path, "connect", "cursor").returncode == 0
    config = tmp_path / "config/mcp-servers.json"
    assert content(config) == {"servers": {}}
    assert typed(tmp_path, "connect", "cursor", "--undo").returncode == 0
    assert not config.exists()


def test_any_file_can_be_named_and_an_unknown_client_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "theirs.json").write_text(CURSOR)
    done = typed(tmp_path, "connect", "theirs.json", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["schema"], sorted(told["added"])) == (1, ["a", "b"])
    assert typed(tmp_path, "connect", "theirs.json", "--undo").returncode == 0
    assert (tmp_path / "theirs.json").read_text() == CURSOR
    assert typed(tmp_path, "connect", "emacs").returncode == 2


def test_a_file_that_is_no_json_is_left_alone(tmp_path: Path) -> None:
    path = prepared(tmp_path, "cursor")
    path.write_text("{ broken")
    done = typed(tmp_path, "connect", "cursor")
    assert done.returncode in (1, 78)
    assert path.read_text() == "{ broken"
    assert not (tmp_path / "config").exists()
