"""All upstream servers by name: starts them, routes a call to the right one, follows changes.

``Fleet.call`` is the innermost link of every call. Announces every change of a server's state or
tools; knows nothing of namespaces: whoever asks for a tool here is allowed to. How one server is
kept up is for its supervisor, how a changed one takes over from the old for ``server_table``.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from mcproxy.call_errors import CallError, ServerDown, UnknownServer
from mcproxy.config.load import Loaded
from mcproxy.config.state import state_directory
from mcproxy.exchange import Exchange, Tenant, Upstream
from mcproxy.hooks import Action, Occasion
from mcproxy.types import Change, Json, JsonObject, ServerHealth, ServerView, ToolRef
from mcproxy.upstream.child.tree import processes
from mcproxy.upstream.definition import Definition, definitions, not_running
from mcproxy.upstream.server_table import Around, OnEvent, ServerTable
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.upstream.supervision.supervisor import Supervisor
from mcproxy.wire.message import Notification

PATROL_SECS = 1.0  # how often processes are looked at: how long one may exceed its memory
ANSWER_SECS = 5.0  # a server that takes longer to answer a ping is ill
DRAIN_SECS = 10.0  # calls under way may end within this time when servers are drained

TURNED_OFF = ServerHealth("disabled", last_error="it was turned off on the page, for this run")


def _unheard(server: str, note: Notification, tenant: Tenant | None) -> None:
    """For those who do not want to hear of servers' notifications."""


class Wanted(msgspec.Struct, frozen=True):
    """What a configuration asks for: servers that are to run, and those that are not, by name."""

    running: Mapping[str, Definition]
    idle: Mapping[str, ServerHealth]


def wanted(loaded: Loaded) -> Wanted:
    """What this configuration asks for. Pure: what is wrong with it shows here."""
    return Wanted(definitions(loaded), not_running(loaded))


class Fleet:
    """The configured servers. ``run`` keeps them up, ``call`` calls their tools (a ``ServerCall``);
    ``on_change`` is told each change, ``on_event`` with a server's name, what else it tells, and to
    whom; ``extensions`` are those that servers are offered when they start, with their settings."""

    def __init__(
        self,
        loaded: Loaded,
        on_change: Callable[[Change], None],
        on_event: OnEvent = _unheard,
        extensions: Mapping[str, JsonObject] = MappingProxyType({}),
    ) -> None:
        self._on_change = on_change
        self._wanted = wanted(loaded)
        self._off: set[str] = set()
        memories = state_directory(loaded.environment) / "tools"
        around = Around(on_change, on_event, memories, extensions)
        self._roster = ServerTable(self._wanted.running, around, self._absent)
        self.call = self._roster.call

    async def run(self) -> None:
        """Start all servers and keep them up; cancelled, stop them all."""
        async with self._roster.running():
            await self._patrol()

    def apply(self, new: Wanted) -> None:
        """Follow another configuration: start, replace and stop what differs, leave the rest.

        Usable while ``run`` runs. Returns at once; what starts and stops takes its time.
        """
        self._wanted = new
        on = {name: one for name, one in new.running.items() if name not in self._off}
        self._roster.apply(on)
        self._on_change("tools_changed")

    def restart(self, name: str) -> None:
        """Start a server anew. Nothing happens to one that is not to run."""
        member = self._roster.find(name)
        if member:
            member.supervisor.renew()

    def turn_off(self, name: str) -> None:
        """Stop a server and leave it down, whatever the configuration says, until it is turned on
        or the program ends."""
        if name in self._wanted.running and name not in self._off:
            self._off.add(name)
            self._roster.end(name)
            self._on_change("tools_changed")

    @property
    def turned_off(self) -> frozenset[str]:
        """The servers that were turned off."""
        return frozenset(self._off)

    def turn_on(self, name: str) -> None:
        """Start one that was turned off."""
        if name in self._off:
            self._off.discard(name)
            if name in self._wanted.running:
                self._roster.begin(self._wanted.running[name])
            self._on_change("tools_changed")

    @property
    def upstream(self) -> Upstream:
        """What else can be asked of servers. Raises CallError, as ``call`` does."""

        async def request(
            exchange: Exchange, server: str, method: str, params: Mapping[str, Json]
        ) -> bytes:
            serving = self._roster.of(ToolRef(server, method)).serving
            return await serving.request(exchange, method, dict(params))

        async def list_(server: str, method: str) -> Sequence[JsonObject]:
            return await self._roster.of(ToolRef(server, method)).supervisor.calls.list(method)

        def whose(server: str, tenant: Tenant) -> Tenant | None:
            member = self._roster.find(server)
            return tenant if member and member.apart else None

        async def watch(exchange: Exchange, server: str, uri: str, whose: Tenant | None) -> None:
            await self._roster.of(ToolRef(server, uri)).serving.watch(exchange, uri, whose)

        async def unwatch(server: str, uri: str, whose: Tenant | None) -> None:
            await self._roster.of(ToolRef(server, uri)).serving.unwatch(uri, whose)

        return Upstream(request, list_, whose, watch, unwatch)

    async def settled(self) -> None:
        """Return once every server is ready or has failed for the first time."""
        for supervisor in self._supervisors():
            await supervisor.settled()

    async def known(self) -> None:
        """Return once of every server its tools are known, from this run or an earlier one, or it
        has failed for the first time."""
        for supervisor in self._supervisors():
            if not supervisor.view.tools:
                await supervisor.settled()

    def views(self) -> tuple[ServerView, ...]:
        """What every server offers now, the ones that do not run included."""
        running = tuple(supervisor.view for supervisor in self._supervisors())
        idle = tuple(ServerView(name, health.state) for name, health in self._not_running().items())
        return running + idle

    def health(self) -> Mapping[str, ServerHealth]:
        """How every server is."""
        return {**self._roster.health(), **self._not_running()}

    async def check(self) -> Mapping[str, str]:
        """Ask every server that should be up whether it is: what is wrong, by name."""
        supervisors = self._supervisors()
        async with asyncio.TaskGroup() as tasks:
            asked = {
                supervisor: tasks.create_task(supervisor.answers(ANSWER_SECS))
                for supervisor in supervisors
            }
        ill = (supervisor for supervisor, task in asked.items() if not task.result())
        return {
            supervisor.name: supervisor.health.last_error or f"it is {supervisor.state}, no answer"
            for supervisor in ill
        }

    async def drained(self) -> bool:
        """Wait until no call is under way, at most DRAIN_SECS; whether none is."""
        try:
            async with asyncio.timeout(DRAIN_SECS):
                for member in self._roster.serving():
                    await member.drained()
        except TimeoutError:
            return False
        return True

    def restart_failed(self) -> None:
        """Give every server that was given up another chance."""
        for supervisor in self._supervisors():
            supervisor.revive()

    async def look(self) -> None:
        """Look after the processes now: what they have started, their memory, their age."""
        table = await asyncio.to_thread(processes)
        for supervisor in self._roster.all():
            supervisor.tend(table)

    def _not_running(self) -> Mapping[str, ServerHealth]:
        off = {name: TURNED_OFF for name in self._off if name in self._wanted.running}
        return {**self._wanted.idle, **off}

    def _supervisors(self) -> Sequence[Supervisor]:
        """Those that know the tools."""
        return [member.supervisor for member in self._roster.serving()]

    def _absent(self, ref: ToolRef) -> CallError:
        """Why a server takes no calls: it is not up, was taken away, or never was."""
        if health := self._not_running().get(ref.server):
            return ServerDown(ref, health.last_error or f"it is {health.state}")
        if self._roster.was_removed(ref.server):
            return ServerDown(ref, "it was taken out of the configuration")
        return UnknownServer(ref, (), sorted(one.name for one in self._supervisors()))

    async def _patrol(self) -> None:
        while True:
            await asyncio.sleep(PATROL_SECS)
            await self.look()


log = logging.getLogger(__name__)


def fleet_actions(fleet: Fleet) -> Mapping[str, Action]:
    """The actions by their names.

    ``health_check_all`` tells who is ill and stops nothing: a refresh may be what cures it.
    ``drain_connections`` waits, bounded, until no call is under way; what still runs goes on.
    ``restart_failed`` does nothing on ``server_health``: a server that was just given up would be
    revived by its own failure, without end.
    """

    async def health_check_all(occasion: Occasion) -> None:
        for name, reason in (await fleet.check()).items():
            ServerLog(log, name).warning("ill: %s", reason)

    async def drain_connections(occasion: Occasion) -> None:
        if not await fleet.drained():
            log.warning("some calls are still under way")

    async def restart_failed(occasion: Occasion) -> None:
        if occasion.event != "server_health":
            fleet.restart_failed()

    async def notify_monitors(occasion: Occasion) -> None:
        states = Counter(health.state for health in fleet.health().values())
        told = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        log.info("servers after the refresh: %s", told)

    return {
        "health_check_all": health_check_all,
        "drain_connections": drain_connections,
        "restart_failed": restart_failed,
        "notify_monitors": notify_monitors,
    }
