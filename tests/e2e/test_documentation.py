"""What the documentation shows is run: scripts and curl lines, and they give what stands there."""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcproxy.demo.config import demo_config
from mcproxy.gateway.own_resources import INSTRUCTIONS_URI
from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import ROOT, TIME, Running, gateway
from tests.pages import TOLD, Block, blocks, outcome, rows_of

MODULES = ROOT / "tests/node/node_modules"
NODE = MODULES / "node/bin/node"
EVERYTHING = MODULES / "@modelcontextprotocol/server-everything/dist/index.js"
_VOLATILE = {"ms", "execution_time_ms", "score", "execution"}

SCRIPTS = [
    (page, block)
    for page in (
        ROOT / "docs" / name for name in ("writing-scripts.md", "call-styles.md", "cookbook.md")
    )
    for block in blocks(page)
    if block.language == "python" and block.is_run and page.name != "architecture.md"
]
CURLS = [
    (page, block)
    for page in TOLD
    for block in blocks(page)
    if block.language == "bash" and block.text.startswith("curl ") and block.is_run
]


def named(given: object) -> str | None:
    return f"{given.page}-{given.place}" if isinstance(given, Block) else None


@pytest.fixture(scope="module")
def cookbook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with the servers of the cookbook; the everything server where it is installed."""
    config: Any = demo_config(sys.executable)
    config["servers"]["time"] = TIME
    if EVERYTHING.exists():
        config["servers"]["everything"] = {"command": str(NODE), "args": [str(EVERYTHING)]}
    config["namespaces"]["public"] = list(config["servers"])
    with gateway(tmp_path_factory.mktemp("cookbook"), config) as running:
        yield running


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway(tmp_path_factory.mktemp("demo"), None) as running:
        yield running


@pytest.mark.requirement("docs.scripts")
@pytest.mark.parametrize(("page", "block"), SCRIPTS, ids=named)
def test_scripts_give_what_is_shown(cookbook: Running, page: Path, block: Block) -> None:
    if '"everything"' in block.text and not EVERYTHING.exists():
        pytest.skip("the everything server is not installed in tests/node")
    shown = outcome(blocks(page), block)
    assert shown, "a script shows what it gives"
    done: Any = cookbook.run(block.text)
    if "json" in shown:
        assert done["status"] == "success", done
        assert done["result"] == json.loads(shown["json"])
        assert done.get("stdout", "") == shown.get("text", done.get("stdout", ""))
    else:
        assert done["error"]["message"].startswith(shown["text"].strip())


@pytest.mark.requirement("readme.curl")
@pytest.mark.parametrize(("page", "block"), CURLS, ids=named)
def test_curl_lines_answer_what_is_shown(demo: Running, page: Path, block: Block) -> None:
    shown = json.loads(blocks(page)[block.place + 1].text)
    words = shlex.split(block.text)
    reply = demo.post(json.loads(words[-1]), path=f"/{words[2].split('/', 3)[3]}").json()["result"]
    if "tools" in reply:
        real = {tool["name"]: tool["description"] for tool in reply["tools"]}
        assert [tool["name"] for tool in shown] == list(real)
        for tool in shown:
            assert real[tool["name"]].startswith(tool["description"].removesuffix("…").rstrip())
    else:
        assert steady(reply["structuredContent"]) == steady(shown)


def steady(value: Json) -> Json:
    """The value without what differs from run to run."""
    if isinstance(value, list):
        return [steady(item) for item in value]
    if isinstance(value, dict):
        return {key: steady(item) for key, item in value.items() if key not in _VOLATILE}
    return value


FAILING: dict[str, tuple[str, JsonObject]] = {
    "CheckError": ("import subprocess", {}),
    "Timeout": ("while True: pass", {"timeout_secs": 1}),
    "MemoryLimit": ("x = bytearray(10**10)", {}),
    "ResultLimit": ("'x' * 17_000_000", {}),
    "SandboxError": ("import os\nos._exit(3)", {}),
    "ToolError": ("getattr(api.server('calc'), 'conv' + 'ert')()", {}),
}


@pytest.mark.requirement("docs.tables")
def test_errors_of_scripts_are_found_by_their_text(demo: Running) -> None:
    rows = {
        kind.strip("`"): says
        for kind, says, _ in rows_of(ROOT / "docs/troubleshooting.md", "Errors of scripts")
    }
    assert rows.keys() == FAILING.keys()
    for kind, (code, arguments) in FAILING.items():
        error: Any = demo.run(code, **arguments)["error"]
        assert error["type"] == kind
        assert numberless(error["message"]).startswith(numberless(rows[kind]))


GUARDED: JsonObject = {
    "servers": {"time": TIME},
    "namespaces": {"home": {"require_auth": True}},
    "auth": {"tokens": [{"name": "ada", "token": "t0k3n", "namespaces": ["home"]}]},
}
LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
REFUSED: list[tuple[str, dict[str, str], str]] = [
    ("/mcp/home", {}, LIST),
    ("/message", {"Authorization": "Bearer wrong"}, LIST),
    ("/message", {"Origin": "https://evil.example"}, LIST),
    ("/message", {"Host": "evil.example"}, LIST),
    ("/tools", {}, LIST),
    ("/message", {}, LIST + " " * (4 << 20)),
]


@pytest.mark.requirement("docs.tables")
def test_refusals_are_found_by_their_text(tmp_path: Path) -> None:
    rows = rows_of(ROOT / "docs/troubleshooting.md", "Refused requests")
    with gateway(tmp_path, GUARDED) as running:
        for (path, headers, body), (status, says, _) in zip(REFUSED, rows, strict=True):
            sent = {"Content-Type": "application/json", **headers}
            refused = running.http.post(path, content=body, headers=sent)
            assert str(refused.status_code) == status.strip("`")
            assert refused.json()["error"].startswith(says)


def numberless(text: str) -> str:
    return re.sub(r"\d+", "N", text)


@pytest.mark.requirement("instructions.resource")
def test_the_text_for_a_model_is_a_resource_and_its_example_runs(cookbook: Running) -> None:
    listed: Any = cookbook.call("resources/list")
    assert INSTRUCTIONS_URI in [each["uri"] for each in listed["resources"]]
    read: Any = cookbook.call("resources/read", {"uri": INSTRUCTIONS_URI})
    (contents,) = read["contents"]
    assert contents["mimeType"] == "text/markdown"
    page = ROOT / "docs/writing-scripts.md"
    [on_the_page] = [one.text for one in blocks(page) if one.language == "markdown"]
    assert contents["text"] == on_the_page
    example = contents["text"].split("```python\n")[1].split("```")[0]
    assert cookbook.run(example)["result"] == [1.6, 42.2]


@pytest.mark.requirement("instructions.resource")
def test_direct_mode_has_servers_resources_only(tmp_path: Path) -> None:
    config: JsonObject = {"servers": {"time": TIME}, "namespaces": {"public": {"mode": "direct"}}}
    with gateway(tmp_path, config) as running:
        assert running.call("resources/list") == {"resources": []}
        missing: Any = running.call("resources/read", {"uri": INSTRUCTIONS_URI})
        assert missing["code"] == -32002
