"""Running the gateway on a transport until it is told to stop.

Owns the listener, what the process need not look for, and how many files may be open: a connection
takes one descriptor, a server four, a worker three, and a gateway that runs out of them can neither
answer ``/health`` nor start a server, so connections are bounded below what there is. What is
served is ``app``'s.
"""

import asyncio
import logging
import os
import resource
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace
from starlette.types import ASGIApp

import mcproxy
from mcproxy.app import App
from mcproxy.commands.welcome import Welcome
from mcproxy.config.load import Loaded
from mcproxy.config.running import announced, url_of
from mcproxy.config.state import state_directory
from mcproxy.frontends import stdio
from mcproxy.frontends.connections import LISTEN_BACKLOG, ConnectionLimits, Connections
from mcproxy.frontends.http import application
from mcproxy.frontends.pipes import connected
from mcproxy.frontends.request_auth import Site
from mcproxy.frontends.sessions import Bounds, Sessions
from mcproxy.heap import Heap
from mcproxy.observe.redact import Redactor
from mcproxy.policy.origins import Bind, bind_to
from mcproxy.signals import STOPS, heard

if TYPE_CHECKING:
    from starlette.routing import Route

    from mcproxy.frontends.shared_routing import SharedSite
    from mcproxy.page.routes import Page

WANTED = 8192  # a login shell gives 1024; more than this, programs that use select(2) do not like
RESERVED = 384  # for sixty servers, the workers of sixty-four scripts, files and health


def raise_descriptor_limit() -> int:
    """Raise the soft limit of this process, and of what it starts, as far as is wanted and allowed;
    gives what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def connection_limits(descriptors: int) -> ConnectionLimits:
    """How many connections leave enough for everything else; half of them for one address."""
    usual = ConnectionLimits()
    in_all = max(64, min(usual.in_all, descriptors - RESERVED))
    return ConnectionLimits(in_all, min(usual.of_one_address, in_all // 2))


def tell_what_is_missing() -> None:
    """Have no request look for ``sniffio``. httpcore asks it, four times a request, which kind of
    loop runs, and goes by asyncio's where it is not there; an import that fails takes 0.1 ms, as
    none is remembered but so (Python's reference, 5.3.1)."""
    sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]  # as the reference has it


ASK_SECS = 1.0  # for the first request of who had come by then: few open a connection for later
FLUSH_SECS = 2.0  # at the end, a client that still reads has read what was written by then

Mask = Callable[[Redactor], None]

_OPEN = (
    "listening on %s without any auth: everybody who reaches this address can call every tool; "
    "set auth.tokens or auth.jwt, and require_auth, or bind 127.0.0.1"
)

log = logging.getLogger(__name__)


def bind(host: str, port: int) -> socket.socket:
    """Listen at a host and port. Raises OSError, in words for the user."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        text = f"cannot listen on {host}, port {port}: {reason}; --host and --port choose another"
        raise OSError(text) from error


@asynccontextmanager
async def in_process(loaded: Loaded) -> AsyncIterator[ASGIApp]:
    """The same application for this process alone: it listens nowhere and follows no file."""
    app = App(loaded, lambda _: None, watch=False)
    sessions = Sessions(app.gateway, app.gate)
    async with app.running(), sessions.running():
        site = _site(app, sessions, bind_to("127.0.0.1"))
        page = _PageOnDemand(site, app)
        yield application(site, page.routes)
        page.close()
        sessions.close()


class _PageOnDemand:
    """The page of a gateway, loaded when somebody first looks at it, or at what is not there."""

    def __init__(self, site: Site, app: App) -> None:
        self._site, self._app = site, app
        self._page: Page | None = None

    def routes(self) -> "list[Route]":
        """Its routes; called once."""
        from mcproxy.page.routes import Page  # noqa: PLC0415

        self._page = Page(self._site, self._app.console())
        return self._page.routes()

    def close(self) -> None:
        """Let go of whoever looks."""
        if self._page:
            self._page.viewings.close()


def _site(app: App, sessions: Sessions, bound: Bind) -> Site:
    return Site(app.gateway, app.gate, app.health, app.metrics, bound, sessions, app.verified)


def _shared_site(
    app: App, sessions: Sessions, loaded: Loaded, listener: socket.socket
) -> "SharedSite | None":
    """What makes this one of several gateways, where they share their state."""
    stores = app.stores.shared
    if stores is None:
        return None
    # What a gateway by itself need not load.
    from mcproxy.frontends.peers import OtherGateway, Peers, reached_at  # noqa: PLC0415
    from mcproxy.frontends.shared_routing import SharedSite  # noqa: PLC0415
    from mcproxy.frontends.shared_sessions import SharedSessions  # noqa: PLC0415

    state = loaded.config.state
    me = OtherGateway(stores.gateway, state.peer_url or reached_at(listener, str(state.url)))
    kept = SharedSessions(stores.sessions, sessions, me)
    return SharedSite(stores.sessions, Peers(me, app.stores.secret), kept, app.gateway.identify)


async def serve_http(
    loaded: Loaded,
    mask: Mask,
    listener: socket.socket,
    *,
    watch: bool = True,
    bounds: Bounds | None = None,
    welcome: Welcome | None = None,
) -> None:
    """Serve HTTP on what ``bind`` gave until SIGTERM or SIGINT; ``mask`` and ``watch`` as in
    ``App``."""
    host, port = listener.getsockname()[:2]
    bound = bind_to(host)
    tell_what_is_missing()
    connections = Connections(connection_limits(raise_descriptor_limit()))
    heap = Heap()
    noted = welcome.servers if welcome else lambda _: None
    app = App(loaded, mask, watch=watch, noted=noted, swapped=heap.swapped)
    sessions = Sessions(app.gateway, app.gate, bounds)
    shared = _shared_site(app, sessions, loaded, listener)
    site = replace(_site(app, sessions, bound), shared=shared)
    page = _PageOnDemand(site, app)
    asgi = application(site, page.routes)
    if not bound.loopback and not app.has_auth:
        log.warning(_OPEN, host)
    async with (
        stop_signal() as stop,
        heap.running(),
        app.running(),
        shared.running() if shared else nullcontext(),
        sessions.running(),
        asyncio.TaskGroup() as tasks,
    ):
        serving = tasks.create_task(connections.run(asgi, listener), name="http")
        named = f"[{host}]" if ":" in host else host
        if welcome:
            welcome.sandbox(app.sandbox)
        state = state_directory(loaded.environment)
        with announced(state, url_of(host, port), loaded.source, mcproxy.__version__):
            log.info("listening on http://%s:%d", named, port)
            await stop.wait()
        if shared:  # a balancer tries another gateway then, and not after a reply of 503
            connections.accept_no_more()
            await connections.let_ask(ASK_SECS)
        page.close()
        await app.gate.drain()
        sessions.close()
        await connections.close(FLUSH_SECS)
        serving.cancel()


async def serve_stdio(
    loaded: Loaded, mask: Mask, read: int, write: int, *, watch: bool = True
) -> None:
    """Serve one client on two file descriptors until the input ends or a signal comes."""
    tell_what_is_missing()
    heap = Heap()
    app = App(loaded, mask, watch=watch, swapped=heap.swapped)
    async with (
        stop_signal() as stop,
        heap.running(),
        connected(read, write) as (chunks, send),
        app.running(),
        asyncio.TaskGroup() as tasks,
    ):
        serving = tasks.create_task(stdio.serve(app.gateway, app.gate, chunks, send))
        stopping = tasks.create_task(stop.wait())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        await app.gate.drain()
        serving.cancel()
        stopping.cancel()


class StopSignal:
    """SIGTERM or SIGINT; any further one says nothing new."""

    def __init__(self) -> None:
        self.start = asyncio.timeout(None)
        self._given = asyncio.Event()
        self._waited_for = False

    def take(self) -> None:
        """It is there: whoever waits for it goes on, or the start is cut short."""
        if not self._given.is_set() and not self._waited_for:
            self.start.reschedule(asyncio.get_running_loop().time())
        self._given.set()

    async def wait(self) -> None:
        """Return when it comes; from now on it cuts nothing short."""
        self._waited_for = True
        await self._given.wait()


@asynccontextmanager
async def stop_signal() -> AsyncIterator[StopSignal]:
    """What comes within is cut short by the signal, and all is cleared away, until it is waited
    for: a start may take as long as hooks and slow servers do."""
    stop = StopSignal()
    try:
        with heard(stop.take, *STOPS):
            async with stop.start:
                yield stop
    except TimeoutError:
        if not stop.start.expired():
            raise
        log.info("told to stop before it had started")
