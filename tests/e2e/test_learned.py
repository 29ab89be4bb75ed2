"""What tools return is learned as they are called, and shown to whoever writes the next script."""

import json
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running, echo, gateway
from tests.e2e.test_stubs_follow import until
from tests.preloaded.program import command

ISSUES: list[Json] = [
    {"number": 7, "title": "Nobody's words", "labels": ["private"]},
    {"number": 8, "title": "Others", "author": {"login": "alice", "email": "alice@example.com"}},
]
SHORT = "list[{number: int, title: str, author?: {email: str, login: str}, labels?: list[str]}]"

LEARNED = """
SELECT key, value FROM items JOIN parts ON item = items.id WHERE owner LIKE '%learned%'
"""


def config(directory: Path, **more: Json) -> JsonObject:
    return {
        "servers": {"echo": echo(), "mute": {**echo(), "learn_results": False}},
        "namespaces": {
            "public": ["echo", "mute"],
            "quiet": {"extends": "public", "learn_results": False},
            "sub": {"extends": "quiet"},
        },
        "manifests": {
            "startup_dwell_secs": 30,
            "typed_stub_generation": {"enabled": True, "output_dir": str(directory / "stubs")},
        },
        **more,
    }


def give(value: Json, server: str = "echo") -> str:
    return f"api.call_tool({server!r}, 'json_text', {{'value': {value!r}}})"


def shown(running: Running, depth: int = 2, server: str = "echo") -> JsonObject:
    reply: Any = running.tool("search", query="json_text", max_depth=depth, limit=20)
    tools = {entry["server"]: entry["matched_tools"] for entry in reply["results"]}
    found: JsonObject = next(tool for tool in tools[server] if tool["name"] == "json_text")
    return found


def tells(running: Running, type_: str, server: str = "echo") -> Callable[[], bool]:
    return lambda: str(shown(running, server=server)["call"]).endswith(f"(value?) -> {type_}")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with gateway(tmp_path, config(tmp_path)) as running:
        yield running


@pytest.mark.requirement("learned.shapes")
@pytest.mark.requirement("learned.shown")
async def test_the_next_search_tells_what_a_tool_returns(running: Running, tmp_path: Path) -> None:
    assert "->" not in str(shown(running)["call"])
    running.run(give(ISSUES))
    await until(tells(running, SHORT))
    whole: Any = shown(running, depth=3)["returns"]
    assert whole["results_seen"] == 1
    assert whole["schema"]["items"]["required"] == ["number", "title"]
    told: Any = running.run("api.schema('echo', 'json_text')")["result"]
    assert told["returns"] == whole
    python, typescript = (tmp_path / "stubs" / f"mcproxy_api.{end}" for end in ("pyi", "d.ts"))
    await until(lambda: "labels: NotRequired[list[str]]" in python.read_text())
    await until(
        lambda: (
            "json_text(args?: { value?: unknown }): Promise<Array<{ author?: "
            "{ email: string; login: string }; labels?: Array<string>; number: number; "
            in typescript.read_text()
        )
    )
    running.run(give({"number": 1}))  # another shape
    await until(tells(running, f"{SHORT}|{{number: int}}"))


@pytest.mark.requirement("learned.shapes")
async def test_a_direct_call_teaches_as_well_and_what_fails_does_not(running: Running) -> None:
    params: JsonObject = {"name": "echo__json_text", "arguments": {"value": [1]}}
    running.run("try:\n    api.call_tool('echo', 'fail', {'message': 'x'})\nexcept Exception: pass")
    running.call("tools/call", params, "/mcp/public?mode=direct")
    await until(tells(running, "list[int]"))
    reply: Any = running.tool("search", query="echo.fail")
    assert "->" not in str(reply["results"][0]["matched_tools"][0]["call"])


@pytest.mark.requirement("learned.kept")
@pytest.mark.requirement("learned.no_values")
async def test_it_outlives_the_gateway_and_its_file_has_no_values(tmp_path: Path) -> None:
    with gateway(tmp_path, config(tmp_path)) as running:
        running.run(give(ISSUES))
        await until(tells(running, SHORT))
    with closing(sqlite3.connect(tmp_path / "state/mcproxy/store.db")) as file:
        kept = str(file.execute(LEARNED).fetchall())
    assert "json_text" in kept
    assert "labels" in kept
    for value in ("private", "Nobody", "alice", "example.com"):
        assert value not in kept
    environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "PATH": "/usr/bin:/bin"}
    subprocess.run(  # noqa: ASYNC221  nothing else runs here
        command("stubs", "--output", tmp_path / "written"),
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    assert "labels: NotRequired[list[str]]" in (tmp_path / "written/mcproxy_api.pyi").read_text()
    with gateway(tmp_path, config(tmp_path)) as running:
        await until(tells(running, SHORT))
        running.run(give(None))
        await until(tells(running, f"{SHORT}|None"))


@pytest.mark.requirement("learned.switch")
async def test_servers_and_namespaces_can_be_left_out(running: Running, tmp_path: Path) -> None:
    running.run(give([1], server="mute"))
    for namespace in ("quiet", "sub"):
        running.run(give(["secret"]), namespace=namespace)
    running.run(give([1]))
    await until(tells(running, "list[int]"))  # results are looked at one after another
    assert "->" not in str(shown(running, server="mute")["call"])
    changed = config(tmp_path)
    changed["servers"] = {"echo": {**echo(), "learn_results": False}, "mute": echo()}
    (tmp_path / "mcproxy.json").write_text(json.dumps(changed))
    await until(lambda: "->" not in str(shown(running)["call"]))
    running.run(give([1.5], server="mute"))
    await until(tells(running, "list[float]", server="mute"))
