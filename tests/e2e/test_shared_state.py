"""Gateways that share a store: what one keeps, allows or counts, the others know; what happens when
the store is away."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import PATIENT, SERVERS, Running, echo, gateway
from tests.preloaded.program import command
from tests.shared_state import NEEDED, StateServer, state_server

pytestmark = NEEDED

PER_MINUTE = 4  # of which one may come at once


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateServer]:
    yield from state_server(tmp_path / "store")


def configuration(store: StateServer, directory: Path) -> JsonObject:
    ledger: JsonObject = {
        "command": sys.executable,
        "args": [str(SERVERS / "ledger.py"), str(directory / "ledger")],
    }
    namespaces: JsonObject = {
        "public": ["echo", "ledger"],
        "slow": {"servers": ["echo"], "rate_limit": {"requests_per_minute": PER_MINUTE}},
        "asked": {"servers": ["echo"], "tools": {"echo": "ask"}, "mode": "both"},
        "plain": {"servers": ["echo"], "mode": "both"},
    }
    return {
        "servers": {"echo": echo(), "ledger": ledger},
        "namespaces": namespaces,
        "state": {"url": store.url},
        "manifests": PATIENT,
    }


@pytest.fixture
def both(tmp_path: Path, store: StateServer) -> Iterator[tuple[Running, Running]]:
    """Two gateways as two machines have them: each with a state directory of its own."""
    with ExitStack() as opened:
        running: list[Running] = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            running.append(
                opened.enter_context(gateway(folder, configuration(store, tmp_path), "--log"))
            )
        yield running[0], running[1]


@pytest.mark.requirement("state.shared")
def test_what_a_script_left_at_one_gateway_is_there_at_the_other(
    both: tuple[Running, Running],
) -> None:
    one, two = both
    first: Any = one.run('api.stash["rows"] = [1, 2]\n"x" * 100_000', session="new")
    session, ref = first["session"], first["truncated"]["ref"]
    read = two.run(f'[api.stash["rows"], len(api.result("{ref}"))]', session=session)
    assert read["result"] == [[1, 2], 100_000]
    failed: Any = two.run('api.server("ledger").add(entry="e1")\n1 / 0', session=session)
    code = 'api.server("ledger").add(entry="e1")'
    resumed: Any = one.run(code, session=session, resume=failed["execution"])
    assert [call["replayed"] for call in resumed["calls"]] == [True]


@pytest.mark.requirement("state.limits_together")
def test_calls_at_two_gateways_count_together(both: tuple[Running, Running]) -> None:
    code = 'api.server("echo").echo(text="x")'
    codes = [
        gateway.call("tools/call", {"name": "execute", "arguments": {"code": code}}, "/mcp/slow")
        for gateway in (*both, *both)
    ]
    refused = ["allows 4 calls a minute" in json.dumps(one) for one in codes]
    assert refused == [False, True, True, True]


@pytest.mark.requirement("state.shared")
def test_what_a_person_approves_counts_at_every_gateway(
    both: tuple[Running, Running], tmp_path: Path
) -> None:
    one, two = both
    call: JsonObject = {"name": "echo__echo", "arguments": {"text": "x"}}
    asked = json.dumps(one.call("tools/call", call, "/mcp/asked"))
    id_ = re.search(r"It waits as (\w+)", asked)
    assert id_, asked
    config = str(tmp_path / "two/mcproxy.json")
    done = subprocess.run(
        command("approvals", "approve", id_[1], "--config", config),
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "elsewhere")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    allowed: Json = two.call("tools/call", call, "/mcp/asked")
    assert isinstance(allowed, dict)
    assert not allowed.get("isError"), allowed
    again = json.dumps(one.call("tools/call", call, "/mcp/asked"))
    assert "needs a person's approval" in again


@pytest.mark.requirement("state.fails_closed")
def test_without_the_store_what_needs_it_is_refused_and_the_rest_goes_on(
    both: tuple[Running, Running], store: StateServer, tmp_path: Path
) -> None:
    one, _ = both
    plain: JsonObject = {"name": "echo__echo", "arguments": {"text": "x"}}
    add = 'api.server("ledger").add(entry="{}")'
    caught = "try:\n    {}\nexcept ToolError as e:\n    r = e.code\nr"
    assert "error" not in one.run(add.format("e1"))
    store.stop()
    refused: Any = one.run(caught.format(add.format("e2")))
    assert refused["result"] == "state_unavailable"
    assert (tmp_path / "ledger").read_text().split() == ["e1"]
    result: Any = one.call("tools/call", plain, "/mcp/plain")
    assert not result.get("isError"), result
    cut: Any = one.run('"x" * 100_000')
    assert "nothing of this reply is kept" in json.dumps(cut)
    assert "ref" not in cut["truncated"]
    store.start()
    assert "error" not in one.run(add.format("e3"))
    assert (tmp_path / "ledger").read_text().split() == ["e1", "e3"]


@pytest.mark.requirement("state.fails_closed")
def test_a_gateway_without_its_store_does_not_start(store: StateServer, tmp_path: Path) -> None:
    store.stop()
    (tmp_path / "mcproxy.json").write_text(json.dumps(configuration(store, tmp_path)))
    done = subprocess.run(
        command("--port", "0"),
        cwd=tmp_path,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "cannot reach the state that it shares with others" in done.stderr
    assert "Traceback" not in done.stderr
