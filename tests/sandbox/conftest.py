"""What the tests of scripts share: a small world of tools, and running a script against it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest

from mcproxy.call_errors import RateLimited, ServerDown, UnknownTool
from mcproxy.sandbox import process_runner
from mcproxy.sandbox.pool import Pool, PoolSettings
from mcproxy.sandbox.profile import Profile
from mcproxy.types import Job, Json, Limits, Outcome, ToolRef, ToolResult
from tests.sandbox.walls import LEVELS, descendants, pool_at, settles

LIMITS = Limits(timeout_secs=10)
MANIFEST = {"namespace": "public", "servers": {"s": {"description": "", "tools": ["echo"]}}}
VALUES: dict[str, Json] = {
    "rows": [{"id": 1, "name": "ann"}, {"id": 2, "name": "bob"}],
    "schema": {"inputSchema": {"properties": {"a": {}, "b": {}}, "required": ["a"]}},
}


def text(value: str) -> ToolResult:
    """A tool's result with one text block."""
    return ToolResult(json.dumps({"content": [{"type": "text", "text": value}]}).encode())


def _failed(ref: ToolRef) -> ToolResult:
    match ref.tool:
        case "busy":
            raise RateLimited(ref, "public", 60, 1.5)
        case "down":
            raise ServerDown(ref, "it died")
        case "unknown":
            raise UnknownTool(ref, ["s.echo(x)"])
    block = {"type": "text", "text": "the tool said no"}
    raw = json.dumps({"content": [block], "isError": True}).encode()
    return ToolResult(raw, is_error=True)


class Tools:
    """A ``CallTool``. ``log`` has the order of what happened: ``>tool`` sent, ``<tool`` answered.

    ``meet(n)`` answers when n calls of it are under way at once: it shows overlap without time.
    """

    def __init__(self) -> None:
        self.log: list[str] = []
        self.calls: list[tuple[str, str, Mapping[str, Json]]] = []
        self._met = asyncio.Condition()
        self._waiting = 0

    async def __call__(self, ref: ToolRef, args: Mapping[str, Json]) -> ToolResult:
        self.calls.append((ref.server, ref.tool, args))
        name = str(args.get("name", ref.tool))
        self.log.append(f">{name}")
        try:
            return await self._answer(ref, args)
        finally:
            self.log.append(f"<{name}")

    async def _answer(self, ref: ToolRef, args: Mapping[str, Json]) -> ToolResult:
        match ref.tool:
            case "meet":
                return await self._meet(args)
            case "no" | "busy" | "down" | "unknown":
                return _failed(ref)
            case "raw":
                return ToolResult(json.dumps(args["result"]).encode())
            case "garbage":
                return ToolResult(b"{]", is_error=bool(args.get("failed")))
            case "rows" | "schema":
                return text(json.dumps(VALUES[ref.tool]))
            case "never":
                await asyncio.Event().wait()
        return text(json.dumps({"tool": ref.tool, **args}))

    async def _meet(self, args: Mapping[str, Json]) -> ToolResult:
        wanted = args["n"]
        assert isinstance(wanted, int)
        async with self._met:
            self._waiting += 1
            self._met.notify_all()
            await self._met.wait_for(lambda: self._waiting >= wanted)
        return text(json.dumps(args.get("i", wanted)))


@pytest.fixture(scope="module", params=LEVELS)
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    """One for all tests of a file, at each level."""
    async with pool_at(request.param) as pool:
        yield pool
    await settles(lambda: not descendants())


Run = Callable[..., Awaitable[Outcome]]


@pytest.fixture
def tools() -> Tools:
    return Tools()


@pytest.fixture(scope="module")
async def scripts() -> AsyncIterator[Pool]:
    """What runs the scripts of a file: at the best level that this machine allows, if any."""
    settings = PoolSettings(min_level="none", size=1)
    async with Pool(settings, {"": Profile(limits=LIMITS)}) as pool:
        await pool.start()
        yield pool


@pytest.fixture
def run(tools: Tools, scripts: Pool) -> Run:
    """Run a script with the tools above."""

    async def run(source: str, limits: Limits = LIMITS) -> Outcome:
        return await scripts.run(Job(source, limits, json.dumps(MANIFEST).encode()), tools)

    return run


@pytest.fixture
def run_alone(tools: Tools) -> Run:
    """Likewise, but without walls, in a fresh process: sandbox level ``none``."""

    async def run(source: str, limits: Limits = LIMITS) -> Outcome:
        return await process_runner.run(Job(source, limits, json.dumps(MANIFEST).encode()), tools)

    return run


@pytest.fixture
def log(tools: Tools) -> list[str]:
    """The order of what happened to the tools."""
    return tools.log


@pytest.fixture
def sent(tools: Tools) -> list[tuple[str, str, Mapping[str, Json]]]:
    """Every call that reached the tools: server, tool, arguments."""
    return tools.calls
