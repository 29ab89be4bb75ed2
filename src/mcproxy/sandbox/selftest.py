"""Prove the walls: run the probes in real workers and say what held.

``/health`` and ``doctor`` report nothing that has not been tried here. ``examine`` acts, ``judge``
decides: a guarantee counts as enforced only if every try against it was refused.

The probes are a script like any other, so that what they find is what a script would find: it gets
the facts of this machine through ``api.manifest()`` and gives back, by guarantee, what it managed
to do; an empty list means that every try was refused.
"""

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec.structs import replace

from mcproxy.call_errors import CallError
from mcproxy.sandbox import bridge
from mcproxy.sandbox.worker_slot import WorkerSlot, used_kib
from mcproxy.types import Job, Json, Level, Limits, Outcome, ToolRef, ToolResult

PROBES = """
import _socket, ctypes, fcntl, mmap, os, pathlib, signal, socket, tempfile

given = api.manifest()
libc = ctypes.CDLL(None, use_errno=True)
opened = {}

def attempt(guarantee, what, action):
    opened.setdefault(guarantee, [])
    try:
        action()
    except (OSError, MemoryError):
        return
    opened[guarantee].append(what)

def call(name, *args):
    if getattr(libc, name)(*args) < 0:
        raise OSError(ctypes.get_errno(), name)

def fork():
    if os.fork() == 0:
        os._exit(0)

def shared_memory():
    mmap.mmap(-1, given["memory_bytes"], mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)

def shared_device():
    with open("/dev/zero", "rb") as device:
        mmap.mmap(device.fileno(), mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)

def unwritable_memory():  # as if it had been written before
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    mmap.mmap(-1, 2 * given["memory_bytes"] + (1 << 28), kind, mmap.PROT_READ)

def larger_buffers():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

def tcp():  # the real one, where the worker has a substitute
    return _socket.socket(socket.AF_INET, socket.SOCK_STREAM)

def surplus(names):
    if not names - {"LANG", "PATH", "USER", "HOME", "TMPDIR"} - set(given["proxy_variables"]):
        raise OSError("nothing")

folder, gateway = pathlib.Path(given["folder"]), given["pid"]
attempt("files_read", "read a file", lambda: (folder / "canary").read_text())
attempt("files_read", "list a folder", lambda: os.listdir(folder))
attempt("files_read", "read the gateway's memory map", lambda: open(f"/proc/{gateway}/maps").read())
attempt("files_metadata", "stat a file", lambda: os.stat(folder / "canary"))
attempt("files_write", "overwrite a file", lambda: open(folder / "canary", "w"))
attempt("files_write", "make a file", lambda: open(folder / "new", "w"))
attempt("files_write", "change a file's mode", lambda: os.chmod(folder / "canary", 0o777))
attempt("environment", "see more variables", lambda: surplus(set(os.environ)))
attempt("environment", "read the gateway's", lambda: open(f"/proc/{gateway}/environ").read())
attempt("processes", "fork", fork)
attempt("processes", "start a program", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attempt("processes", "become a program", lambda: os.execv("/bin/true", ["true"]))
attempt("signals", "signal the gateway", lambda: os.kill(gateway, 0))
attempt("signals", "signal the parent", lambda: os.kill(os.getppid(), 0))
attempt("signals", "signal everybody", lambda: os.kill(-1, 0))
attempt("network", "reach the host", lambda: tcp().connect(tuple(given["address"])))
attempt("network", "make a datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("network", "make a local socket", lambda: socket.socket(socket.AF_UNIX))
attempt("kernel", "enter a namespace", lambda: call("unshare", 0x10000000))
attempt("kernel", "trace a process", lambda: call("ptrace", 0, 0, 0, 0))
attempt("kernel", "mount", lambda: call("mount", b"none", b"/", b"tmpfs", 0, None))
attempt("kernel", "become root", lambda: call("setuid", 0))
attempt("kernel", "lift its limits", lambda: call("prctl", 4, 1, 0, 0, 0))
attempt("memory", "take twice the limit", lambda: bytearray(2 * given["memory_bytes"]))
attempt("memory", "share memory", shared_memory)
attempt("memory", "share memory of a device", shared_device)
attempt("memory", "map memory that it may not write", unwritable_memory)
attempt("memory", "have larger socket buffers", larger_buffers)
attempt("memory", "have larger pipes", lambda: fcntl.fcntl(os.pipe()[1], 1031, 1 << 20))

try:
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    scratch = tempfile.gettempdir()
except OSError:
    scratch = None
result = {"opened": opened, "scratch": scratch}
"""


PROBE_SECS = 10.0  # the probes take about 20 ms
HANG_SECS = 0.02  # what a script that never ends is given; it takes a processor for so long
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


class Findings(msgspec.Struct, frozen=True):
    """What the probes saw: by guarantee, what was possible; where scratch is, if anywhere.

    ``watched``: the memory of a worker is seen from outside (not where /proc hides processes).
    ``fault``: the probes themselves came to no end, and nothing is known.
    """

    opened: Mapping[str, tuple[str, ...]]
    scratch: str | None = None
    watched: bool = False
    fault: str | None = None


class Verdict(msgspec.Struct, frozen=True):
    """``guarantees`` as in ``SandboxReport``; ``broken``: what this level promises and lacks."""

    guarantees: Mapping[str, str]
    broken: tuple[str, ...]


async def examine(make_seat: MakeSeat, limits: Limits, *, network: bool) -> Findings:
    """Run the probes in one new worker, a script without end in another, both at a time: a start
    waits for them. Raises what ``make_seat`` does."""
    try:
        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(_ends_in_time(make_seat, limits))
            findings = await _probed(make_seat, limits, network=network)
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from faults
    time: tuple[str, ...] = () if ended.result() else ("go on",)
    return replace(findings, opened={**findings.opened, "time": time})


async def _probed(make_seat: MakeSeat, limits: Limits, *, network: bool) -> Findings:
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
        return replace(read(await _run(seat, probes)), watched=watched)


async def _ends_in_time(make_seat: MakeSeat, limits: Limits) -> bool:
    """Whether a script that goes on and on is ended, and its process with it."""
    seat = await make_seat()
    hang = await _run(seat, Job(_HANG, replace(limits, timeout_secs=HANG_SECS)))
    in_time = hang.error is not None and hang.error.type == "Timeout"
    return in_time and await seat.fate() is not None


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
        return await bridge.serve(seat.worker.line, job, _no_tools)
    finally:
        await seat.clear_away()


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
