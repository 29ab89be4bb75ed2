"""The supervisors that run, and how one set of definitions gives way to the next.

A changed server starts beside the old one, which answers until the new one is ready, or has been
given up: then the new definition counts all the same, since it is what the user asked for. What is
replaced or removed may end its calls first. Owns the supervisors' tasks; knows no configuration.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mcproxy.types import ServerHealth
from mcproxy.upstream.definition import Definition
from mcproxy.upstream.supervision.remembered import OfferFile
from mcproxy.upstream.supervision.supervisor import Supervisor
from mcproxy.upstream.supervision.terms import Surroundings
from mcproxy.upstream.supervision.turns import Turns
from mcproxy.wire.message import Notification

SWITCH_SECS = 60.0  # a new server that is neither ready nor given up by then takes over anyway
RETIRE_SECS = 10.0  # calls of a server that is replaced or removed may end within this time

_WORKING = ("ready", "idle")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Around:
    """Who hears of all servers, see ``Surroundings``, and the folder of their memories."""

    on_change: Callable[[], None]
    on_event: Callable[[str, Notification], None]
    memories: Path


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about which server, by name."""

    start: frozenset[str] = frozenset()
    keep: frozenset[str] = frozenset()
    replace: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()


def plan(running: Mapping[str, str], wanted: Mapping[str, str]) -> Plan:
    """Compare servers by the keys of their definitions. Pure."""
    both = running.keys() & wanted.keys()
    same = frozenset(name for name in both if running[name] == wanted[name])
    return Plan(
        start=frozenset(wanted.keys() - running.keys()),
        keep=same,
        replace=frozenset(both - same),
        remove=frozenset(running.keys() - wanted.keys()),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    key: str
    supervisor: Supervisor


class Roster:
    """The running servers by name; ``apply`` changes them while ``running``."""

    def __init__(self, definitions: Mapping[str, Definition], around: Around) -> None:
        self._around = around
        self._turns = Turns()
        self._tasks = asyncio.TaskGroup()
        self._running: dict[_Member, asyncio.Task[None]] = {}
        self._serving = {name: self._member(one) for name, one in definitions.items()}
        self._next: dict[str, _Member] = {}
        self._removed: set[str] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start all servers and keep them up; on leaving, stop them all."""
        async with self._tasks:
            try:
                for member in self._serving.values():
                    self._run(member)
                yield
            finally:
                for task in self._running.values():
                    task.cancel()

    def serving(self) -> Sequence[Supervisor]:
        """Those that take calls."""
        return [member.supervisor for member in self._serving.values()]

    def all(self) -> Sequence[Supervisor]:
        """Those that are about to take calls, or end their last ones, too."""
        return [member.supervisor for member in self._running]

    def find(self, name: str) -> Supervisor | None:
        """The one that takes the calls of a server."""
        member = self._serving.get(name)
        return member.supervisor if member else None

    def was_removed(self, name: str) -> bool:
        """Whether there was such a server under an earlier configuration."""
        return name in self._removed

    def health(self) -> Mapping[str, ServerHealth]:
        """How those are that take calls, and what keeps their successors from it."""
        health = {name: member.supervisor.health for name, member in self._serving.items()}
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
            self._serving[name].supervisor.adopt(definitions[name].terms)
            self._serving[name].supervisor.revive()
        for name in todo.remove:
            self._retire(self._serving.pop(name))
        for name in todo.start:
            self._serving[name] = self._member(definitions[name])
            self._run(self._serving[name])
        for name in todo.replace:
            self._begin_replacing(definitions[name])
        self._removed = (self._removed | todo.remove) - definitions.keys()
        log.info("servers: %s", _told(todo))

    def _begin_replacing(self, definition: Definition) -> None:
        waiting = self._next.get(definition.name)
        if waiting and waiting.key == definition.key:
            waiting.supervisor.adopt(definition.terms)
            return
        if waiting:
            self._retire(self._next.pop(definition.name))
        member = self._member(definition)
        self._run(member)
        old = self._serving[definition.name]
        if old.supervisor.state in _WORKING:
            self._next[definition.name] = member
            self._tasks.create_task(self._replace(definition.name, member))
        else:
            self._serving[definition.name] = member
            self._retire(old)

    async def _replace(self, name: str, member: _Member) -> None:
        """Let the new server take over once it is known what becomes of it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SWITCH_SECS):
                await member.supervisor.decided()
        if self._next.get(name) is not member:
            return
        del self._next[name]
        old, self._serving[name] = self._serving[name], member
        self._around.on_change()
        await self._end(old)
        member.supervisor.revive()  # it may have failed over what the old one held: a port, a lock

    def _retire(self, member: _Member) -> None:
        self._tasks.create_task(self._end(member))

    async def _end(self, member: _Member) -> None:
        """Let a server end its calls, bounded, then stop it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETIRE_SECS):
                await member.supervisor.drained()
        if task := self._running.get(member):
            task.cancel()
            await asyncio.wait([task])

    def _member(self, definition: Definition) -> _Member:
        around = self._around
        memory = OfferFile(around.memories, definition.name, definition.key)
        surroundings = Surroundings(around.on_change, around.on_event, self._turns, memory)
        supervisor = Supervisor(definition.name, definition.way, definition.terms, surroundings)
        return _Member(definition.key, supervisor)

    def _run(self, member: _Member) -> None:
        name = f"server {member.supervisor.name}"
        task = self._tasks.create_task(member.supervisor.run(), name=name)
        self._running[member] = task
        task.add_done_callback(lambda _: self._running.pop(member, None))


def _told(todo: Plan) -> str:
    parts = {"new": todo.start, "changed": todo.replace, "removed": todo.remove}
    told = [f"{word}: {', '.join(sorted(names))}" for word, names in parts.items() if names]
    return "; ".join([*told, f"{len(todo.keep)} unchanged"])
