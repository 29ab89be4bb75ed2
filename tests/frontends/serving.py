"""The HTTP frontends on a real socket, in front of a real gateway whose scripts are told what to do
by the test: each line of a script is ``say N``, ``progress TEXT``, ``ask METHOD``, ``fail``,
``wait``, or ``cling`` (wait, and end only then, even if cancelled). The tool ``hush`` of the server
``echo`` is silent until the test lets it go on, and tells of its progress only then."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import httpx

from mcproxy.config.load import load_document
from mcproxy.exchange import Exchange, Upstream
from mcproxy.frontends.connections import ConnectionLimits, Connections
from mcproxy.frontends.http import application
from mcproxy.frontends.request_auth import Site
from mcproxy.frontends.sessions import Bounds, Sessions
from mcproxy.gateway.approval_records import ApprovalRecords
from mcproxy.gateway.approvals import Approvals
from mcproxy.gateway.call_chain import CallServices
from mcproxy.gateway.core import Gateway, Services
from mcproxy.gateway.input_rounds import KEEP_SECS
from mcproxy.gateway.keeping import Keeping
from mcproxy.gateway.learning import Learning
from mcproxy.gateway.progress import QUIET_SECS
from mcproxy.gateway.request import RequestSource
from mcproxy.gateway.snapshot import Published, take_snapshot
from mcproxy.manifest.model import build
from mcproxy.observe.activity import Activity
from mcproxy.observe.metrics import Metrics
from mcproxy.policy.access import Policy, policy_of
from mcproxy.policy.limits import RateLimiter, own_rates
from mcproxy.policy.origins import bind_to
from mcproxy.queues import Gate, Queues
from mcproxy.store.interface import StoreBounds
from mcproxy.store.local_store import LocalStore
from mcproxy.types import (
    Caller,
    CallTool,
    Job,
    Json,
    JsonObject,
    Outcome,
    ServerView,
    Tool,
    ToolRef,
    ToolResult,
)
from tests.e2e.gateways import NO_TLS

BOUND_SECS = 20
BOTH = "application/json, text/event-stream"
HERE = RequestSource(Caller())
STARTING = ServerView("echo", "starting")  # so that any tool of it is asked
CONFIG: JsonObject = {
    "servers": {"echo": {"command": "echo"}, "vault": {"command": "x", "namespace": "locked"}},
    "namespaces": {"small": {"extends": "public"}, "locked": {"require_auth": True}},
    "auth": {
        "tokens": [
            {"name": "ada", "token": "t0k3n", "namespaces": ["locked"]},
            {"name": "bob", "token": "b0b", "namespaces": ["locked"]},
        ]
    },
}


@dataclass
class Scripts:
    """A ``RunCode``; tells the test how far its scripts have come."""

    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    started: int = 0
    starting: asyncio.Condition = field(default_factory=asyncio.Condition)
    ended: set[str] = field(default_factory=set)
    ending: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self, job: Job, call: CallTool) -> Outcome:
        value: Json = None
        async with self.starting:
            self.started += 1
            self.starting.notify_all()
        for line in job.source.splitlines():
            match line.split():
                case ["say", count]:
                    await call(ToolRef("echo", "say"), {"count": int(count)})
                    await asyncio.sleep(0)
                case ["progress", text]:
                    await call(ToolRef("echo", "progress"), {"message": text})
                case ["ask", method]:
                    value = json.loads((await call(ToolRef("echo", "ask"), {"of": method})).raw)
                case ["cling"]:
                    try:
                        await self._wait()
                    finally:
                        await self.go.wait()
                case ["fail"]:
                    raise RuntimeError("a fault of the gateway")
                case _:
                    await self._wait()
        async with self.ending:
            self.ended.add(job.source)
            self.ending.notify_all()
        return Outcome(value=value)

    async def serve(
        self, exchange: Exchange, ref: ToolRef, arguments: Mapping[str, Json]
    ) -> ToolResult:
        """The server behind the scripts' calls."""
        if ref.tool == "ask":
            answer = await exchange.ask(str(arguments["of"]), {})
            return ToolResult(json.dumps(answer).encode())
        if ref.tool == "hush":
            await self._wait()
            done: JsonObject = {"progressToken": "theirs", "progress": 1, "total": 3}
            exchange.notify("notifications/progress", done)
            return ToolResult(b'{"content":[]}')
        if ref.tool == "progress":
            step: JsonObject = {"progressToken": "theirs", "progress": 1, **arguments}
            exchange.notify("notifications/progress", step)
            return ToolResult(b"{}")
        for number in range(1, int(str(arguments["count"])) + 1):
            told: JsonObject = {"level": "info", "data": f"{number} {'x' * 1000}"}
            exchange.notify("notifications/message", told)
        return ToolResult(b"{}")

    async def _wait(self) -> None:
        self.waiting.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class World:
    """A gateway and its snapshot, which the test can swap."""

    def __init__(
        self,
        scripts: Scripts,
        config: JsonObject = CONFIG,
        quiet_secs: float = QUIET_SECS,
        keep_secs: float = KEEP_SECS,
    ) -> None:
        self.policy: Policy = policy_of(load_document(config).config)
        self.published = Published(take_snapshot(self.policy, build([STARTING])))
        upstream = Upstream(_nothing, _nothing, lambda *_: None, _nothing, _nothing)
        self.store = LocalStore(None, StoreBounds())
        learning = Learning(self.store, str)
        keeping = Keeping(self.store, ttl_secs=60, inline_bytes=16 << 10)
        approvals = Approvals(ApprovalRecords(self.store), keeping, None)
        rates = own_rates(RateLimiter(time.monotonic))
        held_back = (rates, Queues().entered, None, approvals)
        calls = CallServices(*held_back, scripts.serve, _nothing, Activity(), learning)
        services = Services(scripts.run, calls, upstream, keeping, self.store, Metrics())
        self.gateway = Gateway(self.published, services, quiet_secs, keep_secs)

    def publish(self, *tools: str) -> None:
        """Let the server ``echo`` have these tools from now on."""
        listed = tuple(Tool(ToolRef("echo", name), {"name": name}) for name in tools)
        before = self.published.snapshot
        manifest = build([ServerView("echo", "ready", tools=listed)])
        self.published.snapshot = take_snapshot(self.policy, manifest)
        self.gateway.changed(before)


async def _nothing(*asked: object) -> NoReturn:
    raise AssertionError(asked)


async def _unchanged(caller: Caller) -> Caller:
    return caller


@dataclass(frozen=True)
class Served:
    """The frontends, listening."""

    http: httpx.AsyncClient
    world: World
    sessions: Sessions
    gate: Gate
    scripts: Scripts
    connections: Connections

    async def open(self, version: str = "2025-11-25", **capabilities: Json) -> dict[str, str]:
        """Open a session; the headers that its requests need."""
        params: JsonObject = {"protocolVersion": version, "capabilities": capabilities}
        reply = await self.http.post("/mcp", json=request("initialize", params))
        assert reply.json()["result"]["protocolVersion"] == version
        return {"Mcp-Session-Id": reply.headers["Mcp-Session-Id"], "Accept": BOTH}


@asynccontextmanager
async def serving(
    bounds: Bounds | None = None,
    config: JsonObject = CONFIG,
    *,
    bind: str = "127.0.0.1",
    limits: ConnectionLimits | None = None,
    quiet_secs: float = QUIET_SECS,
    keep_secs: float = KEEP_SECS,
) -> AsyncIterator[Served]:
    """Listen on a free port; ``bind``: what it is told to listen on."""
    scripts, gate = Scripts(), Gate()
    world = World(scripts, config, quiet_secs, keep_secs)
    sessions = Sessions(world.gateway, gate, bounds)
    site = Site(
        world.gateway,
        gate,
        health=lambda _: {},
        metrics=lambda _: b"",
        bind=bind_to(bind),
        sessions=sessions,
        verified=_unchanged,
    )
    connections = Connections(limits or ConnectionLimits())
    async with (
        _listening() as listener,
        world.store,
        world.gateway.running(),
        sessions.running(),
        asyncio.TaskGroup() as tasks,
    ):
        running = tasks.create_task(connections.run(application(site), listener))
        try:
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
                timeout=httpx.Timeout(BOUND_SECS),
                limits=httpx.Limits(max_connections=None),
                trust_env=False,
                verify=NO_TLS,
            ) as http:
                yield Served(http, world, sessions, gate, scripts, connections)
        finally:
            sessions.close()
            await connections.close(0)
            running.cancel()


@asynccontextmanager
async def _listening() -> AsyncIterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def request(method: str, params: JsonObject | None = None, id_: Json = 1) -> JsonObject:
    """A JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params or {}}


def script(code: str, id_: Json = 1, token: Json = None) -> JsonObject:
    """A call of ``execute``."""
    params: JsonObject = {"name": "execute", "arguments": {"code": code}}
    if token:
        params["_meta"] = {"progressToken": token}
    return request("tools/call", params, id_)


@dataclass(frozen=True)
class Seen:
    """One event of a stream."""

    name: str
    id: str
    data: str

    @property
    def message(self) -> JsonObject:
        """The JSON-RPC message in it."""
        message = json.loads(self.data)
        assert isinstance(message, dict)
        return message


async def events(response: httpx.Response) -> AsyncIterator[Seen]:
    """The events of a stream, comments left out."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if line and name:
            fields[name.rstrip(":")] = value
        elif fields:
            yield Seen(fields.get("event", ""), fields.get("id", ""), fields.get("data", ""))
            fields = {}
