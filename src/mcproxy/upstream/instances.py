"""The instances of one server that keeps state: one for each tenant, started by its first call.

An instance is a supervisor like any other, but is started again by a call only, and ends with its
tenant. Owns which one serves whom, and whether there is room: every process counts, one that is
being stopped too, for the limit is of what the machine carries. Knows neither what a session or a
namespace is, nor how the server is reached.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.call_errors import ServerDown, UpstreamError
from mcproxy.errors import RpcError
from mcproxy.exchange import Exchange, Tenant
from mcproxy.types import Change, Json, JsonObject, ServerHealth, ToolRef, ToolResult
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.upstream.supervision.calls import ServerCalls
from mcproxy.upstream.supervision.restart import ON_DEMAND
from mcproxy.upstream.supervision.server_limits import Connector, ServerLimits, Surroundings
from mcproxy.upstream.supervision.supervisor import Supervisor
from mcproxy.upstream.supervisor_tasks import SupervisorTasks

# It runs or starts; its process is being stopped; it has none.
Presence: TypeAlias = Literal["up", "leaving", "asleep"]
Place: TypeAlias = Literal["serve", "wait", "refuse"]


def place(own: Presence | None, others: Iterable[Presence], limit: int) -> Place:
    """What becomes of a call whose own instance is as ``own`` says, None where it has none yet.

    "serve": its own one takes it, started first where it does not run. "wait": until one that
    leaves has left. "refuse": ``limit`` instances are in use, and none is about to go.
    """
    if own in ("up", "leaving"):  # it has its place already
        return "serve"
    held = [presence for presence in others if presence != "asleep"]
    if len(held) < limit:
        return "serve"
    return "wait" if "leaving" in held else "refuse"


LEAVE_SECS = 10.0  # a process that is told to stop is gone by then, whatever it does

Surround = Callable[[Tenant, Callable[[Change], None]], Surroundings]

log = logging.getLogger(__name__)


class Instances:
    """The instances of the server ``name``; what can be asked of it goes to the one of the tenant.

    ``surround`` gives an instance's surroundings, in which the callback hears of its changes.
    """

    def __init__(
        self,
        name: str,
        way: Connector,
        terms: ServerLimits,
        surround: Surround,
        lives: SupervisorTasks,
    ) -> None:
        self._name, self._terms = name, terms
        self._log = ServerLog(log, name)
        self._way = replace(way, policy=ON_DEMAND)
        self._surround, self._lives = surround, lives
        self._of: dict[Tenant, Supervisor] = {}
        self._changed = asyncio.Event()
        self._closed = False
        # The namespaces in which a session that was moved here was told so, by what ends it.
        self._told: WeakKeyDictionary[asyncio.Event, set[str]] = WeakKeyDictionary()

    def up(self) -> Sequence[ServerHealth]:
        """How the instances are that have a process, or are about to have one."""
        return [one.health for one in self._of.values() if not one.asleep]

    def adopt(self, way: Connector, terms: ServerLimits) -> None:
        """Live by other terms from now on, and go that way to start one."""
        self._way, self._terms = replace(way, policy=ON_DEMAND), terms
        for supervisor in self._of.values():
            supervisor.adopt(self._way, terms.of_instance())

    def close(self) -> Sequence[Supervisor]:
        """Open no further instance; gives those that there are, for others to end."""
        self._closed = True
        self._tell()
        return list(self._of.values())

    async def drained(self) -> None:
        """Return once no call is under way."""
        for supervisor in list(self._of.values()):
            await supervisor.drained()

    async def call(
        self, exchange: Exchange, ref: ToolRef, arguments: Mapping[str, Json]
    ) -> ToolResult:
        """Call a tool. Raises as ``ServerCalls.call``, and ServerDown where there is no room."""
        async with self._lent(ref, exchange.tenant) as calls:
            return await calls.call(exchange, ref, arguments)

    async def request(self, exchange: Exchange, method: str, params: JsonObject) -> bytes:
        """Send any other request; its raw result. Raises as ``call`` does."""
        async with self._lent(ToolRef(self._name, method), exchange.tenant) as calls:
            return await calls.request(exchange, method, params)

    async def watch(self, exchange: Exchange, uri: str, tenant: Tenant | None) -> None:
        """Hear of changes of one resource in the tenant's instance.

        Raises as ``call`` does, and UpstreamError where there is no instance that lasts.
        """
        ref = ToolRef(self._name, mcp.SUBSCRIBE)
        if tenant is None or self._terms.sharing.affinity == "call":
            text = "each call has an instance of its own, so none would tell of changes"
            raise UpstreamError(ref, RpcError(RpcError.INVALID_REQUEST, text))
        calls = (await self._granted(ref, tenant)).calls
        await calls.watch(exchange, uri, tenant)

    async def unwatch(self, uri: str, tenant: Tenant | None) -> None:
        """Hear no longer of them. Raises as ``call`` does."""
        supervisor = self._of.get(tenant) if tenant else None
        if tenant and supervisor:
            if _presence(tenant, supervisor) == "up":
                await supervisor.calls.unwatch(uri, tenant)
            else:
                supervisor.calls.forget(uri)

    @contextlib.asynccontextmanager
    async def _lent(self, ref: ToolRef, tenant: Tenant) -> AsyncIterator[ServerCalls]:
        """The tenant's instance, or one for this call alone."""
        this_call = Tenant()
        whose = this_call if self._terms.sharing.affinity == "call" else tenant
        if whose.moved:
            self._tell_moved(ref, whose)
        try:
            yield (await self._granted(ref, whose)).calls
        finally:
            this_call.ended.set()

    def _tell_moved(self, ref: ToolRef, tenant: Tenant) -> None:
        """Refuse the first call of a session whose state is gone, so that nobody goes on as if it
        were there. Raises ServerDown."""
        told = self._told.setdefault(tenant.ended, set())
        if tenant.namespace not in told:
            told.add(tenant.namespace)
            text = (
                "the gateway that had this session is gone, and with it what the server kept for "
                "it; call again to begin anew"
            )
            raise ServerDown(ref, text, how="has lost its state")

    async def _granted(self, ref: ToolRef, tenant: Tenant) -> Supervisor:
        """The tenant's instance, which is to be called at once: that is what keeps its place."""
        try:
            async with asyncio.timeout(LEAVE_SECS):
                while not self._has_room(ref, tenant):
                    await self._changed.wait()
        except TimeoutError as error:
            raise self._full(ref) from error
        return self._of.get(tenant) or self._open(tenant)

    def _has_room(self, ref: ToolRef, tenant: Tenant) -> bool:
        """Whether the tenant's instance can be called now. Raises ServerDown."""
        if self._closed or not self._lives.open:
            raise ServerDown(ref, "it was changed or is being stopped; call again")
        if tenant.ended.is_set():
            raise ServerDown(ref, "the session or request that its instance served has ended")
        own = self._of.get(tenant)
        others = [_presence(*item) for item in self._of.items() if item[0] != tenant]
        present = _presence(tenant, own) if own else None
        found = place(present, others, self._terms.sharing.max_instances)
        if found == "refuse":
            raise self._full(ref)
        return found == "serve"

    def _full(self, ref: ToolRef) -> ServerDown:
        limit = self._terms.sharing.max_instances
        text = (
            f"all {limit} of its instances are in use; try again when a session, or a call, has "
            "ended, or raise max_instances in its definition"
        )
        return ServerDown(ref, text, how="is full")

    def _open(self, tenant: Tenant) -> Supervisor:
        surroundings = self._surround(tenant, lambda _: self._tell())
        supervisor = Supervisor(self._name, self._way, self._terms.of_instance(), surroundings)
        self._of[tenant] = supervisor
        self._log.debug("an instance starts, one of %d", len(self._of))
        self._lives.begin(supervisor, tenant.ended, lambda: self._left(tenant))
        return supervisor

    def _left(self, tenant: Tenant) -> None:
        del self._of[tenant]
        self._log.debug("an instance has ended, %d are left", len(self._of))
        self._tell()

    def _tell(self) -> None:
        """Let those who wait for room look again."""
        self._changed.set()
        self._changed = asyncio.Event()


def _presence(tenant: Tenant, supervisor: Supervisor) -> Presence:
    if supervisor.asleep:
        return "asleep"
    return "leaving" if tenant.ended.is_set() or supervisor.state == "idle" else "up"
