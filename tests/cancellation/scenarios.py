"""Parts of the program that do something, for the driver: each is real but for what is outside."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from mcproxy.call_errors import CallError
from mcproxy.commands.stubs import StubWriter
from mcproxy.config.hooks import HookSpec, RefreshHooks
from mcproxy.config.load import Loaded
from mcproxy.config.model import StubGeneration
from mcproxy.frontends.sessions import Bounds
from mcproxy.hooks import Hooks, Occasion
from mcproxy.manifest.live import Live
from mcproxy.manifest.model import build
from mcproxy.manifest.refreshes import Refreshes
from mcproxy.policy.verifier import Verifier
from mcproxy.reload import Reloader
from mcproxy.sandbox.network.egress import Egress
from mcproxy.sandbox.pool import Pool
from mcproxy.sandbox.profile import Profile
from mcproxy.types import Job, Json, JsonObject, Level, Limits, ServerView, ToolRef, ToolResult
from mcproxy.upstream.child import stdio
from tests.cancellation.driver import Part
from tests.frontends.serving import Served, events, request, script, serving
from tests.sandbox.network.origins import origins
from tests.sandbox.walls import at, echo
from tests.servers.remote_odd import Odd
from tests.servers.remote_odd import serving as odd_serving
from tests.upstream.fleets import Watched, server
from tests.upstream.test_instances import Client

READY_SECS = 15.0  # for a part to be ready to be used
LOOK_SECS = 0.02
PATIENCE_SECS = 0.2  # with a server that does not end: each of its runs waits for it twice
LIMITS = Limits(timeout_secs=10, memory_mb=128)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(READY_SECS):
        while not condition():  # noqa: ASYNC110  most of what is waited for tells nobody
            await asyncio.sleep(LOOK_SECS)


def fleet(
    servers: Mapping[str, JsonObject], use: Callable[[Watched], Awaitable[None]]
) -> AbstractAsyncContextManager[Part]:
    """Servers; ``use`` is done once they have settled."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Part]:
        with tempfile.TemporaryDirectory() as state:
            watched = Watched({"servers": {**servers}}, Path(state))
            one = watched.fleet

            async def used() -> None:
                async with asyncio.timeout(READY_SECS):
                    await one.settled()
                await use(watched)

            yield Part(one.run, used, one._roster.all)

    return scenario()


def child() -> AbstractAsyncContextManager[Part]:
    """One server: it starts, is called, changes its tools, dies, and is about to start again."""

    async def use(watched: Watched) -> None:
        await watched.call("echo", "add", a=1, b=2)
        await watched.call("echo", "grow")
        with suppress(CallError):
            await watched.call("echo", "exit", code=3)
        await watched.until("echo", lambda health: health.state == "restarting")

    return fleet({"echo": server("echo.py", "--list-changed")}, use)


def stubborn() -> AbstractAsyncContextManager[Part]:
    """A server that ends neither with its input nor at SIGTERM."""

    async def use(watched: Watched) -> None:
        await watched.call("unruly", "add")

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Part]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stdio, "STDIN_CLOSE_SECS", PATIENCE_SECS)
            patch.setattr(stdio, "TERM_SECS", PATIENCE_SECS)
            async with fleet({"unruly": server("unruly.py", "--stubborn")}, use) as part:
                yield part

    return scenario()


def replaced() -> AbstractAsyncContextManager[Part]:
    """A server whose definition changes, and one that is removed."""

    async def use(watched: Watched) -> None:
        watched.apply(echo=server("echo.py", env={"A": "b"}))
        await _until(lambda: len(watched.fleet._roster.all()) == 1)

    return fleet({"echo": server("echo.py"), "gone": server("echo.py")}, use)


def instances() -> AbstractAsyncContextManager[Part]:
    """A server of which each client has an instance; a client comes and goes."""

    async def use(watched: Watched) -> None:
        ada = Client(watched)
        await ada.pid()
        ada.tenant.ended.set()
        await _until(lambda: len(watched.fleet._roster.all()) == 1)

    return fleet({"echo": server("echo.py", affinity="client")}, use)


def remote() -> AbstractAsyncContextManager[Part]:
    """A remote server that is called, and forgets the session."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Part]:
        async with odd_serving(Odd(streams=True)) as odd:

            async def use(watched: Watched) -> None:
                await watched.call("odd", "echo")
                await odd.until_seen("GET")
                odd.forget()
                await watched.call("odd", "echo")

            async with fleet({"odd": {"url": odd.url}}, use) as part:
                yield part

    return scenario()


def sse() -> AbstractAsyncContextManager[Part]:
    """A server of the older transport, whose stream breaks off."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Part]:
        odd = Odd(keeps_session=False, endpoint="/mcp")
        async with odd_serving(odd):

            async def use(watched: Watched) -> None:
                """It never answers on the stream, so its start is all that there is."""

            definition: JsonObject = {
                "url": odd.url,
                "transport": "sse",
                "start_timeout_secs": 0.3,
            }
            async with fleet({"odd": definition}, use) as part:
                yield part

    return scenario()


def scripts(level: Level) -> AbstractAsyncContextManager[Part]:
    """The sandbox: a script that calls a tool and fetches a page."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Part]:
        with tempfile.TemporaryDirectory() as name:
            async with origins(Path(name)) as outside:
                profile = Profile(LIMITS, ("api.github.test",))
                pool = Pool(
                    at(level),
                    {"": profile},
                    lambda one: Egress(one.allowed_hosts, outside.net),
                )
                ready = asyncio.Event()

                async def run() -> None:
                    async with pool:
                        await pool.start()
                        ready.set()
                        await asyncio.Event().wait()

                async def use() -> None:
                    async with asyncio.timeout(READY_SECS):
                        await ready.wait()
                        outcome = await pool.run(Job(_FETCH, LIMITS), _later)
                    assert outcome.error is None, outcome.error

                yield Part(run, use, lambda: pool._lanes)

    return scenario()


_FETCH = """
import urllib.request
api.call_tool("s", "t")
result = urllib.request.urlopen("http://api.github.test/a").read().decode()
"""


async def _later(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
    """A tool that has to be waited for."""
    await asyncio.sleep(LOOK_SECS)
    return await echo(ref, arguments)


def frontends() -> AbstractAsyncContextManager[Part]:
    """Clients over HTTP: a session, its streams, a script that tells of itself, one over HTTP+SSE,
    plain ones."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Part]:
        served: asyncio.Future[Served] = asyncio.get_running_loop().create_future()
        kept: list[Served] = []

        async def run() -> None:
            async with serving(Bounds(heartbeat_secs=0.05, sweep_secs=0.05)) as one:
                kept.append(one)
                served.set_result(one)
                await asyncio.Event().wait()

        async def use() -> None:
            async with asyncio.timeout(READY_SECS):
                one = await asyncio.shield(served)
                headers = await one.open()
                async with one.http.stream("GET", "/mcp", headers=headers) as stream:
                    one.world.publish("a", "say")
                    await anext(stream.aiter_lines())
                    told = script("say 2", token="t")
                    await one.http.post("/mcp", json=told, headers=headers)
                    async with asyncio.TaskGroup() as tasks:
                        waits = tasks.create_task(
                            one.http.post("/mcp", json=script("wait", 2), headers=headers)
                        )
                        await one.scripts.waiting.wait()
                        waits.cancel()
                async with one.http.stream("GET", "/sse") as stream:
                    place = (await anext(events(stream))).data
                    one.scripts.waiting.clear()
                    await one.http.post(place, json=script("wait"))
                    await one.scripts.waiting.wait()
                await one.http.post("/message", json=request("ping"))
                await one.http.post("/message", json=[request("ping"), request("ping", id_=2)])

        yield Part(run, use, lambda: [one for one in kept if len(one.sessions)])

    return scenario()


def hook() -> AbstractAsyncContextManager[Part]:
    """A command of an operator that takes its time."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Part]:
        async def run() -> None:
            spec = HookSpec(command=("sleep", "1000"))
            await Hooks({}, os.environ).run([spec], Occasion("manual"))

        async def use() -> None:
            await asyncio.sleep(0.2)

        yield Part(run, use)

    return scenario()


def manifest() -> AbstractAsyncContextManager[Part]:
    """The manifest: a first one, one at once, one for which a hook is waited for."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Part]:
        done = asyncio.Event()

        async def hook(_: Occasion) -> None:
            await asyncio.sleep(LOOK_SECS)

        async def after(_: Occasion) -> None:
            await asyncio.sleep(LOOK_SECS)
            done.set()

        settings = RefreshHooks(
            pre_refresh=(HookSpec(name="hook"),),
            post_refresh=(HookSpec(name="after"),),
            events=("startup", "tools_changed"),
        )
        refreshes = Refreshes(Hooks({"hook": hook, "after": after}, {}), lambda: settings)
        live = Live(tuple, lambda _: None, refreshes)

        async def use() -> None:
            async with asyncio.timeout(READY_SECS):
                await live.begun()
                await done.wait()
                done.clear()
                live.changed("tools_changed")
                await done.wait()

        yield Part(live.run, use)

    return scenario()


def stubs() -> AbstractAsyncContextManager[Part]:
    """Stubs of two manifests; the second is shown while the first may be on its way."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Part]:
        writer = StubWriter()
        with tempfile.TemporaryDirectory() as folder:
            settings = StubGeneration(enabled=True, output_dir=folder)

            async def use() -> None:
                async with asyncio.timeout(READY_SECS):
                    for name in ("one", "two"):
                        writer.show(settings, build((ServerView(name, "ready"),)), {})
                        await _until(partial(_has, Path(folder) / "mcproxy_api.d.ts", name))

            yield Part(writer.run, use)

    return scenario()


def _has(path: Path, word: str) -> bool:
    return path.exists() and word in path.read_text()


def reload() -> AbstractAsyncContextManager[Part]:
    """The configuration file: it changes, and what follows takes its time."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Part]:
        with tempfile.TemporaryDirectory() as name:
            source = Path(name) / "mcproxy.json"
            source.write_text('{"servers": {}}')
            applied = asyncio.Event()

            async def apply(_loaded: Loaded, _causes: object) -> None:
                await asyncio.sleep(LOOK_SECS)
                applied.set()

            async def use() -> None:
                await asyncio.sleep(0)  # what the file was is looked at when the watch begins
                source.write_text('{"servers": {}, "groups": {}}')
                async with asyncio.timeout(READY_SECS):
                    await applied.wait()

            reloader = Reloader(source, apply)
            yield Part(lambda: reloader.run(watch=True), use)

    return scenario()


def verifier() -> AbstractAsyncContextManager[Part]:
    """The issuer in force, where none is."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Part]:
        one = Verifier(None)

        async def use() -> None:
            one.use(None)
            await asyncio.sleep(LOOK_SECS)

        yield Part(one.run, use)

    return scenario()
