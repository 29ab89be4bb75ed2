"""The processes of this machine as the kernel lists them, and which of them a server has started.

A server's family is more than its process group: a browser that it starts has a session of its own.
So a family is read from the parents, and who was once seen in it stays in it, since the children of
a dead process are given to another parent. Pure but for ``processes``; empty where there is no
``/proc``.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

PROC = Path("/proc")
PAGE_BYTES = (
    4096  # /proc/PID/stat counts in pages; larger ones (some ARM) make it an understatement
)

# Fields of /proc/PID/stat after the name, see proc_pid_stat(5)
_STATE, _PARENT, _SESSION, _STARTED, _RSS = 0, 1, 3, 19, 21
_ZOMBIE = b"Z"
_STAT_BYTES = 4096  # some 400 are the most


class Process(msgspec.Struct, frozen=True):
    """One process; ``started`` (in clock ticks since boot) tells it from a later one of its id."""

    pid: int
    parent: int
    session: int
    started: int
    rss_bytes: int


Table: TypeAlias = Mapping[int, Process]
Family: TypeAlias = frozenset[tuple[int, int]]
"""Processes by id and ``started``."""


def processes() -> Table:
    """All processes that run now."""
    try:
        pids = [entry.name for entry in PROC.iterdir() if entry.name.isdecimal()]
    except OSError:
        return {}
    found = (_read(int(pid)) for pid in pids)
    return {process.pid: process for process in found if process}


def family(leader: int, table: Table, seen: Family = frozenset()) -> tuple[Process, ...]:
    """The leader's descendants, the others of its session, and who of ``seen`` still lives with
    theirs; the leader first if it lives."""
    children: dict[int, list[Process]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    roots: list[Process] = []
    if not any(pid == leader and _is_another(pid, started, table) for pid, started in seen):
        roots += [table[leader]] if leader in table else []
        roots += [process for process in table.values() if process.session == leader]
    roots += [table[pid] for pid, started in seen if _lives(pid, started, table)]
    members: dict[int, Process] = {}
    while roots:
        process = roots.pop(0)
        if process.pid not in members:
            members[process.pid] = process
            roots += children.get(process.pid, ())
    return tuple(members.values())


def marks(members: Collection[Process]) -> Family:
    """What is kept of a family to find its members again."""
    return frozenset((process.pid, process.started) for process in members)


def _lives(pid: int, started: int, table: Table) -> bool:
    return pid in table and table[pid].started == started


def _is_another(pid: int, started: int, table: Table) -> bool:
    """Whether the process is gone and its id given to another one."""
    return pid in table and table[pid].started != started


def _read(pid: int) -> Process | None:
    """Without a Path and a text: this is done for every process of the machine, each second."""
    try:
        file = os.open(f"{PROC}/{pid}/stat", os.O_RDONLY)
        try:
            stat = os.read(file, _STAT_BYTES)
        finally:
            os.close(file)
    except OSError:
        return None  # it has ended meanwhile
    fields = stat.rpartition(b")")[2].split()
    if fields[_STATE] == _ZOMBIE:
        return None
    return Process(
        pid,
        int(fields[_PARENT]),
        int(fields[_SESSION]),
        int(fields[_STARTED]),
        int(fields[_RSS]) * PAGE_BYTES,
    )
