"""The configurations that users find written somewhere load as they stand."""

import hashlib
import re
import subprocess
from pathlib import Path

import jsonschema_rs
import pytest

from mcproxy.config import jsonc
from mcproxy.config.editor_schema import json_schema
from mcproxy.config.load import load
from mcproxy.config.model import Config

NAMESPACES = """{
  "namespaces": {
    "public": ["playwright", "wikipedia"],

    "crypto": {
      "extends": "public",
      "sandbox": { "memory_mb": 512 },
      "rate_limit": { "requests_per_minute": 60 },
      "servers": ["covalent"]
    },

    "system": {
      "extends": null,
      "require_auth": true,
      "allowed_origins": ["localhost"],
      "servers": ["supabase"]
    }
  }%s
}"""
SERVERS = """,
  "servers": {
    "playwright": {"command": "npx"}, "wikipedia": {"command": "npx"},
    "covalent": {"command": "uv"}, "supabase": {"command": "npx"}
  }"""

SANDBOX = """{
  "sandbox": {
    "timeout_secs": 30,
    "memory_mb": 256,
    "env_isolation": true,
    "network": {
      "enabled": true,
      "allowed_hosts": ["api.github.com"]
    },
    "filesystem": {
      "read_only": ["/etc/ssl"],
      "denied": ["/home", "/root"]
    }
  }
}"""

REFERENCE = """{
  "manifests": {
    "startup_dwell_secs": 2,
    "refresh_event_hooks": {
      "pre_refresh": ["health_check_all"],
      "post_refresh": ["restart_failed"]
    },
    "typed_stub_generation": {
      "enabled": false,
      "output_dir": "./stubs"
    }
  },

  "namespaces": { /* see above */ },
  "sandbox": { /* see above */ },

  "servers": {
    "github": {
      "command": "docker",
      "args": ["run", "--rm", "-i", "-e", "GITHUB_TOKEN", "ghcr.io/github/github-mcp-server"],
      "env": { "GITHUB_TOKEN": "${GITHUB_TOKEN}" },
      "namespace": "public",
      "enabled": true
    }
  }
}"""

EVERYTHING = """{
  "servers": {
    "playwright": {
      "command": "npx", "args": [], "env": {}, "cwd": null,
      "namespace": "public", "enabled": true, "description": null, "prefix": false,
      "timeout_secs": 120, "tool_timeouts": {"browser_run": 900},
      "sandbox": {"timeout_secs": 60}, "manifests": {"startup_dwell_secs": 5},
      "refresh_hooks": {"pre_start": []},
    },
    "wikipedia": {"url": "https://wiki.example.org/mcp", "transport": "sse", "headers": {}},
    "covalent": {"command": "uv"},
    "supabase": {"command": "npx"},
  },
  "namespaces": {
    "public": ["playwright", "wikipedia"],           // list form = {"servers": […]}
    "crypto": {"extends": "public", "servers": ["covalent"], "mode": "both",
               "sandbox": {"memory_mb": 512}, "rate_limit": {"requests_per_minute": 60}},
    "system": {"extends": null, "require_auth": true, "allowed_origins": ["localhost"],
               "isolated": true, "servers": ["supabase"]},
    "all": {"extends": ["crypto", "public"]}
  },
  "groups": {"everything": {"namespaces": ["public", "!system"]}},
  "auth": {
    "tokens": [{"name": "alice", "token": "${ALICE_TOKEN}", "namespaces": ["system"]}],
    "jwt": {"issuer": "https://login.example.org", "audience": ["mcp"], "jwks_url": null,
            "algorithms": ["RS256"], "scopes": {"mcp:system": ["system"], "mcp:admin": ["*"]},
            "namespaces": [], "name_claim": "sub", "resource": "https://mcp.example.org"}
  },
  "sandbox": {
    "level": "auto", "min_level": "hardened", "default_namespace": "public",
    "timeout_secs": 30, "memory_mb": 256, "env_isolation": true, "pool_size": 2, "packages": [],
    "network": {"enabled": true, "allowed_hosts": ["api.github.com"]},
    "filesystem": {"read_only": ["/etc/ssl"], "read_write": [], "denied": ["/home", "/root"]},
    "uv_path": null
  },
  "manifests": {
    "startup_dwell_secs": 2,
    "refresh_event_hooks": {"pre_refresh": ["health_check_all"],
                            "post_refresh": ["restart_failed"]},
    "per_server_ttl": {"enabled": false, "default_secs": 86400, "max_idle_secs": 3600},
    "typed_stub_generation": {"enabled": false, "output_dir": "./stubs",
                              "languages": ["python", "typescript"]}
  }
}"""

V1 = '{"servers": [{ "name": "github", "command": "docker" }]}'

DOCS = Path(__file__).parents[2] / "docs"
ACCESS = (DOCS / "access.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(
    r"```jsonc\n(.*?)```", (DOCS / "configuration.md").read_text(encoding="utf-8"), re.DOTALL
)

DOCUMENTED = {
    "namespaces": NAMESPACES % SERVERS,
    "sandbox": SANDBOX,
    "reference": REFERENCE,
    "everything": EVERYTHING,
    "example": EXAMPLE,
    **{
        f"access, block {number}": text
        for number, text in enumerate(re.findall(r"```json\n(.*?)```", ACCESS, re.DOTALL), 1)
    },
}


def read(folder: Path, text: str) -> Config:
    path = folder / "mcp-servers.json"
    path.write_text(text, encoding="utf-8")
    return load(path).config


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALICE_TOKEN", "a-long-secret")
    monkeypatch.setenv("GITHUB_TOKEN", "another-secret")
    monkeypatch.setenv("TICKETS_TOKEN", "a-third-secret")


@pytest.mark.requirement("config.documented")
@pytest.mark.parametrize("title", [*DOCUMENTED, "v1"])
def test_a_documented_configuration_loads(title: str, tmp_path: Path) -> None:
    read(tmp_path, {**DOCUMENTED, "v1": V1}[title])


def test_its_values_arrive(tmp_path: Path) -> None:
    config = read(tmp_path, EVERYTHING)
    assert config.namespaces["public"].servers == ("playwright", "wikipedia")
    assert config.namespaces["system"].extends == ()
    assert config.namespaces["crypto"].extends == ("public",)
    assert config.namespaces["all"].extends == ("crypto", "public")
    assert config.servers["playwright"].tool_timeouts == {"browser_run": 900}
    assert config.auth.tokens[0].token == "a-long-secret"
    assert config.groups["everything"].namespaces == ("public", "!system")


@pytest.mark.requirement("config.documented")
def test_nothing_in_the_example_is_odd(tmp_path: Path) -> None:
    path = tmp_path / "mcp-servers.json"
    path.write_text(EXAMPLE, encoding="utf-8")
    loaded = load(path)
    assert loaded.notes == ()
    assert loaded.unconfigured == {}


def test_the_shell_line_hashes_a_token() -> None:
    [line] = re.findall(r"^(printf .*)$", ACCESS, re.MULTILINE)
    command = ["/bin/sh", "-c", line]
    done = subprocess.run(command, env={"TOKEN": "test"}, capture_output=True, check=True)
    assert done.stdout.decode().strip() == hashlib.sha256(b"test").hexdigest()


VALIDATOR = jsonschema_rs.validator_for(json_schema())


@pytest.mark.requirement("cli.schema")
@pytest.mark.parametrize("title", DOCUMENTED)
def test_the_published_schema_accepts_it(title: str) -> None:
    VALIDATOR.validate(jsonc.parse(DOCUMENTED[title]).value)


SCHEMA_ACCEPTS = [
    '{"_note": 1, "servers": {"_x": 1, "x": {"_y": 1, "env": {"_z": 1}, "command": "c"}}}',
    '{"servers": {"x": {"timeout_secs": "${SECS}", "enabled": "${ON:-true}"}}}',
    '{"groups": {"g": ["public"]}}',
    '{"$schema": "./mcproxy.schema.json"}',
]
SCHEMA_REFUSES = [
    '{"sandbx": {}}',
    '{"servers": {"x": {"comand": "npx"}}}',
    '{"servers": {"x": {"timeout_secs": "long"}}}',
    '{"servers": {"x": {"timeout_secs": -1}}}',
    '{"namespaces": {"a": {"extends": 5}}}',
    '{"sandbox": {"level": "stict"}}',
    '{"auth": {"jwt": {"issuer": "https://x.org", "audience": "a", "algorithms": ["HS256"]}}}',
]


@pytest.mark.parametrize("text", SCHEMA_ACCEPTS)
def test_the_schema_accepts_what_the_loader_accepts(text: str) -> None:
    VALIDATOR.validate(jsonc.parse(text).value)


@pytest.mark.parametrize("text", SCHEMA_REFUSES)
def test_the_schema_shows_slips_to_an_editor(text: str) -> None:
    assert not VALIDATOR.is_valid(jsonc.parse(text).value)


def test_every_number_of_the_schema_has_its_unit() -> None:
    definitions = json_schema()["$defs"]
    assert isinstance(definitions, dict)
    for section in definitions.values():
        assert isinstance(section, dict)
        properties = section["properties"]
        assert isinstance(properties, dict)
        for name, field in properties.items():
            if name.endswith("_secs"):
                assert "econds" in str(field), name
            if name.endswith("_mb"):
                assert "MiB" in str(field), name
