"""``mcproxy import``: real files of other clients, in homes made for the test."""

import json
import stat
from dataclasses import replace  # noqa: TID251  of what hides a field
from pathlib import Path

import pytest

from mcproxy.commands import imports
from mcproxy.commands.edit_servers import CannotChange
from mcproxy.commands.imports import Machine
from mcproxy.commands.report import CommandReport, WrongUsage
from mcproxy.commands.undo import CannotUndo
from mcproxy.config.load import load
from mcproxy.foreign_text import hides
from mcproxy.types import Json, JsonObject

CLAUDE = {
    "mcpServers": {
        "github": {
            "command": "npx",
            "args": ["-y", "@modelcontextprotocol/server-github"],
            "env": {"GITHUB_TOKEN": "canary-github", "LOG_LEVEL": "info"},
            "alwaysAllow": ["x"],
        },
        "search server": {"command": "search-mcp", "args": ["--api-key", "canary-search"]},
        "gateway": {"command": "mcproxy", "args": ["--stdio"]},
        "remote gateway": {"command": "npx", "args": ["mcp-remote", "http://localhost:12010/sse"]},
        "broken": {"args": ["x"]},
    }
}
CLAUDE_CODE = {
    "numStartups": 3,
    "mcpServers": {"wiki": {"type": "stdio", "command": "wiki", "args": []}},
    "projects": {"/p": {"mcpServers": {"sentry": {"type": "http", "url": "https://s.org/mcp"}}}},
}
CURSOR = {
    "mcpServers": {
        "github": {
            "command": "npx",
            "args": ["-y", "@modelcontextprotocol/server-github"],
            "env": {"GITHUB_TOKEN": "canary-second", "LOG_LEVEL": "info"},
        },
        "twin": {
            "command": "npx",
            "args": ["-y", "@modelcontextprotocol/server-github"],
            "env": {"GITHUB_TOKEN": "canary-github", "LOG_LEVEL": "info"},
        },
        "wiki": {"command": "wiki", "args": ["--lang", "de"]},
        "events": {"url": "https://x.org/sse", "headers": {"Authorization": "Bearer canary-ev"}},
        "files": {"command": "fs", "args": ["${workspaceFolder}", "${userHome}/x", "${env:DIR}"]},
    }
}
VSCODE = """{
  // the servers of this project
  "inputs": [{"id": "db-key", "type": "promptString"}],
  "servers": {
    "db": {"type": "stdio", "command": "db", "env": {"DB_KEY": "${input:db-key}"}, "dev": {}},
  },
}"""
CODEX = """
[mcp_servers.docs]
command = "docs"
args = ["--stdio"]
env_vars = ["DOCS_ROOT"]
tool_timeout_sec = 90
startup_timeout_sec = 5

[mcp_servers.figma]
url = "https://mcp.figma.com/mcp"
bearer_token_env_var = "FIGMA_TOKEN"
env_http_headers = { "X-Team" = "TEAM" }
enabled = false
"""


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    home, project = tmp_path / "home", tmp_path / "project"
    write(home / "Library/Application Support/Claude/claude_desktop_config.json", CLAUDE)
    write(home / ".claude.json", CLAUDE_CODE)
    write(project / ".cursor/mcp.json", CURSOR)
    write(project / ".vscode/mcp.json", VSCODE)
    write(home / ".codex/config.toml", CODEX)
    return Machine(home, project, tmp_path / "state")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "gateway" / "mcproxy.json"


def servers_of(config: Path) -> dict[str, Json]:
    document = json.loads(config.read_text())
    servers: dict[str, Json] = document["servers"]
    return servers


def files_of(config: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in config.parent.iterdir()}


def shows_no_secret(report: CommandReport) -> bool:
    return "canary" not in report.text


@pytest.mark.requirement("cli.import")
def test_without_write_nothing_changes(machine: Machine, config: Path) -> None:
    report = imports.run(None, config, machine)
    assert not config.parent.exists()
    assert report.status == 0
    assert "  + github: npx -y @modelcontextprotocol/server-github" in report.lines
    assert "      env.GITHUB_TOKEN: its secret moves into .env as GITHUB_TOKEN" in report.lines
    assert "  + search_server: search-mcp --api-key ${SEARCH_SERVER_API_KEY}" in report.lines
    assert "  - twin: it is there already, as 'github'" in report.lines
    assert "  - gateway: it is this gateway" in report.lines
    assert "  - remote gateway: it is this gateway" in report.lines
    assert "has neither 'command' nor 'url'" in report.text
    assert "      not taken over: dev" in report.lines
    assert "--write" in report.lines[-1]
    assert shows_no_secret(report)


ADDED: JsonObject = {
    "github": {
        "command": "npx",
        "args": ["-y", "@modelcontextprotocol/server-github"],
        "env": {"GITHUB_TOKEN": "${GITHUB_TOKEN}", "LOG_LEVEL": "info"},
    },
    "search_server": {
        "command": "search-mcp",
        "args": ["--api-key", "${SEARCH_SERVER_API_KEY}"],
    },
    "wiki": {"command": "wiki", "args": []},
    "sentry": {"url": "https://s.org/mcp", "transport": "http"},
    "github-2": {
        "command": "npx",
        "args": ["-y", "@modelcontextprotocol/server-github"],
        "env": {"GITHUB_TOKEN": "${GITHUB_GITHUB_TOKEN}", "LOG_LEVEL": "info"},
    },
    "wiki-2": {"command": "wiki", "args": ["--lang", "de"]},
    "events": {
        "url": "https://x.org/sse",
        "transport": "sse",
        "headers": {"Authorization": "Bearer ${EVENTS_AUTHORIZATION}"},
    },
    "db": {"command": "db", "env": {"DB_KEY": "${DB_KEY}"}},
    "docs": {
        "command": "docs",
        "args": ["--stdio"],
        "timeout_secs": 90,
        "env": {"DOCS_ROOT": "${DOCS_ROOT}"},
    },
    "figma": {
        "url": "https://mcp.figma.com/mcp",
        "enabled": False,
        "headers": {"Authorization": "Bearer ${FIGMA_TOKEN}", "X-Team": "${TEAM}"},
    },
}


@pytest.mark.requirement("cli.import")
@pytest.mark.requirement("cli.same_server")
def test_servers_of_all_clients_are_added_and_secrets_move(machine: Machine, config: Path) -> None:
    report = imports.run(None, config, machine, write=True)
    assert shows_no_secret(report)
    servers = servers_of(config)
    files = servers.pop("files")
    assert servers == ADDED
    project, home = str(machine.project), str(machine.home)
    assert files == {"command": "fs", "args": [project, f"{home}/x", "${DIR}"]}
    env = config.parent / ".env"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    loaded = load(config)
    assert loaded.config.servers["github"].env["GITHUB_TOKEN"] == "canary-github"
    assert loaded.config.servers["github-2"].env["GITHUB_TOKEN"] == "canary-second"
    assert loaded.config.servers["search_server"].args == ("--api-key", "canary-search")
    assert loaded.config.servers["events"].headers["Authorization"] == "Bearer canary-ev"
    assert "canary" not in config.read_text()


@pytest.mark.requirement("cli.import_workspace")
def test_the_open_folder_of_a_client_is_never_taken_for_the_home(
    machine: Machine, config: Path
) -> None:
    write(machine.home / ".cursor/mcp.json", CURSOR)
    (machine.project / ".cursor/mcp.json").unlink()
    report = imports.run("cursor", config, machine, write=True)
    assert "set WORKSPACE_FOLDER in .env" in report.text
    files = load(config)
    assert "WORKSPACE_FOLDER" in str(files.unconfigured["files"])
    assert f'"{machine.home}"' not in config.read_text()


@pytest.mark.requirement("cli.import")
def test_importing_twice_adds_nothing(machine: Machine, config: Path) -> None:
    imports.run(None, config, machine, write=True)
    before = files_of(config)
    report = imports.run(None, config, machine, write=True)
    assert report.lines[-1] == "nothing to add"
    assert files_of(config) == before


@pytest.mark.requirement("cli.import")
def test_undo_takes_back_the_last_import(machine: Machine, config: Path) -> None:
    original = '{\n  // mine\n  "servers": {"wiki": {"command": "wiki"}}\n}\n'
    write(config, original)
    write(config.parent / ".env", "MINE=1\n")
    imports.run("claude", config, machine, write=True)
    assert "// mine" in config.read_text()
    middle = files_of(config)
    imports.run("cursor", config, machine, write=True)
    imports.undo(config, machine)
    assert files_of(config) == middle
    imports.undo(config, machine)
    assert files_of(config) == {"mcproxy.json": original, ".env": "MINE=1\n"}
    with pytest.raises(CannotUndo, match="nothing to undo"):
        imports.undo(config, machine)


@pytest.mark.requirement("cli.import")
def test_undo_overwrites_nothing_that_was_written_since(machine: Machine, config: Path) -> None:
    imports.run("claude", config, machine, write=True)
    config.write_text(config.read_text() + "// mine\n")
    before = files_of(config)
    with pytest.raises(CannotUndo, match="has changed since"):
        imports.undo(config, machine)
    assert files_of(config) == before


def test_undo_of_a_first_import_leaves_no_configuration(machine: Machine, config: Path) -> None:
    imports.run("claude", config, machine, write=True)
    imports.undo(config, machine)
    assert not files_of(config)


def test_variables_never_get_a_second_meaning(machine: Machine, config: Path) -> None:
    write(config.parent / ".env", "GITHUB_TOKEN=another\n")
    taken = replace(machine, environment={"SEARCH_SERVER_API_KEY": "x", "EVENTS_AUTHORIZATION": ""})
    imports.run(None, config, taken, write=True)
    github, search = servers_of(config)["github"], servers_of(config)["search_server"]
    assert isinstance(github, dict)
    assert isinstance(search, dict)
    assert github["env"] == {"GITHUB_TOKEN": "${GITHUB_GITHUB_TOKEN}", "LOG_LEVEL": "info"}
    assert search["args"] == ["--api-key", "${SEARCH_SERVER_API_KEY_2}"]
    assert load(config).config.servers["github"].env["GITHUB_TOKEN"] == "canary-github"


def test_a_file_can_be_named(machine: Machine, config: Path, tmp_path: Path) -> None:
    write(
        tmp_path / "other.json",
        {"mcpServers": {"a": {"command": ["uvx", "a"], "environment": {"B": "c"}}}},
    )
    imports.run(str(tmp_path / "other.json"), config, machine, write=True)
    assert servers_of(config) == {"a": {"command": "uvx", "args": ["a"], "env": {"B": "c"}}}


def test_a_file_that_cannot_be_read_does_not_hide_the_others(
    machine: Machine, config: Path
) -> None:
    write(machine.home / ".codex/config.toml", "[[[")
    report = imports.run(None, config, machine, write=True)
    assert report.status == 1
    assert "config.toml: 1 problem(s)" in report.text
    assert "github" in servers_of(config)


def test_wrong_usage(machine: Machine, config: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="no client"):
        imports.run("claud", config, machine)
    empty = Machine(tmp_path / "nobody", tmp_path / "nowhere", tmp_path / "state")
    assert "no server list" in imports.run("codex", config, empty).text
    write(config, '{"servers": [{"name": "a", "command": "c"}]}')
    with pytest.raises(CannotChange, match="mcproxy migrate"):
        imports.run("claude", config, machine, write=True)


@pytest.mark.requirement("text.channels")
def test_what_another_client_has_written_forges_no_line(machine: Machine, config: Path) -> None:
    hostile = {"a\n  + forged: good": {"command": "c", "args": ["x\r\nforged\x1b[2J\u202e"]}}
    write(machine.project / ".cursor/mcp.json", {"mcpServers": hostile})
    report = imports.run("cursor", config, machine)
    assert "forged" in report.text
    assert not [line for line in report.lines if line.strip().startswith(("forged", "+ forged"))]
    assert not hides(report.text)
