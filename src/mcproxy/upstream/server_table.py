"""The servers that run, each with the supervisor that knows its tools and who serves its calls, and
how one set of definitions gives way to the next.

A server that keeps no state is served by its supervisor itself; for one that does, each client has
an instance.

A changed server starts beside the old one, which answers until the new one is ready, or has been
given up: then the new definition counts all the same, since it is what the user asked for. What is
replaced or removed may end its calls first. Knows no configuration.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec
from msgspec.structs import replace

from mcproxy.call_errors import CallError
from mcproxy.exchange import Exchange, Tenant
from mcproxy.types import Change, Json, JsonObject, ServerHealth, ToolRef, ToolResult
from mcproxy.upstream.definition import Definition
from mcproxy.upstream.instances import Instances
from mcproxy.upstream.supervision.server_limits import StartSlots, Surroundings
from mcproxy.upstream.supervision.supervisor import Supervisor
from mcproxy.upstream.supervision.tool_cache import NoMemory, OfferFile
from mcproxy.upstream.supervisor_tasks import SupervisorTasks
from mcproxy.wire.message import Notification

SWITCH_SECS = 60.0  # a new server that is neither ready nor given up by then takes over anyway
_WORKING = ("ready", "idle")

OnEvent: TypeAlias = Callable[[str, Notification, Tenant | None], None]

log = logging.getLogger(__name__)


class Around(msgspec.Struct, frozen=True):
    """Who hears of all servers, and the extensions, see ``Surroundings``; the folder of their
    memories.

    ``on_event`` is told of whose instance a notification comes, None where all share the server.
    """

    on_change: Callable[[Change], None]
    on_event: OnEvent
    memories: Path
    extensions: Mapping[str, JsonObject] = msgspec.field(default_factory=dict)


class Serving(Protocol):
    """What takes a server's calls, see ``Calls``."""

    async def call(
        self, exchange: Exchange, ref: ToolRef, arguments: Mapping[str, Json]
    ) -> ToolResult:
        """Call a tool."""

    async def request(self, exchange: Exchange, method: str, params: JsonObject) -> bytes:
        """Send any other request."""

    async def watch(self, exchange: Exchange, uri: str, tenant: Tenant | None) -> None:
        """Hear of changes of one resource; ``tenant``: whom alone it is for."""

    async def unwatch(self, uri: str, tenant: Tenant | None) -> None:
        """Hear no longer of changes of one resource."""


class ServerEntry:
    """A server under one definition; ``key`` tells it from the same server under another one.
    ``serving`` takes its calls; its lists are the supervisor's in any case."""

    def __init__(
        self, definition: Definition, around: Around, turns: StartSlots, lives: SupervisorTasks
    ) -> None:
        self.key = definition.key
        self._definition, self._around = definition, around
        self._turns, self._lives = turns, lives
        memory = OfferFile(around.memories, definition.name, definition.key)
        surroundings = Surroundings(around.on_change, self._heard, turns, memory, around.extensions)
        self.supervisor = Supervisor(
            definition.name, definition.way, definition.terms, surroundings
        )
        self._instances = self._no_instances()
        self.serving = self._who_serves()

    @property
    def apart(self) -> bool:
        """Whether clients have instances of their own."""
        return self._definition.terms.sharing.affinity != "shared"

    @property
    def health(self) -> ServerHealth:
        """How the server is."""
        own = self.supervisor.health
        if not self.apart:
            return own
        instances = self._instances.up()
        sizes = [one.rss_mb for one in (own, *instances) if one.rss_mb is not None]
        pids = tuple(one.pid for one in instances)
        return replace(own, instances=pids, rss_mb=sum(sizes) if sizes else None)

    def begin(self) -> None:
        """Start the server."""
        self._lives.begin(self.supervisor)

    def adopt(self, definition: Definition) -> None:
        """Live by another definition of the same key; where others are to share an instance, those
        that there are end."""
        before, self._definition = self._definition, definition
        self.supervisor.adopt(definition.way, definition.terms)
        self._instances.adopt(definition.way, definition.terms)
        if before.terms.sharing.affinity != definition.terms.sharing.affinity:
            old, self._instances = self._instances, self._no_instances()
            self.serving = self._who_serves()
            self._lives.spawn(self._lives.end(old.close()))

    async def drained(self) -> None:
        """Return once no call is under way."""
        await self.supervisor.drained()
        await self._instances.drained()

    def close(self) -> Sequence[Supervisor]:
        """Take no new clients; gives all that is to end with the server."""
        return [self.supervisor, *self._instances.close()]

    def _who_serves(self) -> Serving:
        return self._instances if self.apart else self.supervisor.calls

    def _no_instances(self) -> Instances:
        definition = self._definition
        return Instances(
            definition.name, definition.way, definition.terms, self._surroundings, self._lives
        )

    def _surroundings(self, tenant: Tenant, on_change: Callable[[Change], None]) -> Surroundings:
        def heard(server: str, note: Notification) -> None:
            if not note.method.endswith("/list_changed"):  # of lists, the shared one tells
                self._around.on_event(server, note, tenant)

        extensions = self._around.extensions
        return Surroundings(on_change, heard, self._turns, NoMemory(), extensions)

    def _heard(self, server: str, note: Notification) -> None:
        self._around.on_event(server, note, None)


class TablePlan(msgspec.Struct, frozen=True):
    """What to do about which server, by name."""

    start: frozenset[str] = frozenset()
    keep: frozenset[str] = frozenset()
    replace: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()


def plan(running: Mapping[str, str], wanted: Mapping[str, str]) -> TablePlan:
    """Compare servers by the keys of their definitions. Pure."""
    both = running.keys() & wanted.keys()
    same = frozenset(name for name in both if running[name] == wanted[name])
    return TablePlan(
        start=frozenset(wanted.keys() - running.keys()),
        keep=same,
        replace=frozenset(both - same),
        remove=frozenset(running.keys() - wanted.keys()),
    )


class ServerTable:
    """The running servers by name; ``apply`` changes them while ``running``. ``absent`` is what is
    raised for one that is not there."""

    def __init__(
        self,
        definitions: Mapping[str, Definition],
        around: Around,
        absent: Callable[[ToolRef], CallError],
    ) -> None:
        self._around, self._absent = around, absent
        self._turns = StartSlots()
        self._lives = SupervisorTasks()
        self._serving = {name: self._member(one) for name, one in definitions.items()}
        self._next: dict[str, ServerEntry] = {}
        self._removed: set[str] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start all servers and keep them up; on leaving, stop them all."""
        async with self._lives.running():
            for member in self._serving.values():
                member.begin()
            yield

    def serving(self) -> Sequence[ServerEntry]:
        """Those that take calls."""
        return list(self._serving.values())

    def all(self) -> Sequence[Supervisor]:
        """All that have a process: those that are about to take calls, or end their last ones, and
        the instances of clients, too."""
        return self._lives.all()

    def find(self, name: str) -> ServerEntry | None:
        """The one that takes the calls of a server."""
        return self._serving.get(name)

    def of(self, ref: ToolRef) -> ServerEntry:
        """The same where it has to be there. Raises CallError."""
        entry = self._serving.get(ref.server)
        if entry is None:
            raise self._absent(ref)
        return entry

    def call(
        self, exchange: Exchange, ref: ToolRef, arguments: Mapping[str, Json]
    ) -> Coroutine[None, None, ToolResult]:
        """A ``ServerCall``: the reference names server and tool exactly. Raises CallError."""
        return self.of(ref).serving.call(exchange, ref, arguments)

    def was_removed(self, name: str) -> bool:
        """Whether there was such a server under an earlier configuration."""
        return name in self._removed

    def health(self) -> Mapping[str, ServerHealth]:
        """How those are that take calls, and what keeps their successors from it."""
        health = {name: member.health for name, member in self._serving.items()}
        for name, member in self._next.items():
            if error := member.supervisor.health.last_error:
                text = f"its new definition does not start, the old one still serves: {error}"
                health[name] = replace(health[name], last_error=text)
        return health

    def apply(self, definitions: Mapping[str, Definition]) -> None:
        """Follow other definitions. Returns at once."""
        keys = {name: member.key for name, member in self._serving.items()}
        todo = plan(keys, {name: one.key for name, one in definitions.items()})
        for name in (*todo.keep, *todo.remove):
            if name in self._next:
                self._retire(self._next.pop(name))
        for name in todo.keep:
            self._serving[name].adopt(definitions[name])
            self._serving[name].supervisor.revive()
        for name in todo.remove:
            self._retire(self._serving.pop(name))
        for name in todo.start:
            self.begin(definitions[name])
        for name in todo.replace:
            self._begin_replacing(definitions[name])
        self._removed = (self._removed | todo.remove) - definitions.keys()
        log.info("servers: %s", _told(todo))

    def begin(self, definition: Definition) -> None:
        """Start one more server."""
        member = self._serving[definition.name] = self._member(definition)
        member.begin()

    def end(self, name: str) -> None:
        """Stop one, if it is there."""
        for table in (self._serving, self._next):
            if name in table:
                self._retire(table.pop(name))

    def _begin_replacing(self, definition: Definition) -> None:
        waiting = self._next.get(definition.name)
        if waiting and waiting.key == definition.key:
            waiting.adopt(definition)
            return
        if waiting:
            self._retire(self._next.pop(definition.name))
        member = self._member(definition)
        member.begin()
        old = self._serving[definition.name]
        if old.supervisor.state in _WORKING:
            self._next[definition.name] = member
            self._lives.spawn(self._replace(definition.name, member))
        else:
            self._serving[definition.name] = member
            self._retire(old)

    async def _replace(self, name: str, member: ServerEntry) -> None:
        """Let the new server take over once it is known what becomes of it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SWITCH_SECS):
                await member.supervisor.decided()
        if self._next.get(name) is not member:
            return
        del self._next[name]
        old, self._serving[name] = self._serving[name], member
        self._around.on_change("tools_changed")
        await self._lives.end(old.close())
        member.supervisor.revive()  # it may have failed over what the old one held: a port, a lock

    def _retire(self, member: ServerEntry) -> None:
        self._lives.spawn(self._lives.end(member.close()))

    def _member(self, definition: Definition) -> ServerEntry:
        return ServerEntry(definition, self._around, self._turns, self._lives)


def _told(todo: TablePlan) -> str:
    parts = {"new": todo.start, "changed": todo.replace, "removed": todo.remove}
    told = [f"{word}: {', '.join(sorted(names))}" for word, names in parts.items() if names]
    return "; ".join([*told, f"{len(todo.keep)} unchanged"])
