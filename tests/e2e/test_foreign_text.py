"""What a hostile server says acts on no terminal, forges no line and hides from nobody."""

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping

import pytest

from mcproxy.foreign_text import hides
from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import SERVERS, Running, gateway
from tests.e2e.secrets.channels import typed

PATIENCE_SECS = 30
CHANNELS = (
    *("search", "api", "schema", "direct tools", "prompts", "resources", "templates"),
    *("errors", "ToolError", "/health", "/metrics", "audit", "the log", "the readable log"),
    *("doctor", "doctor --json", "stubs", "namespaces"),
)
CATCHING = """
told = []
for tool in ("refuse", "no", "die", "forged4\\x1b[2J", "nothing\\u202e\\nforged5"):
    try:
        api.server("hostile")[tool]()
    except Exception as fault:
        told.append([fault.message, str(fault)])
told
"""


def configuration() -> JsonObject:
    program = str(SERVERS / "hostile.py")
    return {
        "servers": {
            "hostile": {"command": sys.executable, "args": [program, "serve"]},
            "crashing": {"command": sys.executable, "args": [program, "crash"]},
        },
        "sandbox": {"min_level": "none"},
        "audit": {"file": "audit.jsonl"},
    }


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What the program says on each channel."""
    told: dict[str, str] = {}
    for title, options in {"the log": (), "the readable log": ("--log",)}.items():
        directory = tmp_path_factory.mktemp("hostile")
        with gateway(directory, configuration(), *options) as running:
            told |= _of_gateway(running)
            told["audit"] = (directory / "audit.jsonl").read_text("utf-8")
        told[title] = running.logged.text
    for command in ("doctor", "doctor --json", "namespaces", "stubs --output stubs"):
        told[command.removesuffix(" --output stubs")] = typed(directory, *command.split())
    written = sorted(path for path in (directory / "stubs").rglob("*") if path.is_file())
    stubs = [path.read_text("utf-8") for path in written]
    return {**told, "stubs": told["stubs"] + "".join(stubs)}


def _of_gateway(running: Running) -> Mapping[str, str]:
    health = _settled(running)
    whole = 'api.schema("hostile", "refuse")'
    searched: list[Json] = [
        running.tool("search", query="refuse", max_depth=depth) for depth in range(4)
    ]
    lists = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
    direct = {method: str_of(running.call(method, path="/mcp?mode=direct")) for method in lists}
    refused: list[Json] = [
        running.call("tools/call", {"name": "hostile__refuse"}, "/mcp?mode=direct"),
        running.call("prompts/get", {"name": "hostile__ask"}),
        running.call("prompts/get", {"name": "forged\x1b[2J\u202e"}),
        running.call("resources/read", {"uri": "hostile://one"}),
    ]
    return {
        "search": str_of(searched),
        "api": str_of(running.run('[api.search("refuse", max_depth=3), api.manifest()]')),
        "schema": str_of(running.run(whole)),
        "direct tools": direct["tools/list"],
        "prompts": direct["prompts/list"],
        "resources": direct["resources/list"],
        "templates": direct["resources/templates/list"],
        "errors": str_of(refused),
        "ToolError": str_of(running.run(CATCHING)),
        "/health": health,
        "/metrics": running.http.get("/metrics").text,
    }


def str_of(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def _settled(running: Running) -> str:
    until = time.monotonic() + PATIENCE_SECS
    while time.monotonic() < until:
        health = running.http.get("/health")
        if health.json()["servers"]["crashing"]["last_error"]:
            return health.text
    raise AssertionError(health.text)


def _texts(value: Json) -> Iterator[str]:
    """All texts of a value, those of JSON within text too."""
    if isinstance(value, str):
        yield value
        if value[:1] in ("{", "["):
            yield from _texts(json.loads(value))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *_texts(inner))


@pytest.mark.requirement("text.channels")
@pytest.mark.parametrize("channel", CHANNELS)
def test_nothing_acts_or_hides(said: Mapping[str, str], channel: str) -> None:
    text = said[channel]
    assert text.strip()
    assert not hides(text), ascii(text)
    assert "\r" not in text
    written = [text] if channel == "doctor --json" else text.splitlines()
    for each in written:
        if each[:1] in ("{", "["):
            value, _ = json.JSONDecoder().raw_decode(each)  # behind it is what went to stderr
            for inner in _texts(value):
                assert not hides(inner), ascii(inner)


LOGGED = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} |  \| "
FIRST_SCREEN = r"MCProxy \S+ listens; |  (Claude Code|Cursor)  |sandbox: |server [\w.-]+: |$"


@pytest.mark.requirement("text.channels")
def test_no_line_is_forged(said: Mapping[str, str]) -> None:
    for line in said["the readable log"].splitlines():
        assert re.match(LOGGED, line) or re.match(FIRST_SCREEN, line), line
        assert not line.startswith("2026-01-01"), line
    for line in said["doctor"].splitlines():
        assert "forged" not in line or re.match(r"\s+\| |(note|error) ", line), line
    assert "forged1" in said["doctor"]
    assert "forged1" in said["the readable log"]


@pytest.mark.requirement("text.channels")
def test_tools_that_hide_something_are_set_aside_and_told(said: Mapping[str, str]) -> None:
    hostile = json.loads(said["/health"])["servers"]["hostile"]
    told = "\n".join(hostile["repaired_tools"])
    assert r"'tool\u200b\u202e" in told
    assert "looks like 'refuse'" in told
    # Its name can be seen, so it is there by it, and waits for a person.
    assert any(one.startswith("choose: has characters") for one in hostile["held_tools"])
    assert "left out" in said["doctor"]
    manifest = json.loads(said["api"])["result"][1]
    assert manifest["servers"]["hostile"]["tools"] == ["refuse", "no", "die", "choose"]
    assert "1 left out" in said["the log"]
