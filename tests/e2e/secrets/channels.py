"""Everything that the program says, by channel, after its servers have told all that they know."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running
from tests.e2e.secrets.canaries import KNOWN
from tests.preloaded.program import command

PATIENCE_SECS = 60
LOOK_SECS = 0.05
ENV = {"PYTHONIOENCODING": "utf-8"}
CATCHING = """
told = {}
for tool in ("refuse", "no", "die"):
    try:
        api.server("leaky")[tool]()
    except Exception as fault:
        told[tool] = [fault.code, fault.message, str(fault)]
for server in ("crashing", "pem", "repeating"):
    try:
        api.call_tool(server, "any", {})
    except Exception as fault:
        told[server] = [fault.code, fault.message, str(fault)]
try:
    api.read_resource("leaky", "leak://one")
except Exception as fault:
    told["resource"] = [fault.code, fault.message, str(fault)]
told
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What came out of one channel; ``words`` must still be in it."""

    text: str
    words: tuple[str, ...] = ()


_STARTING = "it is still starting"  # what is said before a first error, and in every restart


def of_gateway(running: Running, directory: Path) -> Mapping[str, Said]:
    """The channels of a running gateway; all but its log, which goes on until it ends."""
    health = _settled(running)
    running.run('api.server("leaky").noise()')
    return {
        "search": Said(_searches(running), ("leaky", "cannot log in with ***")),
        "api.search and the manifest": Said(
            str(running.run('[api.search("log in", max_depth=3), api.manifest()]')), ("fine",)
        ),
        "tools/list": Said(str(running.call("tools/list")), ("leaky",)),
        "instructions": Said(str(running.call("initialize", {"protocolVersion": "2025-11-25"}))),
        "JSON-RPC errors": Said(_errors(running), ("cannot log in with ***", "-32000")),
        "tracebacks": Said(_tracebacks(running), ("ToolError", "cannot log in with ***")),
        "ToolError": Said(
            str(running.run(CATCHING)),
            ("upstream_error", "tool_error", "server_down", "cannot log in with ***"),
        ),
        "/health": Said(health, ("cannot log in with ***", "exited with status 3", "PRIVATE KEY")),
        "/metrics": Said(running.http.get("/metrics").text, ('server="leaky"',)),
        "audit": Said((directory / "audit.jsonl").read_text(), ("leaky", "upstream_error")),
    }


def of_commands(directory: Path) -> Mapping[str, Said]:
    """The channels of the sub-commands."""
    return {
        "doctor": Said(typed(directory, "doctor"), ("cannot log in with ***", "PRIVATE KEY")),
        "doctor --json": Said(typed(directory, "doctor", "--json"), ("cannot log in with ***",)),
        "check": Said(typed(directory, "check"), ("5 servers",)),
        "namespaces": Said(typed(directory, "namespaces"), ("leaky",)),
        "check of a faulty file": Said(typed(_faulty(directory), "check"), ("problem",)),
        "doctor of a faulty file": Said(typed(_faulty(directory), "doctor"), ("problem",)),
    }


def _settled(running: Running) -> str:
    """``/health``, once every server that cannot work has said why."""
    until = time.monotonic() + PATIENCE_SECS
    ill = ("crashing", "pem", "repeating", "nobody")
    while time.monotonic() < until:
        health = running.http.get("/health")
        told = [health.json()["servers"][name]["last_error"] for name in ill]
        if not any(said is None or said.startswith(_STARTING) for said in told):
            return health.text
        time.sleep(LOOK_SECS)
    raise AssertionError(health.text)


def _searches(running: Running) -> str:
    found = [
        running.tool("search", query=query, max_depth=depth)
        for query in ("log in", "leaky.fine", "")
        for depth in range(4)
        if query or depth < 3
    ]
    return json.dumps(found, ensure_ascii=False)


def _errors(running: Running) -> str:
    """The JSON-RPC errors of what passes through, and of direct mode."""
    asked: list[tuple[str, JsonObject]] = [
        ("prompts/get", {"name": "leaky__ask"}),
        ("resources/read", {"uri": "leak://one"}),
        ("tools/call", {"name": "leaky__refuse", "arguments": {}}),
    ]
    told: list[Json] = [
        running.call(method, params, "/mcp?mode=direct") for method, params in asked
    ]
    assert all(isinstance(each, dict) and "code" in each for each in told), told
    return json.dumps(told, ensure_ascii=False)


def _tracebacks(running: Running) -> str:
    scripts = [f'api.server("leaky").{tool}()' for tool in ("refuse", "no")]
    return str([running.run(script) for script in (*scripts, 'api.call_tool("pem", "x", {})')])


def typed(directory: Path, *arguments: str) -> str:
    """What a command says on both its streams."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=directory,
        check=False,
        env={**os.environ, **KNOWN, **ENV, "XDG_STATE_HOME": str(directory / "state")},
    )
    return done.stdout + done.stderr


def _faulty(directory: Path) -> Path:
    """A folder with a configuration whose values are wrong, and secret."""
    folder = directory / "faulty"
    folder.mkdir(exist_ok=True)
    names: list[Json] = [f"${{{name}}}" for name in KNOWN]
    servers: JsonObject = {
        name: {"command": "x", "namespace": f"${{{name}}}", "transport": f"${{{name}}}"}
        for name in KNOWN
    }
    document: JsonObject = {
        "servers": servers,
        "namespaces": {"a": {"extends": names, "servers": names, "mode": "${ENV}"}},
        "groups": {"g": {"namespaces": names}},
        "auth": {"tokens": [{"name": "${TOKEN}", "token": "${TOKEN}", "namespaces": names}]},
        "sandbox": {
            "level": "${ENV}",
            "packages": names,
            "network": {"enabled": True, "allowed_hosts": names},
            "filesystem": {"read_only": names},
        },
    }
    (folder / "mcproxy.json").write_text(json.dumps(document))
    return folder
