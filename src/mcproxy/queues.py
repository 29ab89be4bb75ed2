"""Places for what is under way, and queues for what must wait: bounded, in order, fair to callers.

Owns the counts and the order. Knows neither namespaces nor scripts: whoever asks for a place names
it, and says on whose behalf. Who enters, waits or is refused, and who is next, are pure functions.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Literal

from mcproxy.call_errors import Busy
from mcproxy.types import Capacity, ToolRef

WAIT_SECS: Final = 30.0  # most clients give up after 60 s, and what waits has yet to be done
RETRY_SECS: Final = 5.0  # nobody knows when a place will be free; most scripts take seconds


@dataclass(frozen=True, slots=True)
class Load:
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


@dataclass(eq=False, slots=True)
class _Ticket:
    caller: str
    called: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Place:
    """``running`` counts by caller. Nobody waits while there is room."""

    running: Counter[str] = field(default_factory=Counter)
    waiting: list[_Ticket] = field(default_factory=list)

    @property
    def load(self) -> Load:
        return Load(self.running.total(), len(self.waiting))


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

    async def enter(self, name: str, ref: ToolRef, caller: str, until: float) -> None:
        """Take a place, or wait for it; ``leave`` gives it back. Raises Busy."""
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = _Place()
        capacity = self._capacities.get(name)
        decision = "enter" if capacity is None else decide(capacity, place.load)
        if capacity is None or decision == "enter":
            place.running[caller] += 1
            return
        if decision == "refuse":
            raise Busy(ref, capacity, RETRY_SECS)
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
        self._call(name)
        if not place.running:
            del self._places[name]

    def _call(self, name: str) -> None:
        """Let in who waits, as long as there is room."""
        place, capacity = self._places[name], self._capacities.get(name)
        while place.waiting and decide(capacity, place.load) == "enter":
            callers = [ticket.caller for ticket in place.waiting]
            ticket = place.waiting.pop(next_in_line(callers, place.running))
            place.running[ticket.caller] += 1
            ticket.called.set()


class _Held(AbstractAsyncContextManager[None]):
    """Holds the places of one entrant; a generator would cost every call more than the places."""

    def __init__(self, queues: Queues, ref: ToolRef, names: Sequence[str], caller: str) -> None:
        self._queues, self._ref, self._names, self._caller = queues, ref, names, caller
        self._held: list[str] = []

    async def __aenter__(self) -> None:
        until = asyncio.get_running_loop().time() + self._queues.wait_secs
        try:
            for name in self._names:
                await self._queues.enter(name, self._ref, self._caller, until)
                self._held.append(name)
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        for name in self._held:
            self._queues.leave(name, self._caller)
