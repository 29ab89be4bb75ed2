"""One server of the roster: the supervisor that knows its tools, and who serves its calls.

A server that keeps no state is served by that supervisor itself; for one that does, each client has
an instance. Knows nothing of other servers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

from mcproxy import mcp
from mcproxy.exchange import Exchange, Tenant
from mcproxy.types import Change, Json, JsonObject, ServerHealth, ToolRef, ToolResult
from mcproxy.upstream.definition import Definition
from mcproxy.upstream.instances import Instances
from mcproxy.upstream.supervision.server_limits import StartSlots, Surroundings
from mcproxy.upstream.supervision.supervisor import Supervisor
from mcproxy.upstream.supervision.tool_cache import NoMemory, OfferFile
from mcproxy.upstream.supervisor_tasks import SupervisorTasks
from mcproxy.wire.message import Notification

OnEvent: TypeAlias = Callable[[str, Notification, Tenant | None], None]


@dataclass(frozen=True, slots=True)
class Around:
    """Who hears of all servers, see ``Surroundings``, and the folder of their memories.

    ``on_event`` is told of whose instance a notification comes, None where all share the server.
    """

    on_change: Callable[[Change], None]
    on_event: OnEvent
    memories: Path


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
    """A server under one definition; ``key`` tells it from the same server under another one."""

    def __init__(
        self, definition: Definition, around: Around, turns: StartSlots, lives: SupervisorTasks
    ) -> None:
        self.key = definition.key
        self._definition, self._around = definition, around
        self._turns, self._lives = turns, lives
        memory = OfferFile(around.memories, definition.name, definition.key)
        surroundings = Surroundings(around.on_change, self._heard, turns, memory)
        self.supervisor = Supervisor(
            definition.name, definition.way, definition.terms, surroundings
        )
        self._instances = self._no_instances()

    @property
    def apart(self) -> bool:
        """Whether clients have instances of their own."""
        return self._definition.terms.sharing.affinity != "shared"

    @property
    def serving(self) -> Serving:
        """What takes its calls; its lists are the supervisor's in any case."""
        return self._instances if self.apart else self.supervisor.calls

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
            self._lives.spawn(self._lives.end(old.close()))

    async def drained(self) -> None:
        """Return once no call is under way."""
        await self.supervisor.drained()
        await self._instances.drained()

    def close(self) -> Sequence[Supervisor]:
        """Take no new clients; gives all that is to end with the server."""
        return [self.supervisor, *self._instances.close()]

    def _no_instances(self) -> Instances:
        definition = self._definition
        return Instances(
            definition.name, definition.way, definition.terms, self._surroundings, self._lives
        )

    def _surroundings(self, tenant: Tenant, on_change: Callable[[Change], None]) -> Surroundings:
        def heard(server: str, note: Notification) -> None:
            if note.method == mcp.RESOURCE_UPDATED:  # of lists, the shared one tells
                self._around.on_event(server, note, tenant)

        return Surroundings(on_change, heard, self._turns, NoMemory())

    def _heard(self, server: str, note: Notification) -> None:
        self._around.on_event(server, note, None)
