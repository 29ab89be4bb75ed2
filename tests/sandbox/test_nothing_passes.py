"""What one script may alter, the next one of the same zygote does not see; nor can it count it."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from mcproxy.sandbox.pool import Pool
from mcproxy.types import Job, Json, Level, ToolRef, ToolResult
from tests.sandbox.walls import LEVELS, SMALL, descendants, echo, pool_at, run, settles

LOOK = """
import asyncio, decimal, fcntl, locale, os, resource, signal, sys, tempfile, threading, time
import warnings

def tried(action, *arguments):
    try:
        return repr(action(*arguments))
    except (OSError, ValueError) as error:
        return type(error).__name__

def place(path):
    found = os.stat(path)
    return found.st_mode, found.st_size, found.st_mtime_ns, found.st_atime_ns

seen = {
    **{f"flags of {fd}": tried(fcntl.fcntl, fd, fcntl.F_GETFL) for fd in range(3)},
    **{f"close of {fd}": tried(fcntl.fcntl, fd, fcntl.F_GETFD) for fd in range(3)},
    "descriptors": [fd for fd in range(32) if tried(os.get_inheritable, fd) != "OSError"],
    "null": tried(place, "/dev/null"),
    "lock": tried(fcntl.fcntl, 1, fcntl.F_GETLK, b"\\1" + bytes(31)),
    "folder": tried(os.getcwd).replace(os.environ.get("TMPDIR", "-"), ""),
    "files": tried(os.listdir),
    "umask": os.umask(0o022),
    "priority": tried(os.getpriority, os.PRIO_PROCESS, 0),
    "timers": [signal.getitimer(kind)[1] for kind in range(3)],
    "handlers": [str(signal.getsignal(number))[:40] for number in (2, 10, 13, 14)],
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "alarm": signal.alarm(0),
    "limits": [resource.getrlimit(kind) for kind in range(16) if kind != resource.RLIMIT_CPU],
    "environment": {k: v for k, v in os.environ.items() if k not in ("HOME", "TMPDIR")},
    "path": sys.path,
    "recursion": sys.getrecursionlimit(),
    "switch": sys.getswitchinterval(),
    "decimals": str(decimal.getcontext()),
    "locale": locale.setlocale(locale.LC_ALL),
    "zone": time.tzname,
    "warnings": len(warnings.filters),
    "threads": threading.active_count(),
    "stack": threading.stack_size(),
    "temporary": tempfile.tempdir,
    "policy": type(asyncio.get_event_loop_policy()).__name__,
    "modules": "planted" in sys.modules,
    "nodes": hasattr(os, "planted"),
}
"""
ALTER = """
import ctypes, sys
for fd in range(3):
    tried(fcntl.fcntl, fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
    tried(fcntl.fcntl, fd, fcntl.F_SETFD, 0)
tried(fcntl.lockf, 1, fcntl.LOCK_EX, 10)
tried(os.utime, "/dev/null")
tried(os.chmod, "/dev/null", 0o600)
open("left", "w").close() if seen["files"] == "[]" else None
tried(os.chdir, "/")
os.umask(0)
tried(os.nice, 5)
signal.setitimer(signal.ITIMER_REAL, 1000)
signal.setitimer(signal.ITIMER_VIRTUAL, 1000)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
tried(resource.setrlimit, resource.RLIMIT_NOFILE, (5, 5))
os.environ["LEFT"] = "x"
os.environ["TZ"] = "Asia/Tokyo"
time.tzset()
sys.path.insert(0, "/left")
sys.setrecursionlimit(500)
sys.setswitchinterval(1)
decimal.getcontext().prec = 3
warnings.simplefilter("error")
threading.stack_size(65536)
tempfile.tempdir = "/left"
sys.modules["planted"] = os.planted = sys
asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
"""
DRAW = """
import random, secrets, sqlite3, tempfile, uuid
result = [
    random.random(), random.SystemRandom().random(), secrets.token_hex(8), str(uuid.uuid4()),
    next(tempfile._get_candidate_names()),
    sqlite3.connect(":memory:").execute("select hex(randomblob(8))").fetchone()[0],
]
try:
    import ssl
    result.append(ssl.RAND_bytes(8).hex())
except ImportError:
    pass
"""
COUNT = """
import os, threading
numbers = [os.getpid(), os.getppid(), threading.get_native_id(), os.getsid(0), os.getpgid(0)]
result = {"numbers": numbers, "home": os.environ["HOME"]}
"""
FRAMES = """
import sys
frame, locals_found = sys._getframe(), {}
while frame := frame.f_back:
    locals_found |= {name: value for name, value in frame.f_locals.items() if name == "workers"}
result = len(locals_found.get("workers", ()))
"""


def shared_writable(pid: int) -> list[str]:
    """Rows of proc_pid_maps(5); none of a worker that has just ended."""
    try:
        rows = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [row for row in rows if re.match(r"\S+ .w.s", row)]


def numbers_of(pid: int) -> list[int]:
    """Its process id in each namespace that it is in, the outermost first."""
    status = Path(f"/proc/{pid}/status").read_text()
    return [int(number) for number in status.partition("NSpid:")[2].splitlines()[0].split()]


def len_and_last(numbers: list[int]) -> tuple[int, int]:
    return len(numbers), numbers[-1]


@pytest.mark.requirement("sandbox.nothing_left")
async def test_what_a_script_alters_the_next_does_not_see(pool: Pool) -> None:
    before = await run(pool, LOOK + "result = seen")
    altered = await run(pool, LOOK + ALTER + "result = 'done'")
    after = await run(pool, LOOK + "result = seen")
    assert pool.stats.restarts == 0
    assert altered.value == "done", altered.error
    assert isinstance(before.value, dict), before.error
    assert after.value == before.value


@pytest.mark.requirement("sandbox.nothing_left")
async def test_no_two_scripts_draw_the_same_random_numbers(pool: Pool) -> None:
    draws = [(await run(pool, DRAW)).value for _ in range(3)]
    for drawn in zip(*draws, strict=True):
        assert len(set(map(str, drawn))) == 3


@pytest.mark.requirement("sandbox.nothing_left")
@pytest.mark.parametrize("pool", ["strict"], indirect=True)
async def test_no_number_tells_how_many_scripts_there_were(pool: Pool) -> None:
    seen = [(await run(pool, COUNT)).value for _ in range(3)]
    assert seen == [{"numbers": [1, 0, 1, 0, 0], "home": "/tmp"}] * 3


@pytest.mark.parametrize("pool", ["hardened"], indirect=True)
async def test_the_scratch_folder_on_disk_has_no_number(pool: Pool) -> None:
    outcome = await run(pool, COUNT)
    assert isinstance(outcome.value, dict)
    assert re.fullmatch(r"[0-9a-f]{16}", Path(str(outcome.value["home"])).name)


@pytest.mark.parametrize("pool", ["strict"], indirect=True)
async def test_a_zygote_has_another_number_than_its_workers(pool: Pool) -> None:
    """Libraries that draw random numbers notice a fork by it."""
    await settles(lambda: pool.stats.ready == 1 and len(descendants()) == 4)
    outside, first, zygote, worker = sorted(map(numbers_of, descendants()), key=len_and_last)
    assert len(outside) == 1
    assert (first[1:], zygote[1:]) == ([1], [2])
    assert worker[2:] == [1]


@pytest.mark.parametrize("level", LEVELS)
async def test_a_script_does_not_find_the_other_workers(level: Level) -> None:
    async with pool_at(level, size=3) as pool:
        assert (await run(pool, FRAMES)).value == 0


async def test_no_writable_page_is_shared_with_others(pool: Pool) -> None:
    shared: list[str] = []

    async def look(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        shared.extend(row for pid in descendants() for row in shared_writable(pid))
        return await echo(ref, arguments)

    outcome = await pool.run(Job("result = api.call_tool('s', 't')", SMALL), look)
    assert outcome.value == "t"
    assert shared == []
