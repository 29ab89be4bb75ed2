"""How much clients may have under way: what all may take together, what one of them alone, and the
gate that requests pass while the program runs, and that closes when it stops.

One client's share lies below the whole, so that nobody can take all of it. Whose share it is:
``owner_of``. Knows neither HTTP nor what is counted: requests, sessions, bytes of bodies.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

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
        self._held: Counter[str] = Counter()
        self._total = 0

    @property
    def total(self) -> int:
        """What all hold."""
        return self._total

    @property
    def largest(self) -> str:
        """The owner that holds most, "" where nobody holds anything."""
        return self._held.most_common(1)[0][0] if self._held else ""

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
        self._held[owner] -= amount
        if not self._held[owner]:
            del self._held[owner]


class Gate:
    """Counts what is under way; once closed, lets nothing in and waits for the rest to end."""

    def __init__(self) -> None:
        self._running = 0
        self._bounds: set[asyncio.Timeout] = set()
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def closed(self) -> bool:
        """Whether the program is stopping."""
        return self._closed

    @contextlib.contextmanager
    def enter(self, bound: asyncio.Timeout | None = None) -> Iterator[None]:
        """Be counted as running. The caller has looked at ``closed`` before, and enters ``bound``
        within: it expires where the time of ``drain`` is over first."""
        self._running += 1
        self._empty.clear()
        if bound:
            self._bounds.add(bound)
        try:
            yield
        finally:
            if bound:
                self._bounds.discard(bound)
            self._running -= 1
            if not self._running:
                self._empty.set()

    async def drain(self) -> bool:
        """Close, then wait until nothing runs, at most DRAIN_SECS; whether all ended in time."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECS):
                await self._empty.wait()
        bounds, self._bounds = self._bounds, set()
        for bound in bounds:
            bound.reschedule(asyncio.get_running_loop().time())
        return not self._running
