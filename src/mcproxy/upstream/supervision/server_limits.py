"""What a supervisor is given: how its server is reached, on which terms, and who hears of it.

Neither stands for the server's identity, which is the key of its definition: a way may change in
what is done before a start, and terms in everything.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from mcproxy.config.model import Affinity
from mcproxy.types import Change
from mcproxy.upstream.child.tree import Table
from mcproxy.upstream.protocol.session import ServerSession
from mcproxy.upstream.supervision.process_limits import ProcessLimits
from mcproxy.upstream.supervision.restart import CHILD, RestartPolicy
from mcproxy.upstream.supervision.start_slots import StartSlots
from mcproxy.upstream.supervision.tool_cache import Memory
from mcproxy.wire.message import Notification


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

    def look(self, table: Table) -> float:
        """Take note of what it has started; MiB that they and it hold."""

    def kill(self, reason: str) -> None:
        """End it at once; its calls fail with the reason."""


Connect: TypeAlias = Callable[
    [Callable[[ServerSession], None]],
    AbstractAsyncContextManager[tuple[ServerSession, ServerProcess]],
]


@dataclass(frozen=True, slots=True)
class Connector:
    """How a server is reached, and how often that is tried."""

    connect: Connect
    policy: RestartPolicy = CHILD


@dataclass(frozen=True, slots=True)
class CallTimes:
    """How long a call may take, in seconds: any tool, some by name, and at most ``bound``."""

    default: float
    by_tool: Mapping[str, float]
    bound: float | None = None

    def of(self, tool: str) -> float:
        """The limit of one tool."""
        secs = self.by_tool.get(tool, self.default)
        return secs if self.bound is None else min(secs, self.bound)


@dataclass(frozen=True, slots=True)
class Sharing:
    """Who shares an instance of a server; how many there are at a time, at most, beside the one
    that tells the tools; for how many seconds one may be unused."""

    affinity: Affinity = "shared"
    max_instances: int = 8
    idle_secs: float = 600.0


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a configuration says of a server that holds without starting it anew.

    ``start_secs``: for the handshake. ``dwell_secs``: between that and the reading of its tools.
    """

    times: CallTimes
    description: str = ""
    start_secs: float = 60.0
    dwell_secs: float = 0.0
    upkeep: ProcessLimits = field(default_factory=ProcessLimits)
    sharing: Sharing = Sharing()

    def of_instance(self) -> "ServerLimits":
        """Those of one instance: age does not end it, since its state would be lost."""
        upkeep = replace(self.upkeep, age_secs=None, idle_secs=self.sharing.idle_secs)
        return replace(self, upkeep=upkeep)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Who hears of changes of a server's state or tools (``on_change``) and, with its name, of
    what it tells of its prompts and resources (``on_event``); turns to start; its memory."""

    on_change: Callable[[Change], None]
    on_event: Callable[[str, Notification], None]
    turns: StartSlots
    memory: Memory
