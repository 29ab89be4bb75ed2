"""Nothing is done twice: scripts that die in every way there is are resumed, with a server that
counts what was done."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcproxy.types import JsonObject
from tests.e2e.gateways import SERVERS, Running, gateway

CALLS = 10
TIMEOUT_SECS = 2.0  # of one call; nothing waits for it but what hangs for ever


def config(file: Path) -> JsonObject:
    ledger: JsonObject = {
        "command": sys.executable,
        "args": [str(SERVERS / "ledger.py"), str(file)],
        "timeout_secs": TIMEOUT_SECS,
    }
    return {
        "servers": {"ledger": ledger},
        "namespaces": {"public": ["ledger"], "other": ["ledger"]},
        "auth": {"tokens": [{"name": "bob", "token": "bob's", "namespaces": ["other"]}]},
    }


@dataclass(frozen=True, slots=True)
class Ledger:
    """A gateway, and the file behind its server."""

    running: Running
    file: Path

    def entries(self) -> list[str]:
        return self.file.read_text().split() if self.file.exists() else []

    def trap(self, entry: str, how: str) -> None:
        self.file.with_name(self.file.name + ".trap").write_text(f"{entry} {how}")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    directory = tmp_path_factory.mktemp("ledger")
    with gateway(directory, config(directory / "ledger")) as running:
        yield Ledger(running, directory / "ledger")


@pytest.fixture
def ledger(shared: Ledger) -> Ledger:
    shared.file.unlink(missing_ok=True)
    return shared


SHAPES = {
    "sequential": "".join(
        f'done.append(await api.server("ledger").add(entry="e{n}"))\n' for n in range(CALLS)
    ),
    "blocking loop": (
        f'for n in range({CALLS}):\n    done.append(api.call_tool("ledger", "add", '
        '{"entry": f"e{n}"}))\n'
    ),
    "gathered": (
        'import asyncio\ncalls = [api.server("ledger").add(entry=f"e{n}") '
        f"for n in range({CALLS})]\ndone = await asyncio.gather(*calls)\n"
    ),
}


def script(shape: str, line: str = "") -> str:
    return f"done = []\n{SHAPES[shape]}{line}\n[one['added'] for one in done]"


DEATHS = {
    "raise": "1 / 0",
    "worker": "import os\nos._exit(3)",
    "memory": "x = bytearray(1 << 30)",
    "time": "while True: pass",
}


@pytest.mark.requirement("resume.replays")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("death", DEATHS)
def test_a_script_that_died_between_calls_does_nothing_twice(
    ledger: Ledger, shape: str, death: str
) -> None:
    limit = 1.5 if death == "time" else 20
    failed: Any = ledger.running.run(script(shape, DEATHS[death]), timeout_secs=limit)
    assert failed["status"] == "error"
    assert len(ledger.entries()) == CALLS
    done: Any = ledger.running.run(
        script(shape), resume=failed["execution"], session=failed["session"]
    )
    assert done["result"] == [f"e{n}" for n in range(CALLS)], done
    assert len(ledger.entries()) == CALLS
    (calls,) = done["calls"]
    assert (calls["count"], calls["replayed"]) == (CALLS, CALLS)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Ledger]:
    """One whose server may crash: a server that does so again and again is given up."""
    with gateway(tmp_path, config(tmp_path / "ledger")) as running:
        yield Ledger(running, tmp_path / "ledger")


TRAPS = ["crash_before", "crash_after", "hang_before", "hang_after", "error_before"]


@pytest.mark.requirement("resume.unknown")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", TRAPS)
@pytest.mark.parametrize("at", [0, 4, 9])
def test_a_call_whose_outcome_is_unknown_is_sent_again_on_demand_only(
    request: pytest.FixtureRequest, shape: str, how: str, at: int
) -> None:
    ledger: Ledger = request.getfixturevalue("fresh" if how.startswith("crash") else "ledger")
    ledger.trap(f"e{at}", how)
    failed: Any = ledger.running.run(script(shape))
    assert failed["status"] == "error"
    known = how == "error_before"
    outcomes = [call for call in failed["calls"] if "arguments" in call]
    assert f'"e{at}"' in str(outcomes)
    before = ledger.entries()
    session = failed["session"]
    again: Any = ledger.running.run(script(shape), resume=failed["execution"], session=session)
    for _ in range(CALLS):
        if again["status"] == "success":
            break
        assert not known
        assert again["error"]["type"] == "ToolError"
        assert "Nothing was sent now" in again["error"]["message"]
        if shape != "gathered":
            assert ledger.entries() == before
        way = "skip" if f"e{at}" in before else "retry"
        if shape == "gathered":  # a crash takes others with it, some of them done and some not
            way = "retry" if len(set(ledger.entries())) < CALLS else "skip"
            if way == "retry":
                return  # which of them were done is for whoever reads the ledger to say
        again = ledger.running.run(
            script(shape).replace("one['added']", "one and one['added']"),
            resume=again["execution"],
            session=session,
            resume_unknown=way,
        )
    assert again["status"] == "success", again
    entries = ledger.entries()
    assert sorted(entries) == [f"e{n}" for n in range(CALLS)]


@pytest.mark.requirement("resume.edited")
def test_an_edited_script_goes_on_where_it_can(ledger: Ledger) -> None:
    add = 'api.server("ledger").add(entry="{}")\n'.format
    failed: Any = ledger.running.run(add("a") + add("a") + add("b") + "wrong")
    session = failed["session"]
    again: Any = ledger.running.run(
        add("b") + add("a") + add("c") + add("a") + add("a") + "wrong",
        resume=failed["execution"],
        session=session,
    )
    assert ledger.entries() == ["a", "a", "b", "c", "a"]
    # A resumed run can be resumed, also for what it did not come to itself.
    first: Any = ledger.running.run("wrong", resume=again["execution"], session=session)
    last: Any = ledger.running.run(
        add("c") + add("b") + add("a") * 3 + "1", resume=first["execution"], session=session
    )
    assert last["result"] == 1
    assert len(ledger.entries()) == 5


@pytest.mark.requirement("resume.whose")
def test_a_record_is_its_owners_alone(ledger: Ledger) -> None:
    failed: Any = ledger.running.run('api.server("ledger").add(entry="mine")\n1 / 0')
    execution, session = failed["execution"], failed["session"]
    unknown = ledger.running.run("1", session="no such handle")["fault"]
    assert "unknown session" in str(unknown)
    for other in ({"namespace": "other"},):
        assert ledger.running.run("1", session=session, resume=execution, **other) == {
            "fault": unknown
        }
    bearer = {"Authorization": "Bearer bob's"}
    body: JsonObject = {"code": "1", "session": session, "resume": execution}
    request: JsonObject = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "execute", "arguments": body},
    }
    reply = ledger.running.post(request, **bearer).json()
    assert reply["result"]["content"][0]["text"] == unknown
    made: Any = ledger.running.run("1", session="new")
    known = ledger.running.run("1", session=made["session"], resume=execution)["fault"]
    assert "no record of execution" in str(known)
    assert "none" in str(known)


@pytest.mark.requirement("resume.running")
def test_a_run_that_goes_on_cannot_be_resumed(ledger: Ledger) -> None:
    session: Any = ledger.running.run("1", session="new")["session"]
    ledger.trap("first", "hang_after")
    hanging = threading.Thread(
        target=ledger.running.run,
        args=('api.server("ledger").add(entry="first")',),
        kwargs={"session": session},
    )
    hanging.start()
    while not ledger.entries():
        pass
    listed = str(ledger.running.run("1", session=session, resume="nothing")["fault"])
    execution = listed.rpartition(": ")[2].strip("'.")
    refused = ledger.running.run("1", session=session, resume=execution)["fault"]
    assert "still running" in str(refused)
    hanging.join()
    assert ledger.running.run("1", session=session, resume=execution)["result"] == 1


@pytest.mark.requirement("resume.gateway_killed")
@pytest.mark.parametrize("how", ["hang_before", "hang_after"])
@pytest.mark.parametrize("at", [0, 5])
def test_a_killed_gateway_leaves_its_record(tmp_path: Path, how: str, at: int) -> None:
    file = tmp_path / "ledger"
    code = script("sequential")
    with gateway(tmp_path, config(file), stop=signal.SIGKILL, ends=None) as running:
        ledger = Ledger(running, file)
        session: Any = running.run("1", session="new")["session"]
        ledger.trap(f"e{at}", how)
        trap = file.with_name(file.name + ".trap")

        def lost() -> None:
            with pytest.raises(Exception):  # noqa: B017, PT011  # whatever a killed peer causes
                running.run(code, session=session)

        calling = threading.Thread(target=lost)
        calling.start()
        while trap.exists():
            pass
        os.kill(running.process.pid, signal.SIGKILL)
        calling.join()
    before = ledger.entries()
    assert len(before) == at + (how == "hang_after")
    with gateway(tmp_path, config(file)) as running:
        listed = str(running.run("1", session=session, resume="nothing")["fault"])
        execution = listed.rpartition(": ")[2].strip("'.")
        refused: Any = running.run(code, session=session, resume=execution)
        assert "Nothing was sent now" in refused["error"]["message"]
        assert Ledger(running, file).entries() == before
        done: Any = running.run(
            code.replace("one['added']", "one and one['added']"),
            session=session,
            resume=refused["execution"],
            resume_unknown="skip" if how == "hang_after" else "retry",
        )
        assert len(done["result"]) == CALLS
        assert sorted(Ledger(running, file).entries()) == [f"e{n}" for n in range(CALLS)]


@pytest.mark.requirement("store.two_gateways")
def test_another_gateway_with_the_same_state_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    (tmp_path / "second").mkdir()
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with (
        gateway(tmp_path, config(file)) as first,
        gateway(tmp_path / "second", config(file), environment=state) as second,
    ):
        failed: Any = first.run(script("sequential", "1 / 0"))
        done: Any = second.run(
            script("sequential"), resume=failed["execution"], session=failed["session"]
        )
        assert done["result"] == [f"e{n}" for n in range(CALLS)]
    assert len(Ledger(second, file).entries()) == CALLS
