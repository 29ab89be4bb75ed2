"""What a supervisor is given: how its server is reached, within which limits, and who hears of it.

None of it stands for the server's identity, which is the key of its definition: a way may change in
what is done before a start, and limits in everything.

The limits of a process end it although nothing is wrong with its session: too much memory at once,
as a crash would; age and idleness only between calls, the one for a fresh process, the other until
somebody calls. Starts have slots, so that fifty interpreters do not start each other to death and
all miss the time-out of the handshake; a start that takes long waits for a download rather than
for a processor, so after a while it no longer counts.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, Protocol, TypeAlias

import msgspec
from msgspec.structs import replace

from mcproxy.config.model import Affinity
from mcproxy.types import Cause, Change, JsonObject
from mcproxy.upstream.child.tree import Table
from mcproxy.upstream.protocol.session import ServerSession
from mcproxy.upstream.supervision.calls import CallTimes
from mcproxy.upstream.supervision.restart import CHILD, RestartPolicy
from mcproxy.upstream.supervision.tool_cache import Memory
from mcproxy.wire.message import Notification


class ProcessLimits(msgspec.Struct, frozen=True):
    """Limits of one process: MiB of it and all that it started, its age, the time since its last
    call; None: no limit."""

    memory_mb: int | None = None
    age_secs: float | None = None
    idle_secs: float | None = None


class Condition(msgspec.Struct, frozen=True):
    """How a process is: the same three, and the calls under way."""

    memory_mb: float
    age_secs: float
    idle_secs: float
    calls: int


class Kill(msgspec.Struct, frozen=True):
    """End it at once."""

    reason: str


Measure: TypeAlias = Kill | Literal["renew", "rest"] | None


def measure(limits: ProcessLimits, now: Condition) -> Measure:
    """What is to be done about a process."""
    if limits.memory_mb is not None and now.memory_mb > limits.memory_mb:
        return Kill(
            f"it used {now.memory_mb:.0f} MiB with what it started; "
            f"memory_mb of its sandbox is {limits.memory_mb}"
        )
    if now.calls:
        return None
    if limits.idle_secs is not None and now.idle_secs >= limits.idle_secs:
        return "rest"
    if limits.age_secs is not None and now.age_secs >= limits.age_secs:
        return "renew"
    return None


AT_ONCE = 8  # keeps two to eight processors busy; each start is mostly one of them
COUNTED_SECS = 5.0


class StartSlots:
    """At most ``at_once`` starts are counted at any time; the others wait in order."""

    def __init__(self, at_once: int = AT_ONCE, counted_secs: float = COUNTED_SECS) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._counted_secs = counted_secs

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Callable[[], None]]:
        """Wait for a turn; it ends with the block, when what is given is called, or in time."""
        await self._places.acquire()
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._places.release()

        timer = asyncio.get_running_loop().call_later(self._counted_secs, leave)
        try:
            yield leave
        finally:
            timer.cancel()
            leave()


class ServerProcess(Protocol):
    """What is known of a server's process; ``pid`` is None for a server that runs elsewhere.

    ``rss_mb`` is what the last ``look`` found, None before the first; ``last_words`` is the last
    line that it wrote for people.
    """

    @property
    def pid(self) -> int | None:
        """The process id."""

    @property
    def rss_mb(self) -> float | None:
        """MiB that it and what it has started hold."""

    @property
    def last_words(self) -> str:
        """What it said last, empty where nothing is known."""

    @property
    def cause(self) -> Cause | None:
        """Why it ended, None where that is not known, or it has not."""

    def look(self, table: Table) -> float:
        """Take note of what it has started; MiB that they and it hold."""

    def kill(self, reason: str) -> None:
        """End it at once; its calls fail with the reason."""


Connect: TypeAlias = Callable[
    [Callable[[ServerSession], None]],
    AbstractAsyncContextManager[tuple[ServerSession, ServerProcess]],
]


class Connector(msgspec.Struct, frozen=True):
    """How a server is reached, and how often that is tried."""

    connect: Connect
    policy: RestartPolicy = CHILD


class Sharing(msgspec.Struct, frozen=True):
    """Who shares an instance of a server; how many there are at a time, at most, beside the one
    that tells the tools; for how many seconds one may be unused."""

    affinity: Affinity = "shared"
    max_instances: int = 8
    idle_secs: float = 600.0


class ServerLimits(msgspec.Struct, frozen=True):
    """What a configuration says of a server that holds without starting it anew.

    ``start_secs``: for the handshake. ``dwell_secs``: between that and the reading of its tools.
    """

    times: CallTimes
    description: str = ""
    start_secs: float = 60.0
    dwell_secs: float = 0.0
    upkeep: ProcessLimits = msgspec.field(default_factory=ProcessLimits)
    sharing: Sharing = Sharing()

    def of_instance(self) -> "ServerLimits":
        """Those of one instance: age does not end it, since its state would be lost."""
        upkeep = replace(self.upkeep, age_secs=None, idle_secs=self.sharing.idle_secs)
        return replace(self, upkeep=upkeep)


class Surroundings(msgspec.Struct, frozen=True):
    """Who hears of changes of a server's state or tools (``on_change``) and, with its name, of
    what else it tells (``on_event``); turns to start; its memory; the extensions that it is offered
    when it starts, with their settings."""

    on_change: Callable[[Change], None]
    on_event: Callable[[str, Notification], None]
    turns: StartSlots
    memory: Memory
    extensions: Mapping[str, JsonObject] = msgspec.field(default_factory=dict)
