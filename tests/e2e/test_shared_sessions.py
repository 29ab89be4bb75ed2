"""Clients of both eras before two gateways that share a store, each request at the other one: what
began at one goes on at the other, also where the one is killed."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcproxy import mcp
from mcproxy.types import JsonObject
from tests.e2e.gateways import (
    LOOK_SECS,
    NO_TLS,
    NO_WALLS,
    PATIENT,
    STOP_SECS,
    Running,
    echo,
    gateway,
)
from tests.shared_state import NEEDED, StateServer, state_server

pytestmark = NEEDED

VERSION = "2025-11-25"
BOTH = "application/json, text/event-stream"
ASKED: JsonObject = {"servers": ["echo"], "tools": {"echo": "ask"}, "mode": "both"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateServer]:
    yield from state_server(tmp_path / "store")


def configuration(store: StateServer) -> JsonObject:
    tokens: list[JsonObject] = [
        {"name": name, "token": f"token-of-{name}", "namespaces": ["asked"]}
        for name in ("ann", "bob")
    ]
    return {
        "servers": {"echo": echo(), "keeper": {**echo(), "affinity": "client"}},
        "namespaces": {"public": {"servers": ["echo", "keeper"], "mode": "both"}, "asked": ASKED},
        "auth": {"tokens": [*tokens]},
        "state": {"url": store.url},
        "manifests": PATIENT,
        "sandbox": NO_WALLS,
    }


@contextmanager
def gateways(directory: Path, store: StateServer) -> Iterator[tuple[Running, Running]]:
    """Two, of which a test may kill the first."""
    with ExitStack() as opened:
        running: list[Running] = []
        for name, ending in (("one", {"ends": None}), ("two", {})):
            folder = directory / name
            folder.mkdir()
            config = configuration(store)
            running.append(
                opened.enter_context(gateway(folder, config, "--log", **ending))  # type: ignore[arg-type]
            )
        yield running[0], running[1]


@pytest.fixture
def both(tmp_path: Path, store: StateServer) -> Iterator[tuple[Running, Running]]:
    with gateways(tmp_path, store) as running:
        yield running


def kill(running: Running) -> None:
    """The gateway itself, of which its guardian takes note."""
    gateways = running.guardian.children()
    gateways[0].kill()
    running.process.wait(STOP_SECS)


@dataclass
class Handshake:
    """A client of the handshake era; each of its requests goes where it is told."""

    path: str = "/mcp"
    headers: dict[str, str] = field(default_factory=dict)
    _id: int = 0

    def begin(self, at: Running, **capabilities: Any) -> None:
        hello = {
            "protocolVersion": VERSION,
            "capabilities": capabilities,
            "clientInfo": {"name": "test", "version": "1"},
        }
        reply = self.post(at, {"id": 0, "method": "initialize", "params": hello})
        assert reply.status_code == 200, reply.text
        session = reply.headers[mcp.SESSION_HEADER]
        self.headers |= {mcp.SESSION_HEADER: session, mcp.VERSION_HEADER: VERSION}
        assert self.post(at, {"method": "notifications/initialized"}).status_code == 202

    def post(self, at: Running, message: dict[str, Any], accept: str = BOTH) -> httpx.Response:
        body = {"jsonrpc": "2.0", **message}
        return at.http.post(self.path, json=body, headers={**self.headers, "Accept": accept})

    def call(self, at: Running, tool: str, **arguments: Any) -> Any:
        self._id += 1
        params = {"name": tool, "arguments": arguments}
        reply = self.post(at, {"id": self._id, "method": "tools/call", "params": params})
        assert reply.status_code == 200, reply.text
        return reply.json()

    @contextmanager
    def calling(self, at: Running, tool: str, **arguments: Any) -> Iterator["Events"]:
        """The event stream of a call."""
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}}
        body = {"jsonrpc": "2.0", "id": "stream", "method": "tools/call", "params": params}
        headers = {**self.headers, "Accept": BOTH}
        with at.http.stream("POST", self.path, json=body, headers=headers) as response:
            yield Events(response)

    @contextmanager
    def listening(self, at: Running, last: str | None = None) -> Iterator["Events"]:
        """The stream of the session, or the rest of one."""
        headers = {**self.headers, "Accept": "text/event-stream"}
        headers |= {"Last-Event-ID": last} if last else {}
        with at.http.stream("GET", self.path, headers=headers) as response:
            assert response.status_code == 200, response.read()
            yield Events(response)


class Events:
    """What comes on a stream; ``last`` is the id of the event that came last."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.headers["content-type"] == "text/event-stream"
        self._lines = response.iter_lines()
        self.last = ""

    def next(self) -> Any:
        """The next message."""
        for line in self._lines:
            if line.startswith("id: "):
                self.last = line[4:]
            if line.startswith("data: ") and line[6:]:
                return json.loads(line[6:])
        return None

    def rest(self) -> list[Any]:
        """All that is still to come."""
        return list(iter(self.next, None))


@pytest.mark.requirement("state.any_gateway")
def test_a_session_goes_on_at_any_gateway(both: tuple[Running, Running]) -> None:
    one, two = both
    client = Handshake()
    client.begin(one)
    client.call(one, "execute", code='api.stash["rows"] = [1]')
    for at in (two, one, two):
        found = client.call(at, "execute", code='api.stash["rows"]')
        assert found["result"]["structuredContent"]["result"] == [1]
    assert two.http.delete("/mcp", headers=client.headers).status_code == 204
    for at in both:
        assert client.post(at, {"id": 1, "method": "ping"}).status_code == 404


@pytest.mark.requirement("state.any_gateway")
def test_a_session_outlives_its_gateway(both: tuple[Running, Running]) -> None:
    one, two = both
    client = Handshake()
    client.begin(one)
    level = {"id": 1, "method": mcp.SET_LOG_LEVEL, "params": {"level": "error"}}
    assert "result" in client.post(one, level).json()
    client.call(one, "execute", code='api.stash["rows"] = [1]')
    kill(one)
    found = client.call(two, "execute", code='api.stash["rows"]')
    assert found["result"]["structuredContent"]["result"] == [1]
    with client.listening(two) as events:
        del events
    assert two.logged.says("a session of another gateway goes on here")


@pytest.mark.requirement("state.affinity")
def test_what_a_server_keeps_for_a_session_follows_it_and_ends_with_its_gateway(
    both: tuple[Running, Running],
) -> None:
    """A call without that state is refused once, so that nobody goes on as if it were there."""
    one, two = both
    client = Handshake()
    client.begin(one)
    code = "try:\n    r = api.server('keeper').counter()['count']\nexcept ToolError as e:\n    "
    code += "r = [e.code, e.retryable]\nr"

    def counted(at: Running) -> Any:
        return client.call(at, "execute", code=code)["result"]["structuredContent"]["result"]

    assert [counted(at) for at in (one, two, two, one)] == [1, 2, 3, 4]
    kill(one)
    assert counted(two) == ["server_down", True]
    assert [counted(two), counted(two)] == [1, 2]


@pytest.mark.requirement("state.any_gateway")
def test_a_session_is_its_callers_at_every_gateway(both: tuple[Running, Running]) -> None:
    one, two = both
    client = Handshake("/mcp/asked", {"Authorization": "Bearer token-of-ann"})
    client.begin(one)
    ping = {"id": 1, "method": "ping"}
    assert client.post(two, ping).status_code == 200
    thief = Handshake(client.path, {**client.headers, "Authorization": "Bearer token-of-bob"})
    assert thief.post(two, ping).status_code == 404
    elsewhere = Handshake("/mcp", client.headers)
    assert elsewhere.post(two, ping).status_code == 404
    kill(one)
    assert thief.post(two, ping).status_code == 404
    assert client.post(two, ping).status_code == 200


@pytest.mark.requirement("state.any_gateway")
def test_what_belongs_to_a_call_reaches_it_from_any_gateway(both: tuple[Running, Running]) -> None:
    """An answer to a question, and a cancellation."""
    one, two = both
    client = Handshake("/mcp/asked", {"Authorization": "Bearer token-of-ann"})
    client.begin(one, elicitation={})
    with client.calling(one, "echo__echo", text="x") as events:
        question = events.next()
        assert question["method"] == mcp.ELICIT
        yes = {"id": question["id"], "result": {"action": "accept", "content": {}}}
        assert client.post(two, yes).status_code == 202
        assert events.next()["result"]["structuredContent"] == {"text": "x"}
    with client.calling(one, "echo__sleep", secs=600) as events:
        assert events.next()["method"] == mcp.PROGRESS
        cancel = {"method": mcp.CANCELLED, "params": {"requestId": "stream"}}
        assert client.post(two, cancel).status_code == 202
        assert events.next() is None


@pytest.mark.requirement("state.resumed_streams")
def test_a_stream_goes_on_at_another_gateway(both: tuple[Running, Running]) -> None:
    one, two = both
    client = Handshake()
    client.begin(one)
    with client.calling(one, "echo__sleep", secs=0.5) as events:
        assert events.next()["method"] == mcp.PROGRESS
    with client.listening(two, events.last) as more:
        rest = more.rest()
    assert [one["method"] for one in rest[:-1]] == [mcp.PROGRESS] * (len(rest) - 1)
    assert rest[-1]["id"] == "stream"
    assert "result" in rest[-1]


@pytest.mark.requirement("state.resumed_streams")
@pytest.mark.parametrize("unkept", [0, 3])
def test_who_comes_back_for_a_call_of_a_dead_gateway_is_told(
    both: tuple[Running, Running], unkept: int
) -> None:
    """Also where the client has had more than the gateway had kept."""
    one, two = both
    client = Handshake()
    client.begin(one)
    with client.calling(one, "echo__sleep", secs=600) as events:
        first = events.next()
        assert first["method"] == mcp.PROGRESS
        before = events.last
        assert events.next()["method"] == mcp.PROGRESS  # the first is kept by now
        kill(one)
        with pytest.raises(httpx.HTTPError):
            events.rest()
    stream, _, number = before.rpartition("-")
    with client.listening(two, f"{stream}-{int(number) + unkept}") as more:
        said = [message for message in more.rest() if "id" in message]
    assert "the gateway that answered this request has ended" in said[0]["error"]["message"]


@pytest.mark.requirement("state.any_gateway")
def test_a_call_carried_to_a_gateway_that_dies_fails_clearly(both: tuple[Running, Running]) -> None:
    one, two = both
    client = Handshake()
    client.begin(one)
    with client.calling(two, "echo__sleep", secs=600) as events:
        assert events.next()["method"] == mcp.PROGRESS
        kill(one)
        said = [message for message in events.rest() if "id" in message]
    assert "the gateway that answered this request has ended" in said[0]["error"]["message"]
    assert client.post(two, {"id": 1, "method": "ping"}).json()["result"] == {}


def stateless(at: Running, method: str, params: JsonObject) -> Any:
    meta: JsonObject = {
        mcp.META_VERSION: mcp.STATELESS_VERSION,
        mcp.META_CLIENT_INFO: {"name": "test", "version": "1"},
        mcp.META_CLIENT_CAPABILITIES: {"elicitation": {"form": {}}},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    headers = {
        mcp.VERSION_HEADER: mcp.STATELESS_VERSION,
        "Mcp-Method": method,
        "Mcp-Name": str(params["name"]),
        "Authorization": "Bearer token-of-ann",
        "Accept": BOTH,
    }
    return at.http.post("/mcp/asked", json=body, headers=headers).json()


CALL: JsonObject = {"name": "echo__echo", "arguments": {"text": "x"}}


def next_round(asked: Any) -> JsonObject:
    key = next(iter(asked["result"]["inputRequests"]))
    answers: JsonObject = {key: {"action": "accept", "content": {}}}
    state: str = asked["result"]["requestState"]
    return {**CALL, "requestState": state, "inputResponses": answers}


@pytest.mark.requirement("state.any_gateway")
def test_a_stateless_call_goes_on_at_any_gateway(both: tuple[Running, Running]) -> None:
    one, two = both
    asked = stateless(one, "tools/call", CALL)
    assert asked["result"]["resultType"] == "input_required", asked
    done = stateless(two, "tools/call", next_round(asked))
    assert done["result"]["structuredContent"] == {"text": "x"}
    again = stateless(two, "tools/call", next_round(asked))
    assert "requestState is not valid" in again["error"]["message"]
    asked = stateless(one, "tools/call", CALL)
    kill(one)
    gone = stateless(two, "tools/call", next_round(asked))
    assert "requestState is not valid" in gone["error"]["message"]


def refused_at(running: Running) -> None:
    """Return once it takes no connections, which a balancer gives to another gateway; bounded.
    Until then nobody is told that it stops, which a balancer would pass on."""
    until = time.monotonic() + STOP_SECS
    while time.monotonic() < until:
        try:
            with httpx.Client(trust_env=False, verify=NO_TLS) as new:
                ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
                told = new.post(running.http.base_url.join("/message"), json=ping)
                assert told.status_code == 200, told.text
        except httpx.ConnectError:
            return
        time.sleep(LOOK_SECS)
    raise AssertionError("it still takes connections")


@pytest.mark.requirement("state.rolling")
def test_what_runs_ends_and_the_session_goes_on_when_a_gateway_stops(
    both: tuple[Running, Running],
) -> None:
    one, two = both
    client = Handshake()
    client.begin(one)
    with client.calling(two, "echo__sleep", secs=4) as events:
        assert events.next()["method"] == mcp.PROGRESS
        one.process.send_signal(signal.SIGTERM)
        refused_at(one)
        replies = [message for message in events.rest() if "id" in message]
        assert "result" in replies[0]
    assert client.post(two, {"id": 1, "method": "ping"}).json()["result"] == {}
