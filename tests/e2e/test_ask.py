"""Calls that a person is asked for, through the client in both eras, or with ``mcproxy approvals``.
The server writes down what reaches it."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from mcproxy.types import JsonObject
from tests.e2e.gateways import NO_WALLS, Running, gateway
from tests.e2e.shelves import Shelf, a_tool
from tests.e2e.test_direct import Mode, both_eras, text
from tests.preloaded.program import command

BOUND_SECS = 30.0
SECRET = "canary-5f0e2b7a9c"
RULES: JsonObject = {"servers": ["hub"], "tools": {"drop*": "ask"}, "mode": "both"}
TOOLS = [a_tool("read", annotations={"readOnlyHint": True}), a_tool("drop")]


class Person:
    """Whoever sits at the client: gives the answers in turn, then declines."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []
        self._open = 0

    async def elicit(self, context: object, params: Any) -> types.ElicitResult:
        self._open += 1
        assert self._open == 1, "two questions at once"
        self.questions.append(params.message)
        await asyncio.sleep(0)
        self._open -= 1
        answer = self.answers.pop(0) if self.answers else "decline"
        content: Any = {} if answer == "once" else {"for_session": True}  # where no is said, too
        action: Any = "accept" if answer in ("once", "session") else answer
        return types.ElicitResult(action=action, content=content)


def configuration(hub: Shelf, *, scripts: bool = True) -> JsonObject:
    """Where no scripts run, none of their walls are built."""
    return {
        "servers": {"hub": hub.definition(env={"KEY": "${KEY}"})},
        "namespaces": {"public": RULES},
        "sandbox": {"min_level": "none"} if scripts else NO_WALLS,
        "manifests": {"startup_dwell_secs": 30},
        "audit": {"file": "audit.log"},
    }


@asynccontextmanager
async def client(
    directory: Path, mode: Mode, person: Person | None, *, scripts: bool = True
) -> AsyncIterator[Client]:
    hub = Shelf(directory)
    hub.write(TOOLS)
    config = directory / "mcproxy.json"
    config.write_text(json.dumps(configuration(hub, scripts=scripts)))
    program, *arguments = command("--stdio", "--config", config)
    parameters = StdioServerParameters(
        command=program,
        args=arguments,
        env={"XDG_STATE_HOME": str(directory / "state"), "KEY": SECRET},
    )
    async with Client(
        stdio_client(parameters),
        mode=mode,
        elicitation_callback=person.elicit if person else None,
        cache=None,
    ) as connected:
        yield connected


async def run(connected: Client, code: str, **more: Any) -> Any:
    done = await connected.call_tool("execute", {"code": code, **more})
    return done.structured_content


def decisions(directory: Path) -> list[str]:
    lines = map(json.loads, (directory / "audit.log").read_text().splitlines())
    return [line["outcome"] for line in lines if line["event"] == "decision"]


@pytest.mark.requirement("ask.client")
@both_eras
async def test_a_direct_call_waits_for_the_answer(tmp_path: Path, mode: Mode) -> None:
    person = Person("once", "decline")
    async with client(tmp_path, mode, person, scripts=False) as connected:
        done = await connected.call_tool("hub__drop", {"rows": 3, "key": SECRET})
        assert text(done) == "did drop"
        refused = await connected.call_tool("hub__drop", {"rows": 3, "key": SECRET})
        assert refused.is_error
        assert "declined" in text(refused)
        assert text(await connected.call_tool("hub__read", {})) == "did read"
    asked = Shelf(tmp_path).asked()
    assert asked == [("drop", {"rows": 3, "key": SECRET}), ("read", {})]
    for said in person.questions:
        assert "server: hub\ntool: drop\n" in said
        assert '"rows": 3' in said
        assert 'namespaces.public.tools["drop*"]' in said
        assert SECRET not in said
        assert "[masked]" in said
    assert decisions(tmp_path) == ["once", "declined"]


@pytest.mark.requirement("ask.scripts")
@both_eras
async def test_calls_of_a_script_are_asked_one_by_one(tmp_path: Path, mode: Mode) -> None:
    code = """
async def one(n):
    try:
        return await api.server("hub").drop(n=n)
    except ToolError as error:
        return error.code
import asyncio
await asyncio.gather(*[one(n) for n in range(4)], api.server("hub").read())
"""
    person = Person("once", "decline", "once")
    async with client(tmp_path, mode, person) as connected:
        done = await run(connected, code)
    assert done["result"] == ["did drop", "declined", "did drop", "declined", "did read"], done
    sent = [arguments for name, arguments in Shelf(tmp_path).asked() if name == "drop"]
    assert sent == [{"n": 0}, {"n": 2}]
    assert [f'"n": {n}' in said for n, said in enumerate(person.questions)] == [True] * 4


@pytest.mark.requirement("ask.clocks")
async def test_clocks_stand_still_while_a_person_thinks(tmp_path: Path) -> None:
    class Slow(Person):
        async def elicit(self, context: object, params: Any) -> types.ElicitResult:
            await asyncio.sleep(1.5)  # longer than the script may take
            return await super().elicit(context, params)

    async with client(tmp_path, "legacy", Slow("once")) as connected:
        done = await run(connected, 'api.server("hub").drop()', timeout_secs=1)
    assert done["result"] == "did drop", done


@pytest.mark.requirement("ask.session")
async def test_an_answer_for_the_session_holds_for_exactly_this_call(tmp_path: Path) -> None:
    person = Person("session", "once")
    async with client(tmp_path, "legacy", person) as connected:
        for _ in range(3):
            assert text(await connected.call_tool("hub__drop", {"a": 1, "b": [2]})) == "did drop"
        done = await run(connected, 'api.server("hub").drop(b=[2], a=1)')
        assert done["result"] == "did drop"
        assert len(person.questions) == 1
        assert text(await connected.call_tool("hub__drop", {"a": 1, "b": [3]})) == "did drop"
        assert (await connected.call_tool("hub__drop", {"a": 1, "b": [3]})).is_error
    assert len(person.questions) == 3
    assert decisions(tmp_path) == ["session", *["granted"] * 3, "once", "declined"]


@pytest.mark.requirement("ask.approvals")
@both_eras
async def test_a_client_that_cannot_ask_is_told_how_to_go_on(tmp_path: Path, mode: Mode) -> None:
    async with client(tmp_path, mode, None, scripts=False) as connected:
        refused = await connected.call_tool("hub__drop", {"a": 1})
        assert refused.is_error
        (waiting,) = approvals(tmp_path)["waiting"]
        assert f"mcproxy approvals approve {waiting['id']}" in text(refused)
        assert text(await connected.call_tool("hub__drop", {"a": 1})) == text(refused)
        assert len(approvals(tmp_path)["waiting"]) == 1
        approvals(tmp_path, "approve", waiting["id"])
        assert (await connected.call_tool("hub__drop", {"a": 2})).is_error
        assert text(await connected.call_tool("hub__drop", {"a": 1})) == "did drop"
        assert (await connected.call_tool("hub__drop", {"a": 1})).is_error
    assert Shelf(tmp_path).asked() == [("drop", {"a": 1})]


class Absent(Person):
    """A person who has gone: nobody answers."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def elicit(self, context: object, params: Any) -> types.ElicitResult:
        self.questions.append(params.message)
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


Call = tuple[str, dict[str, Any]]
DIRECT: Call = ("hub__drop", {"n": 1})
SCRIPTED: Call = ("execute", {"code": 'api.server("hub").drop(n=1)'})
each_way = pytest.mark.parametrize("call", [DIRECT, SCRIPTED], ids=["direct", "script"])


@pytest.mark.requirement("ask.unanswered")
@both_eras
@each_way
async def test_a_client_that_goes_away_has_said_nothing(
    tmp_path: Path, mode: Mode, call: Call
) -> None:
    person = Absent()
    async with client(tmp_path, mode, person, scripts=call is SCRIPTED) as connected:
        calling = asyncio.ensure_future(connected.call_tool(*call))
        async with asyncio.timeout(BOUND_SECS):
            await person.asked.wait()
        calling.cancel()
        await asyncio.wait([calling], timeout=BOUND_SECS)
        assert calling.cancelled()
        assert text(await connected.call_tool("hub__read", {})) == "did read"
    assert Shelf(tmp_path).asked() == [("read", {})]
    assert approvals(tmp_path)["waiting"] == []


@pytest.mark.requirement("ask.unanswered")
@both_eras
@each_way
async def test_whatever_is_no_yes_is_a_no(tmp_path: Path, mode: Mode, call: Call) -> None:
    person = Person("decline", "decline", "cancel", "cancel")
    async with client(tmp_path, mode, person, scripts=call is SCRIPTED) as connected:
        while person.answers:
            done = await connected.call_tool(*call)
            assert "declined" in (text(done) or str(done.structured_content))
    assert Shelf(tmp_path).asked() == []


@pytest.mark.requirement("ask.unanswered")
@each_way
async def test_a_client_that_answers_with_an_error_waits_for_an_approval(
    tmp_path: Path, call: Call
) -> None:
    class Failing(Person):
        async def elicit(self, context: object, params: Any) -> Any:
            return types.ErrorData(code=-1, message="the dialog failed")

    async with client(tmp_path, "legacy", Failing(), scripts=call is SCRIPTED) as connected:
        done = await connected.call_tool(*call)
        assert "mcproxy approvals approve" in (text(done) + str(done.structured_content))
    assert Shelf(tmp_path).asked() == []
    assert len(approvals(tmp_path)["waiting"]) == 1


@pytest.mark.requirement("ask.scripts")
async def test_a_clients_own_calls_are_asked_one_at_a_time_and_in_order(tmp_path: Path) -> None:
    person = Person(*["once"] * 4)
    async with client(tmp_path, "legacy", person, scripts=False) as connected:
        calls = (connected.call_tool("hub__drop", {"n": n}) for n in range(4))
        assert [text(done) for done in await asyncio.gather(*calls)] == ["did drop"] * 4
    assert [f'"n": {n}' in said for n, said in enumerate(person.questions)] == [True] * 4


@pytest.mark.requirement("ask.session")
async def test_a_call_without_a_session_is_answered_once(site: tuple[Running, Shelf]) -> None:
    """Nothing tells it from the next client's: more is not offered, and more is not had."""
    person = Person("session", "session", "session", "once")
    way = streamable_http_client(str(site[0].http.base_url.join("/mcp")))
    async with Client(
        way, mode="2026-07-28", elicitation_callback=person.elicit, cache=None
    ) as connected:
        for _ in range(2):
            assert text(await connected.call_tool("hub__drop", {"n": 1})) == "did drop"
        assert len(person.questions) == 2
        assert all("holds for this one call" in said for said in person.questions)
        begun = await run(connected, "1", session="new")
        for _ in range(2):
            done = await run(connected, 'api.server("hub").drop(n=1)', session=begun["session"])
            assert done["result"] == "did drop"
        assert len(person.questions) == 3, "the handle is a session"
        assert "holds for this one call" not in person.questions[2]
        assert text(await connected.call_tool("hub__drop", {"n": 1})) == "did drop"
    assert len(person.questions) == 4


FORGED = """
import json, os, struct
def frame(id_, n):
    body = {"t": "call", "id": id_, "server": "hub", "tool": "drop", "args": {"n": n}}
    text = json.dumps(body).encode()
    os.write(3, struct.pack("<I", len(text)) + text)
def exactly(size):
    data = b""
    while len(data) < size:
        data += os.read(3, size - len(data))
    return data
def reply():
    (size,) = struct.unpack("<I", exactly(4))
    return json.loads(exactly(size))
for id_, n in ((9001, 1), (9001, 2), (9002, 1)):  # one number twice, one call twice
    frame(id_, n)
sorted(each["error"]["code"] if "error" in each else "sent" for each in (reply(), reply(), reply()))
"""


@pytest.mark.requirement("ask.scripts")
async def test_frames_that_a_script_forges_are_calls_like_any_other(tmp_path: Path) -> None:
    """One that comes while the answer to another is awaited changes nothing of it."""
    person = Person("once", "decline", "decline")
    async with client(tmp_path, "legacy", person) as connected:
        done = await run(connected, FORGED)
        assert done["result"] == ["declined", "declined", "sent"], done
    asked = 1 if '"n": 1' in person.questions[0] else 2
    assert Shelf(tmp_path).asked() == [("drop", {"n": asked})]


@pytest.mark.requirement("ask.scripts")
async def test_arguments_that_change_after_the_call_are_not_sent(tmp_path: Path) -> None:
    code = """
import asyncio
rows = [1]
waiting = asyncio.create_task(api.call_tool("hub", "drop", {"rows": rows}))
await asyncio.sleep(0.05)
rows.append(2)
await waiting
"""
    person = Person("once")
    async with client(tmp_path, "legacy", person) as connected:
        assert (await run(connected, code))["result"] == "did drop"
    assert Shelf(tmp_path).asked() == [("drop", {"rows": [1]})]
    assert '"rows": [1]' in person.questions[0]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Running, Shelf]]:
    hub = Shelf(tmp_path)
    hub.write(TOOLS)
    with gateway(tmp_path, configuration(hub), environment={"KEY": SECRET}) as running:
        yield running, hub


@pytest.mark.requirement("ask.resume")
def test_a_resumed_script_goes_on_once_approved(site: tuple[Running, Shelf]) -> None:
    running, hub = site
    code = """
first = api.server("hub").read(n=1)
second = api.server("hub").drop(n=2)
[first, second]
"""
    failed: Any = running.run(code)
    assert failed["error"]["type"] == "ToolError"
    assert hub.asked() == [("read", {"n": 1})]
    (waiting,) = approvals(hub.directory)["waiting"]
    again = {"session": failed["session"], "resume": failed["execution"]}
    still: Any = running.run(code, **again)
    assert waiting["id"] in still["error"]["message"]
    approvals(hub.directory, "approve", waiting["id"])
    again["resume"] = still["execution"]
    done: Any = running.run(code, **again)
    assert done["result"] == ["did read", "did drop"], done
    assert hub.asked() == [("read", {"n": 1}), ("drop", {"n": 2})]
    assert decisions(hub.directory) == ["waiting", "waiting", "approved"]


@pytest.mark.requirement("ask.approvals")
def test_a_refused_call_stays_declined(site: tuple[Running, Shelf]) -> None:
    running, hub = site
    code = 'try:\n    x = api.server("hub").drop()\nexcept ToolError as e:\n    x = e.code\nx'
    assert running.run(code)["result"] == "approval_needed"
    (waiting,) = approvals(hub.directory)["waiting"]
    assert waiting["caller"] == "anonymous"
    approvals(hub.directory, "refuse", waiting["id"])
    assert [running.run(code)["result"] for _ in range(2)] == ["declined"] * 2
    assert hub.asked() == []
    assert approvals(hub.directory)["waiting"] == []
    assert approvals(hub.directory, "approve", waiting["id"], status=1) is None


@pytest.mark.requirement("ask.approvals")
def test_one_approval_is_one_call(site: tuple[Running, Shelf]) -> None:
    running, hub = site
    code = """
import asyncio
async def one():
    try:
        return await api.server("hub").drop()
    except ToolError as error:
        return error.code
sorted(await asyncio.gather(*[one() for _ in range(6)]))
"""
    assert running.run(code)["result"] == ["approval_needed"] * 6
    (waiting,) = approvals(hub.directory)["waiting"]
    approvals(hub.directory, "approve", waiting["id"])
    assert running.run(code)["result"] == ["approval_needed"] * 5 + ["did drop"]
    assert hub.asked() == [("drop", {})]


def approvals(directory: Path, *words: str, status: int = 0) -> Any:
    """What the command says, as a user runs it."""
    done = subprocess.run(
        command("approvals", *words, "--json"),
        env={**os.environ, "XDG_STATE_HOME": str(directory / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if status == 0 else None
