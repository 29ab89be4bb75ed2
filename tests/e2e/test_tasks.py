"""Tasks through the whole program: servers that make them, clients that want them, of both eras,
directly and from scripts; and what is left of them when the gateway has died."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import types
from mcp.client.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from pydantic import Field

from mcproxy import mcp
from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import ROOT, Running, gateway
from tests.e2e.ledgers import until
from tests.upstream.fleets import server

ACCEPTED = {"action": "accept", "content": {"name": "Ada"}}
SDK1 = ROOT / "tests/sdk1/.venv/bin/python"
WAIT_SECS = 30.0
SERVERS: JsonObject = {
    "stateless": server("tasker.py"),
    "handshake": server("tasker.py", "--handshake"),
    "echo": server("echo.py"),
    "modern": server("modern.py"),
}
CONFIG: JsonObject = {
    "servers": SERVERS,
    "namespaces": {"public": {"mode": "both"}},
}
NAMES = pytest.mark.parametrize("name", ["stateless", "handshake"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway(tmp_path_factory.mktemp("tasks"), CONFIG) as running:
        yield running


class TaskResult(types.Result):
    """A task that was made in place of a result."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str


class TaskParams(types.RequestParams):
    """Which task."""

    task_id: str


class GetTask(types.Request[TaskParams, Literal["tasks/get"]]):
    """``tasks/get``."""

    method: Literal["tasks/get"] = "tasks/get"
    name_param = "taskId"


class TaskAnswers(TaskParams):
    """What a task wanted to know."""

    input_responses: dict[str, Any]


class UpdateTask(types.Request[TaskAnswers, Literal["tasks/update"]]):
    """``tasks/update``."""

    method: Literal["tasks/update"] = "tasks/update"
    name_param = "taskId"


class TaskState(types.Result):
    """What ``tasks/get`` answers."""

    status: str
    inputs: dict[str, Any] | None = Field(None, alias="inputRequests")
    result: dict[str, Any] | None = None


class TaskAware(ClientExtension):
    """The extension for the SDK's client: it polls until the task has ended."""

    identifier = mcp.TASKS

    def __init__(self) -> None:
        self.statuses: list[str] = []

    def claims(self) -> list[ResultClaim[TaskResult]]:
        return [ResultClaim(result_type="task", model=TaskResult, resolve=self._resolve)]

    async def _resolve(self, made: TaskResult, context: ClaimContext) -> types.CallToolResult:
        self.statuses.append(made.status)
        while True:
            params = TaskParams(task_id=made.task_id)
            told = await context.session.send_request(GetTask(params=params), TaskState)
            if told.status == "input_required":
                self.statuses.append(told.status)
                given = dict.fromkeys(told.inputs or (), ACCEPTED)
                answers = TaskAnswers(task_id=made.task_id, input_responses=given)
                await context.session.send_request(UpdateTask(params=answers), types.EmptyResult)
            elif told.status != "working":
                self.statuses.append(told.status)
                return types.CallToolResult.model_validate(told.result)


def url(running: Running, path: str = "/mcp") -> str:
    return str(running.http.base_url.join(path))


@pytest.mark.requirement("tasks.sdk")
@NAMES
async def test_the_sdks_client_of_the_stateless_era(served: Running, name: str) -> None:
    knows = TaskAware()
    async with Client(url(served), mode="2026-07-28", extensions=[knows]) as client:
        job = await client.call_tool(f"{name}__job", {"polls": 2})
        assert job.structured_content == {"done": 2}
        assert knows.statuses == ["working", "completed"], "at once, since its server made a task"
        quick = await client.call_tool("execute", {"code": "40 + 2"})
        assert (quick.structured_content or {})["result"] == 42
        assert len(knows.statuses) == 2


@pytest.mark.requirement("tasks.sdk")
@NAMES
async def test_what_a_servers_task_asks_reaches_the_client(served: Running, name: str) -> None:
    knows, asked = TaskAware(), []

    async def elicit(context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params)
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async with Client(
        url(served), mode="2026-07-28", extensions=[knows], elicitation_callback=elicit
    ) as client:
        job = await client.call_tool(f"{name}__job", {"ask": True})
        assert job.structured_content == {"done": 1, "name": "Ada"}
        assert "input_required" in knows.statuses
        assert not asked
        known = await client.call_tool("modern__ask", {})
        assert asked, "before there is a task it is asked as without"
        assert "hello Ada" in str(known.content)


@pytest.mark.requirement("tasks.sdk")
@NAMES
async def test_clients_that_know_no_tasks(served: Running, name: str) -> None:
    for mode in ("legacy", "2026-07-28"):
        async with Client(url(served), mode=mode) as client:
            job = await client.call_tool(f"{name}__job", {"polls": 2})
            assert job.structured_content == {"done": 2}


@pytest.mark.requirement("tasks.sdk")
@pytest.mark.parametrize("tool", ["handshake__job", "execute"])
def test_the_sdks_client_of_the_handshake_era(served: Running, tool: str) -> None:
    if not SDK1.exists():
        pytest.skip("the SDK 1 is not installed: make test installs it, given a registry")
    arguments: JsonObject = {"polls": 2}
    longer: JsonObject = {"polls": 1_000_000}
    if tool == "execute":
        arguments = {"code": 'api.server("stateless").job(polls=2)'}
        longer = {"code": 'api.server("stateless").job(polls=1_000_000)'}
    told = _sdk1(served, tool, arguments, longer)
    assert told["made"] == "working"
    assert told["statuses"][-1] == "completed"
    assert "done" in str(told["result"])
    assert told["cancelled"] == "cancelled"
    modes = {one["name"]: one.get("execution") for one in told["tools"]["tools"]}
    optional = {"taskSupport": "optional"}
    assert modes["handshake__job"] == modes["handshake__maybe"] == modes["execute"] == optional
    assert modes["echo__add"] is None


def _sdk1(served: Running, tool: str, arguments: JsonObject, longer: JsonObject) -> Any:
    script = str(ROOT / "tests/sdk1/client.py")
    ran = subprocess.run(
        [SDK1, script, "tasks", url(served), tool, json.dumps(longer)],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.requirement("tasks.awaited")
@NAMES
def test_a_script_waits_for_tasks_of_servers(served: Running, name: str) -> None:
    job = f'api.server("{name}").job'
    ran = served.run(f"a, b = await asyncio.gather({job}(polls=2), {job}(polls=3))\n[a, b]")
    assert ran["result"] == [{"done": 2}, {"done": 3}]
    failed = served.run(f'{job}(then="rpc_error")')
    assert "the job broke" in str(failed["error"])


@pytest.mark.requirement("tasks.cancelled")
@NAMES
def test_a_scripts_end_is_that_of_its_tasks(served: Running, name: str) -> None:
    """The script's limit bounds the wait, though the server tells all the time how the task is."""
    before = _cancelled(served, name)
    ended = served.run(f'api.server("{name}").job(polls=1_000_000)', timeout_secs=2)
    assert "Timeout" in str(ended["error"])
    assert _cancelled(served, name) == before + 1


@pytest.mark.requirement("tasks.cancel")
@pytest.mark.parametrize(
    ("name", "tool"),
    [("handshake", "handshake__job"), ("handshake", "execute"), ("stateless", "execute")],
)
def test_who_cancels_a_task_cancels_that_of_the_server(
    served: Running, name: str, tool: str
) -> None:
    arguments: JsonObject = {"polls": 1_000_000}
    if tool == "execute":
        arguments = {"code": f'api.server("{name}").job(polls=1_000_000)'}
    client, before, looks = Legacy(served), _cancelled(served, name), _looks(served, name)
    task = client.task(tool, **arguments)
    until(lambda: _looks(served, name) > looks)
    assert client.ask("tasks/cancel", taskId=task)["status"] == "cancelled"
    until(lambda: _cancelled(served, name) == before + 1)


def _cancelled(served: Running, name: str) -> int:
    """How many tasks the server had to cancel."""
    return len(_seen(served, name)["cancelled"])


def _looks(served: Running, name: str) -> int:
    """How often the server was asked how a task is."""
    return int(_seen(served, name)["methods"].get("tasks/get", 0))


def _seen(served: Running, name: str) -> Any:
    return served.run(f'api.server("{name}").seen()')["result"]


@pytest.mark.requirement("tasks.restart")
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM])
def test_results_and_losses_are_found_after_a_restart(tmp_path: Path, stop: signal.Signals) -> None:
    token: JsonObject = {"name": "ada", "token": "t0k3n", "namespaces": ["public"]}
    config: JsonObject = {
        "servers": {"echo": server("echo.py")},
        "namespaces": {"public": {"require_auth": True}},
        "auth": {"tokens": [token]},
    }
    with gateway(tmp_path, config, stop=stop, ends=None) as running:
        first = Legacy(running, "t0k3n")
        done = first.task("execute", code='api.server("echo").add(a=40, b=2)["sum"]')
        assert first.result(done)["structuredContent"]["result"] == 42
        lost = first.task(
            "execute", code='api.server("echo").add(a=1, b=1)\napi.server("echo").sleep(secs=300)'
        )
        until(lambda: _calls(first) >= 3)
    with gateway(tmp_path, config) as running:
        again = Legacy(running, "t0k3n")
        assert again.result(done)["structuredContent"]["result"] == 42
        told = again.ask("tasks/get", taskId=lost)
        assert told["status"] == "failed"
        assert "the gateway was stopped" in told["statusMessage"]
        named = dict(part.split("=", 1) for part in told["statusMessage"].split() if "=" in part)
        code = 'api.server("echo").add(a=1, b=1)["sum"]'
        arguments: JsonObject = {"code": code}
        arguments |= {key: value.strip('",:') for key, value in named.items()}
        ran = again.ask("tools/call", name="execute", arguments=arguments)
        assert ran["structuredContent"]["result"] == 2
        assert "replayed" in str(ran["structuredContent"]), ran
        assert {lost, done} == {one["taskId"] for one in again.ask("tasks/list")["tasks"]}


@pytest.mark.requirement("tasks.apart")
def test_another_gateway_tells_how_a_task_is(tmp_path: Path) -> None:
    shared = {"XDG_STATE_HOME": str(tmp_path / "state")}
    config: JsonObject = {"servers": {"tasker": server("tasker.py")}}
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with (
        gateway(tmp_path / "one", config, environment=shared) as one,
        gateway(tmp_path / "other", config, environment=shared) as other,
    ):
        here, there = Legacy(one), Legacy(other)
        task = here.task("execute", code='api.server("tasker").job(polls=3)')
        assert there.ask("tasks/get", taskId=task)["status"] in ("working", "completed")
        assert there.result(task)["structuredContent"]["result"] == {"done": 3}
        endless = here.task("execute", code='api.server("tasker").job(polls=1_000_000)')
        assert there.ask("tasks/get", taskId=endless)["status"] == "working"
        refused = there.refusal("tasks/cancel", taskId=endless)
        assert "another gateway runs this task" in refused["message"]
        here.ask("tasks/cancel", taskId=endless)
        assert there.ask("tasks/get", taskId=endless)["status"] == "cancelled"


def _calls(client: "Legacy") -> int:
    """How many calls of tools the server has had; the one that asks is none of them."""
    call: JsonObject = {"code": 'api.server("echo").counter()'}
    told = client.ask("tools/call", name="execute", arguments=call)["structuredContent"]
    return int(told["result"]["calls"]) - int(told["result"]["count"])


class Legacy:
    """A client of 2025-11-25, by hand; its connection ends with the gateway."""

    def __init__(self, running: Running, token: str = "") -> None:
        self._running = running
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._headers["Accept"] = "application/json, text/event-stream"
        hello: JsonObject = {"protocolVersion": "2025-11-25", "capabilities": {}}
        reply = self._post("initialize", hello)
        self._headers["Mcp-Session-Id"] = reply.headers["Mcp-Session-Id"]
        offered = reply.json()["result"]["capabilities"]["tasks"]
        assert ("list" in offered) == bool(token)

    def ask(self, method: str, **params: Json) -> Any:
        """The result of a request."""
        return self._post(method, {**params}).json()["result"]

    def refusal(self, method: str, **params: Json) -> Any:
        """The error of a request."""
        return self._post(method, {**params}).json()["error"]

    def task(self, tool: str, **arguments: Json) -> str:
        """Call a tool as a task; its id."""
        made = self.ask("tools/call", name=tool, arguments={**arguments}, task={})
        return str(made["task"]["taskId"])

    def result(self, task: str) -> Any:
        """What a task gave."""
        return self.ask("tasks/result", taskId=task)

    def _post(self, method: str, params: JsonObject) -> Any:
        body: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self._running.post(body, "/mcp", **self._headers)
