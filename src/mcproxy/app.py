"""The composition root: builds every part, ties them together, starts and stops them.

Owns the top TaskGroup and the snapshot in force. Has no request logic: what a request does is told
by ``gateway``; what goes in and out by ``frontends``.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator

import uvicorn

from mcproxy.config.load import Loaded
from mcproxy.frontends import stdio
from mcproxy.frontends.gate import Gate
from mcproxy.frontends.guard import is_loopback
from mcproxy.frontends.http import Site, application
from mcproxy.frontends.pipes import reading, writing
from mcproxy.gateway.core import Gateway
from mcproxy.gateway.metatools import MetaTools
from mcproxy.gateway.snapshot import Snapshot, take_snapshot
from mcproxy.manifest.live import Live
from mcproxy.manifest.model import Manifest, build
from mcproxy.observe.health import Status, report
from mcproxy.policy.access import policy_of, usable
from mcproxy.policy.rate import RateLimiter
from mcproxy.sandbox.check import check
from mcproxy.sandbox.pool import Pool, PoolSettings
from mcproxy.sandbox.profile import profile_for
from mcproxy.types import Caller, CallTool, Job, Json, Outcome, RunCode
from mcproxy.upstream.fleet import Fleet

KEEP_ALIVE_SECS = 75  # longer than most clients and proxies, so that they close first

log = logging.getLogger(__name__)


class App:
    """One gateway: its servers, its rules, and what it answers."""

    def __init__(self, loaded: Loaded) -> None:
        self.gate = Gate()
        self._loaded = loaded
        self._started = time.monotonic()
        self._policy = policy_of(loaded.config)
        self._snapshot = take_snapshot(self._policy, build(()))
        self._fleet = Fleet(loaded, self._on_change)
        self._live = Live(self._fleet.views, self._publish)
        sandbox = loaded.config.sandbox
        self._pool = Pool(
            PoolSettings(sandbox.level, sandbox.min_level, sandbox.pool_size),
            {name: profile_for(place.sandbox) for name, place in self._policy.endpoints.items()},
        )
        limiter = RateLimiter(time.monotonic)
        tools = MetaTools(_checked(self._pool.run), self._fleet.call, limiter.take)
        self.gateway = Gateway(self._current, tools)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the sandbox and the servers; on leaving, stop them all.

        Waits at the start until the servers are up, at most ``manifests.startup_dwell_secs``, so
        that the first client sees their tools. Raises SandboxUnavailable when the sandbox cannot
        reach ``sandbox.min_level``.
        """
        async with self._pool, asyncio.TaskGroup() as tasks:
            await self._pool.start()
            servers = tasks.create_task(self._fleet.run(), name="fleet")
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._loaded.config.manifests.startup_dwell_secs):
                        await self._fleet.settled()
                self._live.refresh()
                yield
            finally:
                servers.cancel()

    def health(self, caller: Caller) -> Json:
        """What ``/health`` tells this caller: servers of namespaces that need no token, and of
        those that its token opens. Raises AccessDenied for a wrong token."""
        visible = {name for place in usable(self._policy, caller) for name in place.servers}
        health = self._fleet.health()
        servers = {name: server for name, server in health.items() if name in visible}
        uptime = time.monotonic() - self._started
        return report(Status(uptime, self.gate.closed), servers, self._pool.report)

    def _current(self) -> Snapshot:
        return self._snapshot

    def _on_change(self) -> None:
        self._live.changed()

    def _publish(self, manifest: Manifest) -> None:
        self._snapshot = take_snapshot(self._policy, manifest)


async def serve_http(loaded: Loaded, host: str, port: int) -> None:
    """Serve HTTP until SIGTERM or SIGINT. Raises OSError when the port cannot be bound."""
    listener = socket.create_server((host, port), family=_family(host), backlog=2048)
    app = App(loaded)
    site = Site(app.gateway, app.gate, app.health, is_loopback(host))
    server = _Server(
        uvicorn.Config(
            application(site),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECS,
            timeout_graceful_shutdown=1,
        )
    )
    async with app.running(), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve([listener]), name="http")
        log.info("listening on http://%s:%d", host, listener.getsockname()[1])
        await _stop_signal()
        await app.gate.drain()
        server.should_exit = True
        await serving


async def serve_stdio(loaded: Loaded, read: int, write: int) -> None:
    """Serve one client on two file descriptors until the input ends or a signal comes."""
    app = App(loaded)
    async with (
        reading(read) as chunks,
        writing(write) as send,
        app.running(),
        asyncio.TaskGroup() as tasks,
    ):
        serving = tasks.create_task(stdio.serve(app.gateway, app.gate, chunks, send))
        stopping = tasks.create_task(_stop_signal())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        await app.gate.drain()
        serving.cancel()
        stopping.cancel()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: when to stop is decided here."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _checked(run: RunCode) -> RunCode:
    """Let the friendly check read a script before it runs."""

    async def checked_run(job: Job, call: CallTool) -> Outcome:
        refused = check(job.source)
        return Outcome(error=refused) if refused else await run(job, call)

    return checked_run


async def _stop_signal() -> None:
    """Return at SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
