"""v1 files: they run as they are, and are brought to v2 without losing a word."""

import copy
from pathlib import Path

import pytest

from mcproxy.config.load import V1_NOTE, load, load_document
from mcproxy.config.migrate import migrate
from mcproxy.types import JsonObject

V1: JsonObject = {
    "_comment": "home server",
    "servers": [
        {
            "_why": "needs a token",
            "name": "github",
            "command": "docker",
            "args": ["run", "-p", 8080],
            "env": {"TOKEN": "${TOKEN}", "_note": "kept", "PORT": 80, "DEBUG": True},
            "timeout": 60,
            "enabled": True,
        },
        {
            "name": "jesse",
            "type": "http",
            "url": "http://localhost:12011/mcp",
            "timeout": 350,
            "tool_timeout": 600,
            "tool_timeouts": {"backtest": 900},
        },
        {"name": "my tmux", "type": "stdio", "command": "npx", "disabled": True, "cwd": None},
        {"name": "old", "type": "streamable-http", "url": "https://x.org", "retries": 3},
    ],
    "log_level": "debug",
}
V2: JsonObject = {
    "_comment": "home server",
    "servers": {
        "github": {
            "_why": "needs a token",
            "command": "docker",
            "args": ["run", "-p", "8080"],
            "env": {"TOKEN": "${TOKEN}", "_note": "kept", "PORT": "80", "DEBUG": "true"},
            "timeout_secs": 60,
            "enabled": True,
        },
        "jesse": {
            "url": "http://localhost:12011/mcp",
            "timeout_secs": 600,
            "tool_timeouts": {"backtest": 900},
            "transport": "http",
        },
        "my_tmux": {"command": "npx", "enabled": False},
        "old": {"url": "https://x.org", "transport": "http", "_retries": 3},
    },
    "_log_level": "debug",
}


@pytest.mark.requirement("config.migrate")
def test_a_v1_document_becomes_v2_with_all_comments() -> None:
    before = copy.deepcopy(V1)
    migration = migrate(V1)
    assert migration.document == V2
    assert list(migration.document) == ["_comment", "servers", "_log_level"]
    assert before == V1
    assert migration.notes == (
        "servers[2]: the server 'my tmux' is called 'my_tmux'",
        "servers[3].retries: this key has no meaning and is ignored",
        "log_level: this key has no meaning and is ignored",
    )


def test_migrating_twice_is_migrating_once() -> None:
    assert migrate(migrate(V1).document).document == V2


@pytest.mark.requirement("config.v1_runs")
def test_a_v1_file_runs_as_it_is_with_one_line_that_names_migrate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "sk-123456")
    loaded = load_document(V1)
    assert loaded.config == load_document(V2).config
    assert loaded.config.servers["github"].env["TOKEN"] == "sk-123456"
    assert [note for note in loaded.notes if "mcproxy migrate" in note] == [V1_NOTE]

    path = tmp_path / "mcp-servers.json"
    path.write_text('{"servers": [{"name": "x", "command": "npx"},]} // v1')
    assert load(path).notes == (V1_NOTE,)


def test_a_missing_variable_leaves_a_v1_server_unconfigured() -> None:
    document: JsonObject = {"servers": [{"name": "x", "command": "c", "args": ["${UNSET}"]}]}
    assert list(load_document(document).unconfigured) == ["x"]


@pytest.mark.parametrize(
    ("name", "key"),
    [("a b", "a_b"), ("@scope/pkg", "s_scope_pkg"), ("é", "s_"), ("a" * 70, "a" * 64)],
)
def test_a_name_that_v2_does_not_take_is_made_to_fit(name: str, key: str) -> None:
    document: JsonObject = {"servers": [{"name": name, "command": "c"}]}
    assert list(load_document(document).config.servers) == [key]
