"""Nothing is done twice: scripts that die in every way there is are resumed, with servers that
count what was done."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest

from tests.e2e.gateways import gateway
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

LIMIT_SECS = 1.0  # of a script that is to run into its limit; less than a call that hangs
BETWEEN = {
    "raise": "1 / 0",
    "worker ends": "import os; os._exit(3)",
    "memory": "x = bytearray(1 << 30)",
    "time": "while True: pass",
}


@dataclass(frozen=True, slots=True)
class Death:
    """How a script of ten calls dies: at the call ``at``, of this shape. ``trap`` is what becomes
    of that call; ``unknown``: whether it can be known."""

    way: str
    shape: str
    at: int
    trap: str = ""
    unknown: bool = False

    def __str__(self) -> str:
        return f"{self.way}, {self.shape}, {self.at}"


DEATHS = [
    # before a call, and after the last
    Death("raise", "in a row", 1),
    Death("raise", "in a loop", 10),
    Death("raise", "gathered", 5),
    Death("worker ends", "in a loop", 1),
    Death("worker ends", "in a row", 10),
    Death("worker ends", "gathered", 9),
    Death("memory", "in a row", 4),
    Death("memory", "gathered", 10),
    Death("time", "in a loop", 7),
    Death("time", "gathered", 3),
    # during a call
    Death("tool fails", "in a row", 9, "error_before"),
    Death("tool fails", "in a loop", 0, "error_before"),
    Death("tool fails", "gathered", 4, "error_before"),
    Death("call's limit", "in a row", 2, "hang_before", unknown=True),
    Death("call's limit", "in a loop", 6, "hang_after", unknown=True),
    Death("call's limit", "gathered", 8, "hang_after", unknown=True),
    Death("script's limit", "in a row", 8, "hang_after", unknown=True),
    Death("script's limit", "in a loop", 3, "hang_before", unknown=True),
    Death("script's limit", "gathered", 0, "hang_before", unknown=True),
    Death("server dies", "in a row", 0, "crash_after", unknown=True),
    Death("server dies", "in a loop", 9, "crash_before", unknown=True),
    Death("server dies", "in a row", 5, "crash_before", unknown=True),
    Death("server dies", "gathered", 5, "crash_after", unknown=True),
    Death("worker killed", "in a loop", 4, "hang_after", unknown=True),
    Death("worker killed", "in a row", 7, "hang_before", unknown=True),
    Death("worker killed", "gathered", 2, "hang_before", unknown=True),
    Death("zygote killed", "in a row", 1, "hang_before", unknown=True),
    Death("zygote killed", "in a loop", 8, "hang_after", unknown=True),
    Death("zygote killed", "gathered", 6, "hang_after", unknown=True),
    Death("client gone", "in a row", 3, "hang_after", unknown=True),
    Death("client gone", "in a loop", 5, "hang_before", unknown=True),
    Death("client gone", "gathered", 9, "hang_before", unknown=True),
]
CRASHES = [f"crash{n}" for n in range(sum(death.way == "server dies" for death in DEATHS))]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Ledger]]:
    """The ledgers of one gateway, by name; one that dies has a name of its own, since a server that
    does so again and again is given up."""
    directory = tmp_path_factory.mktemp("ledger")
    with gateway(directory, config(directory, "ledger", *CRASHES)) as running:
        yield partial(Ledger, running, directory)


@pytest.fixture
def ledger(shared: Callable[[str], Ledger], request: pytest.FixtureRequest) -> Ledger:
    death = request.node.callspec.params["death"]
    dying = [each for each in DEATHS if each.way == "server dies"]
    one = shared(CRASHES[dying.index(death)] if death in dying else "ledger")
    one.file.unlink(missing_ok=True)
    return one


def died(ledger: Ledger, death: Death, session: str) -> str:
    """Run a script that dies so; gives its execution."""
    if death.trap:
        ledger.trap(f"e{death.at}", death.trap)
    between = BETWEEN.get(death.way)
    code = script(death.shape, ledger.name, death.at if between else -1, between or "pass")
    limit = LIMIT_SECS if death.way in ("time", "script's limit") else 20
    if death.way == "client gone":
        arguments = {"code": code, "session": session}
        params = {"name": "execute", "arguments": arguments}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        url = ledger.running.http.base_url.join("/message")
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, json=body, timeout=LIMIT_SECS, trust_env=False)
        ledger.sprung()
        execution = ledger.last_execution(session)
        until(lambda: "still running" not in str(resumed(ledger, "1", execution, session)))
        return execution
    run = partial(ledger.running.run, code, session=session, timeout_secs=limit)
    with meanwhile(run) as running:
        if death.way.endswith(" killed"):
            ledger.sprung()
            end(ledger.descendants(of_zygotes=death.way == "worker killed"))
    failed: Any = running.result()
    assert failed["status"] == "error", failed
    return str(failed["execution"])


def resumed(ledger: Ledger, code: str, execution: str, session: str, **more: str) -> Any:
    """Resume it, once the sandbox has come back where that was killed."""
    replies: list[Any] = []

    def is_answered() -> bool:
        replies.append(ledger.running.run(code, session=session, resume=execution, **more))
        error = replies[-1].get("error") or {}
        return not (error.get("type") == "SandboxError" and error["retryable"])

    until(is_answered)
    return replies[-1]


@pytest.mark.requirement("resume.replays")
@pytest.mark.requirement("resume.unknown")
@pytest.mark.parametrize("death", DEATHS, ids=str)
def test_a_script_that_died_is_resumed_and_nothing_is_done_twice(
    ledger: Ledger, death: Death
) -> None:
    session = ledger.session()
    execution = died(ledger, death, session)
    before = ledger.entries()
    edited = script(death.shape, ledger.name) + f"'edited', {VALUE}"
    again = resumed(ledger, edited, execution, session)
    assert (again["status"] == "error") == death.unknown, again
    if not death.unknown:
        assert again["result"] == ["edited", ENTRIES]
    else:
        assert again["error"]["type"] == "ToolError", again
        assert "Nothing was sent now" in again["error"]["message"]
        if death.shape != "gathered":
            assert ledger.entries() == before
        looked = script(death.shape, ledger.name) + completed(ledger.name)
        last = resumed(ledger, looked, again["execution"], session, resume_unknown="skip")
        assert last["result"] == ENTRIES, last
    assert sorted(ledger.entries()) == ENTRIES


@pytest.mark.requirement("resume.edited")
def test_an_edited_script_goes_on_where_it_can(shared: Callable[[str], Ledger]) -> None:
    ledger = shared("ledger")
    ledger.file.unlink(missing_ok=True)
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
