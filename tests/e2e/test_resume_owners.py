"""Whose a record is, what stands in the way of going on from it, and gateways that are killed."""

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcproxy.types import JsonObject
from tests.e2e.gateways import PATIENT, Running, gateway
from tests.e2e.ledgers import (
    ENTRIES,
    VALUE,
    Ledger,
    completed,
    config,
    end,
    meanwhile,
    script,
    until,
)
from tests.preloaded.program import command

ADD = 'api.server("ledger").add(entry="{}")\n'.format


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    directory = tmp_path_factory.mktemp("ledger")
    with gateway(directory, config(directory)) as running:
        yield Ledger(running, directory)


@pytest.fixture
def ledger(shared: Ledger) -> Ledger:
    shared.file.unlink(missing_ok=True)
    return shared


@pytest.mark.requirement("resume.whose")
def test_a_record_is_its_owners_alone(ledger: Ledger) -> None:
    failed: Any = ledger.running.run(ADD("mine") + "1 / 0")
    execution, session = failed["execution"], failed["session"]
    unknown = ledger.running.run("1", session="no such handle")["fault"]
    assert "unknown session" in str(unknown)
    theirs = {"session": session, "resume": execution}
    assert ledger.running.run("1", namespace="other", **theirs) == {"fault": unknown}
    request: JsonObject = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "execute", "arguments": {"code": "1", **theirs}},
    }
    reply = ledger.running.post(request, Authorization="Bearer bob's").json()
    assert reply["result"]["content"][0]["text"] == unknown
    known = ledger.running.run("1", session=ledger.session(), resume=execution)["fault"]
    assert "no record of execution" in str(known)
    assert "none" in str(known)


@pytest.mark.requirement("resume.running")
def test_a_run_that_goes_on_cannot_be_resumed(ledger: Ledger, tmp_path: Path) -> None:
    session = ledger.session()
    ledger.trap("first", "hang_after")
    state = {"XDG_STATE_HOME": str(ledger.directory / "state")}
    with (
        gateway(tmp_path, config(ledger.directory), environment=state) as beside,
        meanwhile(partial(ledger.running.run, ADD("first"), session=session)),
    ):
        ledger.sprung()
        execution = ledger.last_execution(session)
        for running in (ledger.running, beside):
            refused = running.run("1", session=session, resume=execution)["fault"]
            assert "still running" in str(refused)
    assert ledger.running.run("1", session=session, resume=execution)["result"] == 1


def over_http(ledger: Ledger, mode: str) -> Client:
    return Client(str(ledger.running.http.base_url.join("/mcp")), mode=mode)


def over_stdio(ledger: Ledger, mode: str) -> Client:
    """A process of its own, on the same state."""
    file = ledger.directory / "stdio.json"
    file.write_text(json.dumps({**config(ledger.directory), "manifests": PATIENT}))
    program, *arguments = command("--stdio", "--config", file)
    state = {"XDG_STATE_HOME": str(ledger.directory / "state")}
    server = StdioServerParameters(command=program, args=arguments, env=state)
    return Client(stdio_client(server), mode=mode)


async def executed(client: Client, code: str, **arguments: str) -> Mapping[str, Any]:
    done = await client.call_tool("execute", {"code": code, **arguments})
    return done.structured_content or {"fault": str(done.content[0])}


@pytest.mark.requirement("resume.whose")
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
@pytest.mark.parametrize("connected", [over_http, over_stdio])
async def test_a_connection_goes_on_from_its_own_runs(
    ledger: Ledger, connected: Callable[[Ledger, str], Client], mode: str
) -> None:
    async with connected(ledger, mode) as client, connected(ledger, mode) as other:
        failed = await executed(client, script("gathered") + "1 / 0")
        handle = {"session": failed["session"]} if "session" in failed else {}
        assert bool(handle) == (mode != "legacy" and connected is over_http)
        resume = {"resume": failed["execution"]}
        assert "no record" in (await executed(other, "1", **resume))["fault"]
        done = await executed(client, script("gathered") + VALUE, **resume, **handle)
    assert done["result"] == ENTRIES
    assert sorted(ledger.entries()) == ENTRIES


@pytest.mark.requirement("resume.forbidden")
def test_what_the_rules_now_forbid_is_not_gone_on_from(tmp_path: Path) -> None:
    """Neither what is done is told again, nor is anything sent."""
    before = config(tmp_path, "ledger", "second")
    with gateway(tmp_path, before) as running:
        ledger = Ledger(running, tmp_path)
        failed: Any = running.run(ADD("once") + "1 / 0")
        session, resume = failed["session"], failed["execution"]
        call: Any = {"code": ADD("once") + ADD("twice"), "session": session, "resume": resume}
        without: JsonObject = {"public": ["second"], "other": ["ledger"]}
        rule: JsonObject = {"servers": ["ledger", "second"], "tools": {"add": "deny"}}
        for namespaces, left in ((without, []), ({**without, "public": rule}, ["read"])):
            _reloaded(ledger, {**before, "namespaces": namespaces}, left)
            for code in (call["code"], "1"):
                fault = str(running.run(**{**call, "code": code})["fault"])
                assert "ledger.add, which this namespace does not have now; nothing" in fault
        assert ledger.entries() == ["once"]
        _reloaded(ledger, before, ["add", "read"])
        running.run(**call)
        assert ledger.entries() == ["once", "twice"]


def _reloaded(ledger: Ledger, document: JsonObject, tools: list[str]) -> None:
    """Change the configuration; return once a script sees these tools of the ledger."""
    file = ledger.directory / "mcproxy.json"
    file.write_text(json.dumps({**document, "manifests": PATIENT}))
    seen = "api.manifest()['servers'].get('ledger', {}).get('tools', [])"
    until(lambda: ledger.running.run(seen)["result"] == tools)


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A gateway beside which others, on the same state, are killed."""
    directory = tmp_path_factory.mktemp("survivor")
    with gateway(directory, config(directory)) as running:
        yield Ledger(running, directory)


# A call that hangs says where the gateway is killed; without one it is where it happens to be.
KILLS = [
    ("in a row", 0, "hang_before"),
    ("in a loop", 5, "hang_after"),
    ("gathered", 9, "hang_after"),
    ("in a row", 2, ""),
    ("in a loop", 7, ""),
]


@pytest.mark.requirement("resume.gateway_killed")
@pytest.mark.requirement("store.two_gateways")
@pytest.mark.parametrize(("shape", "at", "how"), KILLS)
def test_another_gateway_goes_on_where_one_was_killed(
    survivor: Ledger, tmp_path: Path, shape: str, at: int, how: str
) -> None:
    survivor.file.unlink(missing_ok=True)
    session = survivor.session()
    state = {"XDG_STATE_HOME": str(survivor.directory / "state")}
    own = config(survivor.directory)
    with gateway(tmp_path, own, environment=state, stop=signal.SIGKILL, ends=None) as running:
        killed = Ledger(running, survivor.directory)
        if how:
            killed.trap(f"e{at}", how)
        with meanwhile(partial(_lost, running, script(shape), session)):
            until(lambda: len(killed.entries()) >= at)
            if how:
                killed.sprung()
            end(running.guardian.children()[:1])  # not its guardian
    execution = survivor.last_execution(session)
    until(lambda: _is_resumable(survivor.running, session, execution))
    before = survivor.entries()
    again: Any = survivor.running.run(script(shape) + VALUE, session=session, resume=execution)
    if how or again["status"] == "error":
        assert "Nothing was sent now" in again["error"]["message"]
        if shape != "gathered":
            assert survivor.entries() == before
        code = script(shape) + completed("ledger")
        resume = {"session": session, "resume": again["execution"], "resume_unknown": "skip"}
        again = survivor.running.run(code, **resume)
    assert again["result"] == ENTRIES, again
    assert sorted(survivor.entries()) == ENTRIES


def _lost(running: Running, code: str, session: str) -> None:
    with pytest.raises(httpx.TransportError):
        running.run(code, session=session)


def _is_resumable(running: Running, session: str, execution: str) -> bool:
    fault = running.run("1", session=session, resume=execution).get("fault")
    return "still running" not in str(fault)
