"""Catalogues as real servers have them: no tool gets lost, and what they accept can be called."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import MAIN, SERVERS, Running, gateway
from tests.e2e.test_reload import until

# Tool lists of public servers, where they lie beside the project.
REAL = MAIN.parent.parent / "shared" / "catalog"
READY_SECS = 30.0
COUNT = '{name: len(each["tools"]) for name, each in api.manifest()["servers"].items()}'


def serving(directory: Path, catalogues: Mapping[str, list[Json]], *size: str) -> JsonObject:
    """A configuration with a server for each catalogue."""
    servers: JsonObject = {}
    for name, tools in catalogues.items():
        file = directory / f"{name}.tools.json"
        file.write_text(json.dumps(tools))
        arguments: list[Json] = [str(SERVERS / "catalogue.py"), str(file), *size]
        servers[name] = {"command": sys.executable, "args": arguments}
    return {"servers": servers, "manifests": {"startup_dwell_secs": 60}}


def assert_all_there(running: Running, counts: Mapping[str, int]) -> None:
    until(running, lambda health: health["tools"] == sum(counts.values()))
    servers = running.http.get("/health").json()["servers"]
    assert {name: one["tools"] for name, one in servers.items()} == counts
    assert running.run(COUNT)["result"] == counts


@pytest.mark.requirement("manifest.all_tools")
@pytest.mark.parametrize("size", [(), ("1",)])
def test_of_ten_thousand_tools_none_is_lost(tmp_path: Path, size: tuple[str, ...]) -> None:
    tools: list[Json] = [
        {"name": f"tool_{number}", "description": "x" * 500, "inputSchema": {"type": "object"}}
        for number in range(10_000)
    ]
    with gateway(tmp_path, serving(tmp_path, {"large": tools}, *size)) as running:
        assert_all_there(running, {"large": 10_000})
        found = running.run('api.server("large").tool_9999()')
        assert found["result"] == {"sent": {}}


@pytest.mark.requirement("manifest.all_tools")
@pytest.mark.skipif(not REAL.is_dir(), reason="the catalogues of public servers are not there")
def test_no_tool_of_a_real_catalogue_is_lost(tmp_path: Path) -> None:
    read = {file.stem: json.loads(file.read_text("utf-8")) for file in REAL.glob("*.json")}
    catalogues = {name: document["tools"] for name, document in read.items()}
    counts = {name: len({tool["name"] for tool in tools}) for name, tools in catalogues.items()}
    with gateway(tmp_path, serving(tmp_path, catalogues)) as running:
        assert_all_there(running, counts)


@pytest.mark.requirement("manifest.one_source")
def test_tools_come_into_sight_everywhere_at_once(tmp_path: Path) -> None:
    small: list[Json] = [{"name": "one"}]
    large: list[Json] = [
        {"name": f"tool_{number}", "description": "Read the meter of a house. " * 20}
        for number in range(3_000)
    ]
    servers = serving(tmp_path, {"small": small, "large": large})["servers"]
    assert isinstance(servers, dict)
    with gateway(tmp_path, {"servers": {"small": servers["small"]}}) as running:

        def searched() -> int:
            total = running.tool("search", query="", max_depth=0)["total_matches"]
            assert isinstance(total, int)
            return total

        assert searched() == 1
        (tmp_path / "mcproxy.json").write_text(json.dumps({"servers": servers}))
        ends = time.monotonic() + READY_SECS
        while (before := searched()) != 3_001:
            assert time.monotonic() < ends
            listed = running.run(f"sum({COUNT}.values())")["result"]
            assert isinstance(listed, int)
            health = running.http.get("/health").json()
            assert health["tools"] == sum(each["tools"] for each in health["servers"].values())
            assert before <= listed <= health["tools"] <= searched()
            one = health["servers"].get("large")
            assert not one or (one["state"], one["tools"]) in (("starting", 0), ("ready", 3_000))


@pytest.mark.requirement("manifest.all_tools")
def test_a_tool_that_is_set_aside_is_told(tmp_path: Path) -> None:
    tools: list[Json] = [{"name": "a"}, {"name": "a"}, {"description": "no name"}, {"name": "b"}]
    with gateway(tmp_path, serving(tmp_path, {"odd": tools})) as running:
        until(running, lambda health: health["tools"] == 2)
        health = running.http.get("/health").text
    for told in (health, running.logged.text):
        assert "a: listed twice" in told
        assert "a tool needs a name" in told


@pytest.mark.requirement("calls.defaults")
def test_what_has_a_default_may_be_left_out_though_it_is_listed_as_required(tmp_path: Path) -> None:
    place: JsonObject = {
        "type": "object",
        "properties": {"x": {"type": "number"}, "unit": {"enum": ["px"], "default": "px"}},
        "required": ["x", "unit"],
    }
    kind: JsonObject = {"type": "string", "enum": ["png", "jpeg"], "default": "png"}
    properties: JsonObject = {"file": {"type": "string"}, "type": kind, "at": place}
    schema: JsonObject = {"properties": properties, "required": ["file", "type"], "type": "object"}
    tools: list[Json] = [{"name": "take_screenshot", "inputSchema": schema}]
    with gateway(tmp_path, serving(tmp_path, {"browser": tools})) as running:
        until(running, lambda health: health["tools"] == 1)
        done = running.run('api.server("browser").take_screenshot(file="a", at={"x": 1})')
        refused = running.run('getattr(api.server("browser"), "take_" + "screenshot")(type="gif")')
        line = str(running.tool("search", query="take_screenshot"))
        direct = str(running.call("tools/list", path="/mcp?mode=direct"))
    assert done["result"] == {"sent": {"file": "a", "at": {"x": 1}}}
    assert refused["status"] == "error"
    assert '"file" is a required property' in str(refused)
    assert "take_screenshot(file, type?, at?)" in line
    assert "'required': ['file', 'type']" in direct
