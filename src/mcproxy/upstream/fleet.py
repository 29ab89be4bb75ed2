"""All upstream servers by name: starts them together, routes a call to the right one.

``Fleet.call`` is the innermost ``CallTool``. Announces every change of a server's state or tools;
knows nothing of namespaces: whoever asks for a tool here is allowed to.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from mcproxy.config.inherit import env_isolated
from mcproxy.config.load import Loaded
from mcproxy.config.model import ServerConfig
from mcproxy.errors import UnknownServer
from mcproxy.types import (
    Json,
    JsonObject,
    ServerHealth,
    ServerView,
    ToolRef,
    ToolResult,
    Upstream,
)
from mcproxy.upstream import remote, stdio
from mcproxy.upstream.process import Command, child_environment
from mcproxy.upstream.restart import REMOTE
from mcproxy.upstream.supervisor import CallTimes, Supervisor, Way
from mcproxy.wire.message import Notification


def _unheard(server: str, note: Notification) -> None:
    """For those who do not want to hear of servers' notifications."""


class Fleet:
    """The configured servers. ``run`` keeps them up; ``on_change`` is called after each change,
    ``on_event`` with a server's name and what it tells of its prompts and resources."""

    def __init__(
        self,
        loaded: Loaded,
        on_change: Callable[[], None],
        on_event: Callable[[str, Notification], None] = _unheard,
    ) -> None:
        servers, unconfigured = loaded.config.servers, loaded.unconfigured
        self._idle = {
            name: _not_started(server, unconfigured.get(name))
            for name, server in servers.items()
            if not server.enabled or name in unconfigured
        }
        self._supervisors = {
            name: _supervisor(name, loaded, on_change, on_event)
            for name, server in servers.items()
            if name not in self._idle
        }

    async def run(self) -> None:
        """Start all servers at once and keep them up; cancelled, stop them all."""
        async with asyncio.TaskGroup() as tasks:
            for supervisor in self._supervisors.values():
                tasks.create_task(supervisor.run(), name=f"server {supervisor.name}")

    async def call(self, ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        """A ``CallTool``: the reference names server and tool exactly. Raises CallError."""
        return await self._of(ref).call(ref, arguments)

    @property
    def upstream(self) -> Upstream:
        """What else can be asked of servers. Raises CallError, as ``call`` does."""

        async def request(server: str, method: str, params: Mapping[str, Json]) -> bytes:
            return await self._of(ToolRef(server, method)).request(method, dict(params))

        async def list_(server: str, method: str) -> Sequence[JsonObject]:
            return await self._of(ToolRef(server, method)).list(method)

        async def watch(server: str, uri: str, wanted: bool) -> None:
            await self._of(ToolRef(server, uri)).watch(uri, wanted=wanted)

        return Upstream(request, list_, watch)

    def _of(self, ref: ToolRef) -> Supervisor:
        supervisor = self._supervisors.get(ref.server)
        if supervisor is None:
            raise UnknownServer(ref, (), sorted(self._supervisors))
        return supervisor

    async def settled(self) -> None:
        """Return once every server is ready or has failed for the first time."""
        for supervisor in self._supervisors.values():
            await supervisor.settled()

    def views(self) -> tuple[ServerView, ...]:
        """What every server offers now, the ones that do not run included."""
        running = tuple(supervisor.view for supervisor in self._supervisors.values())
        idle = tuple(ServerView(name, health.state) for name, health in self._idle.items())
        return running + idle

    def health(self) -> Mapping[str, ServerHealth]:
        """How every server is."""
        running = {name: supervisor.health for name, supervisor in self._supervisors.items()}
        return {**running, **self._idle}


def _supervisor(
    name: str,
    loaded: Loaded,
    on_change: Callable[[], None],
    on_event: Callable[[str, Notification], None],
) -> Supervisor:
    server = loaded.config.servers[name]
    times = CallTimes(server.timeout_secs, server.tool_timeouts, server.sandbox.timeout_secs)
    return Supervisor(
        name,
        _way(name, loaded),
        times,
        on_change,
        on_event=on_event,
        description=server.description or "",
    )


def _way(name: str, loaded: Loaded) -> Way:
    server = loaded.config.servers[name]
    if server.url:
        return Way(partial(remote.connect, name, server), REMOTE)
    isolated = env_isolated(loaded.config, name)
    env = child_environment(loaded.environment, server.env, isolated=isolated)
    cwd = Path(server.cwd).expanduser() if server.cwd else None
    command = Command([server.command or "", *server.args], env, cwd)
    return Way(partial(stdio.connect, name, command))


def _not_started(server: ServerConfig, missing: str | None) -> ServerHealth:
    if not server.enabled:
        return ServerHealth("disabled")
    return ServerHealth("unconfigured", last_error=missing)
