"""Reading a configuration that can run: files, variables, defaults, and what is noted."""

import json
from pathlib import Path

import pytest

from mcproxy.config.load import Loaded, default_path, load, load_document
from mcproxy.errors import ConfigError
from mcproxy.types import Json


def load_text(folder: Path, text: str) -> Loaded:
    path = folder / "mcproxy.json"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_an_empty_configuration_has_the_documented_defaults(tmp_path: Path) -> None:
    config = load_text(tmp_path, "{}").config
    assert (config.sandbox.level, config.sandbox.min_level) == ("auto", "hardened")
    assert (config.sandbox.timeout_secs, config.sandbox.memory_mb) == (30, 256)
    assert (config.sandbox.default_namespace, config.sandbox.pool_size) == ("public", 2)
    assert config.sandbox.env_isolation
    assert config.manifests.startup_dwell_secs == 2
    assert config.manifests.per_server_ttl.max_idle_secs == 3600
    assert not config.manifests.typed_stub_generation.enabled


def test_a_server_has_the_documented_defaults(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, '{"servers": {"x": {"command": "npx"}}}')
    server = loaded.config.servers["x"]
    assert (server.enabled, server.prefix, server.timeout_secs) == (True, True, 120)
    assert (server.args, server.env, server.cwd, server.namespace) == ((), {}, None, None)
    assert loaded.notes == ()


@pytest.mark.requirement("config.comments")
def test_comments_are_ignored_everywhere(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        """\ufeff{
          "$schema": "./mcproxy.schema.json",
          "_top": {"anything": [1]}, // a note
          "servers": {
            "_off": {"comand": "not read"},
            "x": {"command": "npx", "_why": "${UNSET}", "env": {"_A": 5, "B": "b"},
                  "args": ["_a"],},
          },
          "namespaces": {"_n": "text", "public": {"servers": ["x"], "_m": null}},
        }""",
    )
    server = loaded.config.servers["x"]
    assert list(loaded.config.servers) == ["x"]
    assert (server.env, server.args) == ({"B": "b"}, ("_a",))
    assert not loaded.unconfigured


@pytest.mark.requirement("config.variables")
def test_variables_fill_any_value_also_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECS", "7.5")
    monkeypatch.setenv("HOST", "x.example.org")
    text = """{"servers": {"x": {
        "url": "https://${HOST}/mcp", "timeout_secs": "${SECS}", "enabled": "${ON:-false}"}},
        "sandbox": {"memory_mb": "${MB:-512}"}}"""
    config = load_text(tmp_path, text).config
    server = config.servers["x"]
    assert (server.url, server.timeout_secs, server.enabled) == (
        "https://x.example.org/mcp",
        7.5,
        False,
    )
    assert config.sandbox.memory_mb == 512


@pytest.mark.requirement("config.dotenv")
def test_dotenv_is_read_and_never_overrides_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOTH", "from-environment")
    monkeypatch.delenv("ONLY_FILE", raising=False)
    (tmp_path / ".env").write_text(
        "# comment\nBOTH=from-file\nexport ONLY_FILE='a ${BOTH} b'\nBARE\n"
    )
    text = """{"servers": {"x": {"command": "c", "args": ["${BOTH}", "${ONLY_FILE}"]}}}"""
    loaded = load_text(tmp_path, text)
    assert loaded.config.servers["x"].args == ("from-environment", "a ${BOTH} b")
    assert "ONLY_FILE" not in loaded.environment
    assert loaded.environment["BOTH"] == "from-environment"


def test_a_dotenv_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe")
    with pytest.raises(ConfigError, match=r"\.env: 1 problem"):
        load_text(tmp_path, "{}")


@pytest.mark.requirement("config.unconfigured")
def test_a_server_that_lacks_a_variable_leaves_the_others_running(tmp_path: Path) -> None:
    text = """{
      "servers": {
        "github": {"command": "docker", "env": {"TOKEN": "${UNSET_A}", "HOST": "${UNSET_B}"}},
        "remote": {"url": "${UNSET_URL}", "timeout_secs": "${UNSET_SECS}"},
        "off": {"command": "x", "enabled": false, "args": ["${UNSET_A}"]},
        "wiki": {"command": "npx"}
      },
      "namespaces": {"public": ["github", "remote", "wiki"]}
    }"""
    loaded = load_text(tmp_path, text)
    assert list(loaded.config.servers) == ["github", "remote", "off", "wiki"]
    assert dict(loaded.unconfigured) == {
        "github": (
            "servers.github.env.TOKEN: the variable UNSET_A is not set "
            "(set it in the environment or in .env, or write ${UNSET_A:-default}); "
            "servers.github.env.HOST: the variable UNSET_B is not set "
            "(set it in the environment or in .env, or write ${UNSET_B:-default})"
        ),
        "remote": (
            "servers.remote.url: the variable UNSET_URL is not set "
            "(set it in the environment or in .env, or write ${UNSET_URL:-default}); "
            "servers.remote.timeout_secs: the variable UNSET_SECS is not set "
            "(set it in the environment or in .env, or write ${UNSET_SECS:-default})"
        ),
    }


def test_secrets_are_collected_and_shown_by_no_repr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "sk-from-variable")
    loaded = load_text(
        tmp_path,
        """{"servers": {"x": {"command": "c", "env": {"KEY": "${KEY}"}}},
            "auth": {"tokens": [{"name": "a", "token": "written-in-the-file"}]}}""",
    )
    assert loaded.secrets == {"sk-from-variable", "written-in-the-file"}
    assert not any(secret in repr(loaded) for secret in loaded.secrets)


NOTES: dict[str, tuple[dict[str, Json], str]] = {
    "arguments of a remote server": (
        {"servers": {"x": {"url": "https://x.org", "args": []}}},
        "servers.x.args: has no effect for a remote server",
    ),
    "transport of a command": (
        {"servers": {"x": {"command": "c", "transport": "sse"}}},
        "servers.x.transport: has no effect for a server with a command",
    ),
    "calls of a server": (
        {"servers": {"x": {"command": "c", "sandbox": {"max_calls": 9}}}},
        "servers.x.sandbox.max_calls: has no effect; for scripts the namespace's sandbox counts",
    ),
    "network of a server": (
        {"servers": {"x": {"command": "c", "sandbox": {"network": {}}}}},
        "servers.x.sandbox.network: has no effect; for scripts the namespace's sandbox counts",
    ),
    "guarded for everybody": (
        {"namespaces": {"system": {"require_auth": True}}},
        "namespaces.system.require_auth: no token of auth opens this namespace; nobody can use it",
    ),
    "an issuer without https": (
        {"auth": {"jwt": {"issuer": "http://login.example.com", "audience": "a"}}},
        "auth.jwt.issuer: http lets whoever is on the way put in other keys; use https",
    ),
    "opened in vain": (
        {
            "namespaces": {
                "a": {"require_auth": True},
                "b": {"extends": "a", "require_auth": False},
            },
            "auth": {"tokens": [{"name": "x", "token": "t", "namespaces": ["*"]}]},
        },
        "namespaces.b.require_auth: false has no effect, since 'a' requires authentication",
    ),
    "unknown hook": (
        {"manifests": {"refresh_event_hooks": {"post_refresh": ["restart_faild"]}}},
        "manifests.refresh_event_hooks.post_refresh: there is no hook 'restart_faild'; "
        "it does nothing (did you mean 'restart_failed'?)",
    ),
    "unknown hook of a server": (
        {"servers": {"x": {"command": "c", "refresh_hooks": {"pre_start": ["pull_imag"]}}}},
        "servers.x.refresh_hooks.pre_start: there is no hook 'pull_imag'; "
        "it does nothing (did you mean 'pull_image'?)",
    ),
    "hook before the start of a remote server": (
        {"servers": {"x": {"url": "http://x", "refresh_hooks": {"pre_start": ["pull_image"]}}}},
        "servers.x.refresh_hooks.pre_start: has no effect for a remote server: "
        "it has no process here",
    ),
    "another form of variable": (
        {"servers": {"x": {"command": "c", "args": ["${input:key}"]}}},
        "servers.x.args[0]: ${input:key} stays as it is; "
        "only ${VAR} and ${VAR:-default} are filled in",
    ),
}


@pytest.mark.parametrize("title", NOTES)
def test_what_is_odd_runs_and_is_noted(title: str) -> None:
    document, note = NOTES[title]
    assert load_document(document).notes == (note,)


@pytest.mark.requirement("config.default_path")
def test_the_default_file_is_the_first_that_exists(tmp_path: Path) -> None:
    assert default_path(tmp_path) is None
    (tmp_path / "mcproxy.json").write_text("{}")
    assert default_path(tmp_path) == tmp_path / "mcproxy.json"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "mcp-servers.json").write_text("{}")
    assert default_path(tmp_path) == tmp_path / "config" / "mcp-servers.json"


def test_a_document_without_a_file_has_no_source() -> None:
    loaded = load_document({"servers": {"x": {"command": "${UNSET:-c}"}}})
    assert loaded.source is None
    assert loaded.config.servers["x"].command == "c"
    with pytest.raises(ConfigError, match=r"^configuration: 1 problem"):
        load_document({"x": 1})


def test_a_thousand_servers_load(tmp_path: Path) -> None:
    names = [f"server-{number}" for number in range(1000)]
    document = {
        "servers": {name: {"command": "c"} for name in names},
        "namespaces": {
            name: {"servers": [name], "extends": parent}
            for name, parent in zip(names, [None, *names], strict=False)
        },
    }
    assert len(load_text(tmp_path, json.dumps(document)).config.namespaces) == 1000
