"""Prove the walls: run the probes in real workers and say what held.

``/health`` and ``doctor`` report nothing that has not been tried here. ``examine`` acts, ``judge``
decides: a guarantee counts as enforced only if every try against it was refused.
"""

import json
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mcproxy.cancellation import finish
from mcproxy.errors import CallError
from mcproxy.sandbox import bridge
from mcproxy.sandbox.memory import used_kib
from mcproxy.sandbox.probes import PROBES
from mcproxy.sandbox.profile import Level
from mcproxy.sandbox.worker_slot import CLEAR_SECS, WorkerSlot
from mcproxy.types import Job, Json, Limits, Outcome, ToolRef, ToolResult

PROBE_SECS = 10.0  # the probes take about 20 ms
HANG_SECS = 0.05  # what a script that never ends is given
NOT_ENFORCED = "not enforced"

_HANG = "while True: pass"
_MIB = 1 << 20
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")

_BY_SECCOMP = ("processes", "signals", "kernel")
GUARANTEES = (
    *("files_read", "files_metadata", "files_write", "environment", "network"),
    *_BY_SECCOMP,
    *("memory", "time", "scratch"),
)

_NOT_PROMISED: Mapping[Level, frozenset[str]] = {
    "hardened": frozenset({"files_metadata"}),
    "seccomp": frozenset({"scratch"}),
}

MakeSeat = Callable[[], Awaitable[WorkerSlot]]


@dataclass(frozen=True, slots=True)
class Findings:
    """What the probes saw: by guarantee, what was possible; where scratch is, if anywhere.

    ``watched``: the memory of a worker is seen from outside (not where /proc hides processes).
    ``fault``: the probes themselves came to no end, and nothing is known.
    """

    opened: Mapping[str, tuple[str, ...]]
    scratch: str | None = None
    watched: bool = False
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """``guarantees`` as in ``SandboxReport``; ``broken``: what this level promises and lacks."""

    guarantees: Mapping[str, str]
    broken: tuple[str, ...]


async def examine(make_seat: MakeSeat, limits: Limits, *, network: bool) -> Findings:
    """Run the probes in one new worker, a script without end in another."""
    with _targets() as (folder, address):
        facts: dict[str, Json] = {
            "folder": str(folder),
            "pid": os.getpid(),
            "address": list(address),
            "memory_bytes": limits.memory_mb * _MIB,
            "proxy_variables": list(_PROXY_VARIABLES) if network else [],
        }
        probes = Job(PROBES, replace(limits, timeout_secs=PROBE_SECS), json.dumps(facts).encode())
        seat = await make_seat()
        watched = used_kib(seat.worker.pidfd) > 0
        findings = replace(read(await _run(seat, probes)), watched=watched)
    seat = await make_seat()
    hang = await _run(seat, Job(_HANG, replace(limits, timeout_secs=HANG_SECS)))
    in_time = hang.error is not None and hang.error.type == "Timeout"
    ended = in_time and await seat.fate() is not None
    return replace(findings, opened={**findings.opened, "time": () if ended else ("go on",)})


def read(outcome: Outcome) -> Findings:
    """The findings in what the probes gave back. Pure."""
    match outcome.value:
        case {"opened": dict(opened), "scratch": str() | None as scratch} if not outcome.error:
            found = {
                name: tuple(str(what) for what in tries)
                for name, tries in opened.items()
                if isinstance(tries, list)
            }
            return Findings(found, scratch)
    return Findings({}, fault=outcome.error.message if outcome.error else "it gave no findings")


def judge(level: Level, landlock_abi: int, findings: Findings, *, cgroup: int = 0) -> Verdict:
    """What holds, by what, and what of the level's promises does not. Pure.

    ``cgroup`` is the version of the memory cgroup around the workers, 0 for none.
    """
    guarantees, broken = {}, []
    memory = _memory_walls(cgroup, watched=findings.watched)
    for name, by_what in _enforcers(level, landlock_abi, memory).items():
        possible = findings.opened.get(name)
        if name == "scratch":
            possible = () if findings.scratch else ("write a scratch file",)
        holds = possible == () and findings.fault is None
        guarantees[name] = f"enforced:{by_what}" if holds else NOT_ENFORCED
        if not holds and name not in _NOT_PROMISED.get(level, ()):
            broken.append(f"{name}: {findings.fault or _what_failed(name, possible)}")
    return Verdict(guarantees, tuple(broken))


def _what_failed(name: str, possible: tuple[str, ...] | None) -> str:
    if name == "scratch":
        return "a script could not write to its scratch folder"
    return f"a script could {', '.join(possible)}" if possible else "it was not probed"


def _memory_walls(cgroup: int, *, watched: bool) -> str:
    watching = " and watching" if watched else ""
    around_all = f"; of all workers: cgroup v{cgroup}" if cgroup else ""
    return f"RLIMIT_DATA, RLIMIT_AS{watching}{around_all}"


def _enforcers(level: Level, landlock_abi: int, memory: str) -> dict[str, str]:
    """What is expected to hold each guarantee up."""
    strict = level == "strict"
    files = {"strict": "mount namespace", "hardened": "Landlock"}.get(level, "seccomp")
    both = f"{files} and Landlock" if strict and landlock_abi else files
    return {
        "files_read": both,
        "files_metadata": files,
        "files_write": both,
        "environment": "own process",
        "network": "network namespace and seccomp" if strict else "seccomp",
        **dict.fromkeys(_BY_SECCOMP, "seccomp"),
        "memory": memory,
        "time": "kill and RLIMIT_CPU",
        "scratch": "tmpfs of its own" if strict else "RLIMIT_FSIZE and watching",
    }


async def _run(seat: WorkerSlot, job: Job) -> Outcome:
    try:
        return await bridge.serve(seat.worker.sock, job, _no_tools)
    finally:
        await finish(seat.clear_away(), CLEAR_SECS)


async def _no_tools(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
    raise CallError(ref, "the self-test has no tools")


@contextmanager
def _targets() -> Iterator[tuple[Path, tuple[str, int]]]:
    """What the probes go for: a folder open to every user, and a port on this host's loopback."""
    with (
        tempfile.TemporaryDirectory(prefix="mcproxy-probe-") as name,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        folder = Path(name)
        canary = folder / "canary"
        canary.write_text("canary")
        canary.chmod(0o666)
        folder.chmod(0o777)
        host, port = server.getsockname()
        yield folder, (host, port)
