"""Latency, throughput, processor time and memory of a call, ours and others', interleaved in one
run.

All programs run at once and idle but for the one that is asked; each round asks every program for a
moment, in a changing order, so that what else the machine does falls on all. Read the ratios.
"""

import asyncio
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench import floors
from bench.client import Load, Place, load
from bench.data import Cell, Table, rounded
from bench.peers import programs
from bench.peers.programs import Program
from bench.processes import ECHO_COMMAND, Running, free_port, running, tools_there
from mcproxy.types import JsonObject

CLIENTS = 16
PAUSE_SECS = 0.05  # as good as any: a model thinks for seconds
BARE, FLOOR = "bare ASGI application", "least gateway"
OURS = "MCProxy"
SCRIPT_CALLS = (0, 1, 10)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is measured."""

    rounds: int
    secs: float  # of each program in each round, for each number of clients
    starts: int


FULL, QUICK = Effort(5, 0.8, 3), Effort(1, 0.1, 1)


@dataclass(slots=True)
class Seen:
    """What was measured of one program, a value a round."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    paused: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    failed: int = 0

    def one(self, load: Load) -> None:
        """Of one client."""
        self.p50.append(statistics.median(load.ms))
        self.p99.append(sorted(load.ms)[int(len(load.ms) * 0.99)])
        self.failed += load.failed

    def many(self, load: Load, cpu_ms: float) -> None:
        """Of many clients at once."""
        self.rate.append(load.rate)
        self.cpu.append(cpu_ms / len(load.ms))
        self.failed += load.failed


@dataclass(frozen=True, slots=True)
class _Asked:
    """A program that runs, and the call that it gets again and again."""

    program: Running
    place: Place
    call: tuple[str, JsonObject]
    answer: bytes

    async def load(self, clients: int, secs: float, pause_secs: float = 0) -> Load:
        """So many clients for so long."""
        return await load(
            self.place.connect,
            lambda one: one.call(*self.call),
            clients,
            secs,
            self.answer,
            pause_secs,
        )


def measure(*, quick: bool) -> list[Table]:
    """The tables."""
    return uvloop.run(_measured(QUICK if quick else FULL))


async def _measured(effort: Effort) -> list[Table]:
    listed = [programs.bare(), programs.floor(), programs.ours(), *programs.others()]
    starts = await _starts(listed, effort.starts)
    async with AsyncExitStack() as stack:
        started = {program.name: await _started(stack, program) for program in listed}
        called = await _interleaved(
            {
                one.name: _Asked(started[one.name], started[one.name].place, one.call, one.answer)
                for one in listed
                if one.call[0]
            },
            effort,
        )
        scripted = [
            (number, name, seen)
            for number in SCRIPT_CALLS
            for name, seen in (await _scripted(listed, started, number, effort)).items()
        ]
        held = {name: program.used().own_mib for name, program in started.items()}
    pipe, fork = await floors.pipe_ms(ECHO_COMMAND), floors.fork_ms()
    return [
        _ratios(called),
        _calls(called, pipe),
        _scripts(scripted, fork),
        _programs(listed, starts, held),
    ]


async def _started(stack: AsyncExitStack, program: Program) -> Running:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    port = free_port()
    there = await stack.enter_async_context(
        running(program.command(port, folder, programs.ONE), program.place(port))
    )
    if program.name != BARE:
        await tools_there(there.place, 1)
    return there


async def _starts(listed: Sequence[Program], times: int) -> dict[str, float]:
    """Seconds from the start of a program to a list of tools, the median; each starts alone."""
    taken: dict[str, list[float]] = {program.name: [] for program in listed}
    for _ in range(times):
        for program in listed:
            async with AsyncExitStack() as stack:
                begun = asyncio.get_running_loop().time()
                await _started(stack, program)
                taken[program.name].append(asyncio.get_running_loop().time() - begun)
    return {name: statistics.median(secs) for name, secs in taken.items()}


async def _scripted(
    listed: Sequence[Program], started: Mapping[str, Running], calls: int, effort: Effort
) -> dict[str, Seen]:
    """A script with so many calls, of each program that runs scripts."""
    asked = {
        one.name: _Asked(program, Place(program.place.port), one.code(calls), one.answer)
        for one, program in zip(listed, started.values(), strict=True)
        if one.code
    }
    return await _interleaved(asked, effort)


async def _interleaved(asked: Mapping[str, _Asked], effort: Effort) -> dict[str, Seen]:
    """Ask all in each round, beginning with another each time; a first moment warms up."""
    seen = {name: Seen() for name in asked}
    for one in asked.values():
        await one.load(1, effort.secs / 4)
    names = list(asked)
    for turn in range(effort.rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seen[name].one(await asked[name].load(1, effort.secs))
            paused = await asked[name].load(1, effort.secs, PAUSE_SECS)
            seen[name].paused.append(statistics.median(paused.ms))
            before = asked[name].program.used().cpu_ms
            many = await asked[name].load(CLIENTS, effort.secs)
            seen[name].many(many, asked[name].program.used().cpu_ms - before)
    return seen


def _ratios(called: dict[str, Seen]) -> Table:
    """Each program beside the floor and beside ours, round for round."""
    floor, ours = called[FLOOR], called[OURS]
    rows = tuple(
        (
            name,
            rounded(_ratio(one.p50, floor.p50)),
            rounded(_ratio(one.p50, ours.p50)),
            rounded(_ratio(one.rate, ours.rate)),
            rounded(_ratio(one.cpu, ours.cpu)),
        )
        for name, one in called.items()
    )
    columns = ("program", "p50 ÷ floor", "p50 ÷ ours", "calls a second ÷ ours", "CPU a call ÷ ours")
    note = (
        "The median of the ratios of each round. Of p50 and CPU more is worse, of calls a second "
        "more is better. The floor is the least gateway."
    )
    return Table("ratios", "One tool call through each, as ratios", "computed", columns, rows, note)


def _calls(called: dict[str, Seen], pipe_ms: float) -> Table:
    columns = (
        *("program", "p50 ms", "p99 ms", f"calls a second ({CLIENTS} clients)"),
        *("CPU ms a call", "failed"),
    )
    rows: list[tuple[Cell, ...]] = [
        ("raw pipe to the server", rounded(pipe_ms), None, None, None, 0)
    ]
    rows += [(name, *_figures(one), one.failed) for name, one in called.items()]
    note = (
        "p50 and p99 of one client; medians over the rounds. CPU is that of the program with "
        "what it starts for a call, without servers that go on running."
    )
    return Table("calls", "One tool call through each", "measured", columns, tuple(rows), note)


def _scripts(scripted: Sequence[tuple[int, str, Seen]], fork_ms: float) -> Table:
    columns = (
        *("script", "program", "p50 ms, paused", "p50 ms", "p99 ms"),
        *(f"a second ({CLIENTS} clients)", "CPU ms each", "failed"),
    )
    named = {0: "no call", 1: "1 call"}
    rows: list[tuple[Cell, ...]] = [
        ("fork of the bench itself, to its end", "a floor", rounded(fork_ms), *[None] * 4, 0)
    ]
    rows += [
        (
            *(named.get(calls, f"{calls} calls, one after the other"), name),
            *(rounded(statistics.median(one.paused)), *_figures(one), one.failed),
        )
        for calls, name, one in scripted
    ]
    note = (
        f"Paused: one client that waits {PAUSE_SECS * 1000:.0f} ms before each script, as a model "
        "would longer; the other columns are of clients that never wait. Ours runs CPython in a "
        "process of its own for each script, behind namespaces, Landlock and seccomp; Monty is "
        "an interpreter of a part of Python, in a worker process that fastmcp starts for each "
        "script."
    )
    return Table("scripts", "One script through each", "measured", columns, tuple(rows), note)


def _programs(listed: Sequence[Program], starts: dict[str, float], held: dict[str, float]) -> Table:
    rows = tuple(
        (*(one.name, one.version, rounded(starts[one.name]), rounded(held[one.name]), one.lacks),)
        for one in listed
    )
    columns = (
        "program",
        "version",
        "start to tools, s",
        "memory after, MiB",
        "what it does not do",
    )
    note = "Memory is PSS of all its processes after these calls, without the server behind it."
    return Table("programs", "What was compared", "measured", columns, rows, note)


def _figures(seen: Seen) -> tuple[float, ...]:
    columns = (seen.p50, seen.p99, seen.rate, seen.cpu)
    return tuple(rounded(statistics.median(values)) for values in columns)


def _ratio(values: Sequence[float], to: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(values, to, strict=True))
