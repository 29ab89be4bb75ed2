"""The composition root: builds every part, ties them together, starts and stops them.

Owns the top TaskGroup and the snapshot in force. Has no request logic: what a request does is told
by ``gateway``; what goes in and out by ``frontends``.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sysconfig
import time
from collections.abc import AsyncIterator, Iterator, Mapping

import uvicorn

from mcproxy.config.load import Loaded
from mcproxy.config.state import state_directory
from mcproxy.frontends import stdio
from mcproxy.frontends.entry import Site
from mcproxy.frontends.gate import Gate
from mcproxy.frontends.guard import is_loopback
from mcproxy.frontends.http import application
from mcproxy.frontends.pipes import reading, writing
from mcproxy.frontends.sessions import Sessions
from mcproxy.gateway.core import Gateway, Outside
from mcproxy.gateway.snapshot import Snapshot, take_snapshot
from mcproxy.manifest.hooks import Event, HookFailed, Hooks
from mcproxy.manifest.live import Live
from mcproxy.manifest.model import Manifest, build
from mcproxy.observe.health import Status, report
from mcproxy.policy.access import Policy, policy_of, usable
from mcproxy.policy.rate import RateLimiter
from mcproxy.reload import Reloader
from mcproxy.sandbox.check import check
from mcproxy.sandbox.egress import Egress
from mcproxy.sandbox.installer import Installer
from mcproxy.sandbox.packages import Packages
from mcproxy.sandbox.pool import Pool, PoolSettings
from mcproxy.sandbox.profile import Profile, profile_for
from mcproxy.types import Caller, CallTool, Job, Json, Outcome, RunCode
from mcproxy.upstream.actions import fleet_actions
from mcproxy.upstream.fleet import Fleet
from mcproxy.wire.message import Notification

KEEP_ALIVE_SECS = 75  # longer than most clients and proxies, so that they close first
_FIXED = ("level", "min_level", "pool_size")  # of ``sandbox``: decided when the program starts

log = logging.getLogger(__name__)


class App:
    """One gateway: its servers, its rules, and what it answers.

    ``watch``: it follows changes of its configuration file; SIGHUP it always follows.
    """

    def __init__(self, loaded: Loaded, *, watch: bool = True) -> None:
        self.gate = Gate()
        self._loaded = loaded
        self._started = time.monotonic()
        self._policy = policy_of(loaded.config)
        self._snapshot = take_snapshot(self._policy, build(()))
        self._fleet = Fleet(loaded, self._on_change, self._on_event)
        self._live = Live(self._fleet.views, self._publish)
        self._reloader = Reloader(loaded.source, self._refresh)
        self._hooks = Hooks(fleet_actions(self._fleet), loaded.environment)
        self._watch = watch
        sandbox, environment = loaded.config.sandbox, loaded.environment
        self._packages = Packages(
            state_directory(environment) / "packages",
            Installer.found(environment, sandbox.uv_path),
        )
        libraries = (sysconfig.get_path("purelib"),)  # httpx, for scripts that have a network
        self._pool = Pool(
            PoolSettings(sandbox.level, sandbox.min_level, sandbox.pool_size, libraries),
            _profiles(self._policy),
            lambda profile: Egress(profile.allowed_hosts),
            self._packages.get,
        )
        limiter = RateLimiter(time.monotonic)
        run = _checked(self._pool.run)
        outside = Outside(run, self._fleet.call, self._fleet.upstream, limiter.take)
        self.gateway = Gateway(self._current, outside)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the sandbox and the servers; on leaving, stop them all.

        Waits at the start until the servers are up, at most ``manifests.startup_dwell_secs``, so
        that the first client sees their tools. Raises SandboxUnavailable when the sandbox cannot
        reach ``sandbox.min_level``.
        """
        async with (
            self._packages,
            self._pool,
            self.gateway.running(),
            asyncio.TaskGroup() as tasks,
        ):
            await self._pool.start()
            self._install(self._policy)
            servers = tasks.create_task(self._fleet.run(), name="fleet")
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._loaded.config.manifests.startup_dwell_secs):
                        await self._fleet.known()
                self._live.refresh()
                following = tasks.create_task(self._reloader.run(watch=self._watch), name="reload")
                yield
                following.cancel()
            finally:
                servers.cancel()

    async def _refresh(self, loaded: Loaded, event: Event) -> None:
        """Go by another configuration, with the hooks around it. Raises HookFailed, as ``apply``
        raises ConfigError."""
        await self._hooks.run(self._loaded.config.manifests.refresh_event_hooks.pre_refresh, event)
        self.apply(loaded)
        try:
            await self._hooks.run(loaded.config.manifests.refresh_event_hooks.post_refresh, event)
        except HookFailed as error:
            log.warning("after the refresh: %s", error)

    def apply(self, loaded: Loaded) -> None:
        """Go by another configuration from now on; what runs ends as it began.

        Raises ConfigError, having changed nothing, where this machine cannot enforce it.
        """
        policy = policy_of(loaded.config)
        self._pool.apply(_profiles(policy))
        for name in _FIXED:
            if getattr(loaded.config.sandbox, name) != getattr(self._loaded.config.sandbox, name):
                log.warning("sandbox.%s has changed: it counts from the next start on", name)
        self._policy, self._loaded = policy, loaded
        self._install(policy)
        self._fleet.apply(loaded)
        self._live.refresh()

    def health(self, caller: Caller) -> Json:
        """What ``/health`` tells this caller: servers of namespaces that need no token, and of
        those that its token opens. Raises AccessDenied for a wrong token."""
        visible = {name for place in usable(self._policy, caller) for name in place.servers}
        health = self._fleet.health()
        servers = {name: server for name, server in health.items() if name in visible}
        uptime = time.monotonic() - self._started
        error = self._reloader.error
        if error and len(servers) < len(health):
            error = "the changed file is refused; the log has the reason"  # it may name the others
        return report(Status(uptime, self.gate.closed, error), servers, self._pool.report)

    def _install(self, policy: Policy) -> None:
        """Begin to install the packages that scripts may import."""
        for profile in _profiles(policy).values():
            if profile.packages:
                self._packages.begin(profile.packages)

    def _current(self) -> Snapshot:
        return self._snapshot

    def _on_change(self) -> None:
        self._live.changed()

    def _on_event(self, server: str, note: Notification) -> None:
        self.gateway.heard(server, note)

    def _publish(self, manifest: Manifest) -> None:
        before, self._snapshot = self._snapshot, take_snapshot(self._policy, manifest)
        self.gateway.changed(before)


async def serve_http(loaded: Loaded, host: str, port: int, *, watch: bool = True) -> None:
    """Serve HTTP until SIGTERM or SIGINT; ``watch`` as in ``App``.

    Raises OSError when the port cannot be bound.
    """
    listener = socket.create_server((host, port), family=_family(host), backlog=2048)
    app = App(loaded, watch=watch)
    sessions = Sessions(app.gateway, app.gate)
    site = Site(app.gateway, app.gate, app.health, is_loopback(host), sessions)
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
    async with app.running(), sessions.running(), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve([listener]), name="http")
        log.info("listening on http://%s:%d", host, listener.getsockname()[1])
        await _stop_signal()
        await app.gate.drain()
        sessions.close()
        server.should_exit = True
        await serving


async def serve_stdio(loaded: Loaded, read: int, write: int, *, watch: bool = True) -> None:
    """Serve one client on two file descriptors until the input ends or a signal comes."""
    app = App(loaded, watch=watch)
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


def _profiles(policy: Policy) -> Mapping[str, Profile]:
    """What the scripts of each endpoint may do."""
    return {name: profile_for(place.sandbox) for name, place in policy.endpoints.items()}


async def _stop_signal() -> None:
    """Return at SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
