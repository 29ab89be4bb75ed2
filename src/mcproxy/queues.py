"""Places for what is under way, and queues for what must wait: bounded, in order, fair to callers.
And how much clients may take: what all may together, what one of them alone, and the gate that
requests pass while the program runs, and that closes when it stops.

Owns the counts and the order. Knows neither namespaces nor scripts nor HTTP: whoever asks for a
place names it, and says on whose behalf. One client's share lies below the whole, so that nobody
can take all of it; whose share it is: ``owner_of``. Who enters, waits or is refused, and who is
next, are pure functions.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, Literal

import msgspec

from mcproxy.call_errors import Busy
from mcproxy.cancellation import Stoppable
from mcproxy.types import Capacity, ToolRef

WAIT_SECS: Final = 30.0  # most clients give up after 60 s, and what waits has yet to be done
RETRY_SECS: Final = 5.0  # nobody knows when a place will be free; most scripts take seconds


class Load(msgspec.Struct, frozen=True):
    """How many are under way in a place at this moment, and how many wait for it."""

    running: int = 0
    waiting: int = 0


def decide(capacity: Capacity | None, load: Load) -> Literal["enter", "wait", "refuse"]:
    """What becomes of somebody who comes now; None is a place without limits."""
    if capacity is None or load.running < capacity.max_running:
        return "enter"
    return "wait" if load.waiting < capacity.max_waiting else "refuse"


def next_in_line(waiting: Sequence[str], running: Mapping[str, int]) -> int:
    """Whose turn it is, as an index into the callers that wait, in order of arrival.

    The first of those who have the fewest under way: a caller that asks for much at once must not
    keep the others out.
    """
    return min(range(len(waiting)), key=lambda index: (running.get(waiting[index], 0), index))


class _Ticket(msgspec.Struct, eq=False):
    caller: str
    called: asyncio.Event = msgspec.field(default_factory=asyncio.Event)


class _Place(msgspec.Struct):
    """``running`` counts by caller. Nobody waits while there is room."""

    running: dict[str, int] = msgspec.field(default_factory=dict)
    waiting: list[_Ticket] = msgspec.field(default_factory=list)

    @property
    def load(self) -> Load:
        return Load(sum(self.running.values()), len(self.waiting))

    def enter(self, caller: str) -> None:
        self.running[caller] = self.running.get(caller, 0) + 1


class Queues:
    """All places by name; those without a capacity have no limits, and are counted all the same.

    Who waits does so for at most ``wait_secs``.
    """

    def __init__(
        self, capacities: Mapping[str, Capacity] | None = None, wait_secs: float = WAIT_SECS
    ) -> None:
        self._capacities = dict(capacities or {})
        self.wait_secs = wait_secs
        self._places: dict[str, _Place] = {}

    def apply(self, capacities: Mapping[str, Capacity]) -> None:
        """Go by other capacities from now on. Who is under way stays, and so does who waits."""
        self._capacities = dict(capacities)
        for name in self._places:
            self._call(name)

    def loads(self) -> Mapping[str, Load]:
        """How it is now in each place that has a capacity."""
        nobody = _Place()
        return {name: self._places.get(name, nobody).load for name in self._capacities}

    def entered(
        self, ref: ToolRef, names: Collection[str], caller: str
    ) -> AbstractAsyncContextManager[None]:
        """Hold a place in each of the named while the block runs; ``ref`` is what it is for.

        Waits where they are taken. Raises Busy where too many wait, or it takes too long.
        """
        # All go in the same order, so that two who hold places never wait for each other.
        return _Held(self, ref, sorted(set(names)), caller)

    def take(self, name: str, ref: ToolRef, caller: str) -> bool:
        """Take a place, which ``leave`` gives back; False where it is to be waited for. Raises
        Busy."""
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = _Place()
        capacity = self._capacities.get(name)
        decision = "enter" if capacity is None else decide(capacity, place.load)
        if capacity and decision == "refuse":
            raise Busy(ref, capacity, RETRY_SECS)
        if decision == "enter":
            place.enter(caller)
        return decision == "enter"

    async def wait(self, name: str, ref: ToolRef, caller: str, until: float) -> None:
        """Wait for a place that could not be taken. Raises Busy."""
        capacity = self._capacities[name]
        try:
            async with asyncio.timeout_at(until):
                await self._turn(name, caller)
        except TimeoutError as error:
            raise Busy(ref, capacity, RETRY_SECS, waited=self.wait_secs) from error

    async def _turn(self, name: str, caller: str) -> None:
        """Wait in line until a place is held."""
        waiting, ticket = self._places[name].waiting, _Ticket(caller)
        waiting.append(ticket)
        try:
            await ticket.called.wait()
        except asyncio.CancelledError:
            if ticket.called.is_set():  # called at the moment at which it gave up
                self.leave(name, caller)
            else:
                waiting.remove(ticket)
            raise

    def leave(self, name: str, caller: str) -> None:
        """Give a place back; whoever waits for it is called."""
        place = self._places[name]
        place.running[caller] -= 1
        if not place.running[caller]:
            del place.running[caller]
        if place.waiting:
            self._call(name)
        if not place.running:
            del self._places[name]

    def _call(self, name: str) -> None:
        """Let in who waits, as long as there is room."""
        place, capacity = self._places[name], self._capacities.get(name)
        while place.waiting and decide(capacity, place.load) == "enter":
            callers = [ticket.caller for ticket in place.waiting]
            ticket = place.waiting.pop(next_in_line(callers, place.running))
            place.enter(ticket.caller)
            ticket.called.set()


class _Held(AbstractAsyncContextManager[None]):
    """Holds the places of one entrant; a generator would cost every call more than the places."""

    def __init__(self, queues: Queues, ref: ToolRef, names: Sequence[str], caller: str) -> None:
        self._queues, self._ref, self._names, self._caller = queues, ref, names, caller
        self._held: list[str] = []

    async def __aenter__(self) -> None:
        queues, ref, caller, until = self._queues, self._ref, self._caller, 0.0
        try:
            for name in self._names:
                if not queues.take(name, ref, caller):
                    until = until or asyncio.get_running_loop().time() + queues.wait_secs
                    await queues.wait(name, ref, caller, until)
                self._held.append(name)
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        for name in self._held:
            self._queues.leave(name, self._caller)


SITE_BITS = 64
DRAIN_SECS = 10.0  # calls that run when the program is told to stop may end within this time


def owner_of(caller: str | None, address: str) -> str:
    """Whose share a request counts against: a known caller's, else that of its address."""
    return f"caller {caller}" if caller else f"address {site_of(address)}"


@lru_cache(maxsize=1024)
def site_of(address: str) -> str:
    """Of an IPv6 address the network: whoever has one has all that begin like it (RFC 6177)."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return address
    return str(ip.ipv4_mapped or ip_network((int(ip), SITE_BITS), strict=False))


class Budget:
    """What is taken now, by owner: at most ``in_all``, and half of that by one. An owner that holds
    nothing is not kept."""

    def __init__(self, in_all: int) -> None:
        self._in_all = in_all
        self.of_one = max(1, in_all // 2)
        self._held: dict[str, int] = {}
        self._total = 0

    @property
    def total(self) -> int:
        """What all hold."""
        return self._total

    @property
    def largest(self) -> str:
        """The owner that holds most, "" where nobody holds anything."""
        return max(self._held, key=self.held, default="")

    def held(self, owner: str) -> int:
        """What one owner holds."""
        return self._held.get(owner, 0)

    def take(self, owner: str, amount: int = 1) -> bool:
        """Take so much on behalf of an owner; False, and nothing taken, where there is no room."""
        held = self._held.get(owner, 0)
        if held + amount > self.of_one or self._total + amount > self._in_all:
            return False
        self._held[owner] = held + amount
        self._total += amount
        return True

    def give(self, owner: str, amount: int = 1) -> None:
        """Give back what was taken."""
        self._total -= amount
        left = self._held.get(owner, 0) - amount
        if left:
            self._held[owner] = left
        else:
            self._held.pop(owner, None)


class Gate:
    """Counts what is under way; once closed, lets nothing in and waits for the rest to end."""

    def __init__(self) -> None:
        self._running: set[Stoppable] = set()
        self._closed = False
        self._empty = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether the program is stopping."""
        return self._closed

    def enter(self, block: Stoppable) -> AbstractContextManager[None]:
        """Be counted as running within. The caller has looked at ``closed`` before; ``block`` is
        stopped with TimeoutError where the time of ``drain`` is over first."""
        return _Entered(self, block)

    def begin(self, block: Stoppable) -> None:
        """Count one more; ``end`` uncounts it."""
        self._running.add(block)

    def end(self, block: Stoppable) -> None:
        """Count one less."""
        self._running.discard(block)
        if self._closed and not self._running:
            self._empty.set()

    async def drain(self) -> bool:
        """Close, then wait until nothing runs, at most DRAIN_SECS; whether all ended in time."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECS):
                while self._running:
                    self._empty.clear()
                    await self._empty.wait()
        self.stop()
        return not self._running

    def stop(self) -> None:
        """Stop each block that is in, with TimeoutError."""
        for block in self._running:
            block.stop(TimeoutError())


class _Entered(AbstractContextManager[None]):
    """A generator would cost every request more than the counting."""

    def __init__(self, gate: Gate, block: Stoppable) -> None:
        self._gate, self._block = gate, block

    def __enter__(self) -> None:
        self._gate.begin(self._block)

    def __exit__(self, *_: object) -> None:
        self._gate.end(self._block)
