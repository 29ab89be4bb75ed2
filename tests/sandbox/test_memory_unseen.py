"""Memory and locks where the limits of a process count nothing, looked at from outside.

What the scripts of ``attacks/unseen.txt`` take is measured with the other attacks.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from mcproxy.sandbox import cgroup
from mcproxy.sandbox.cgroup import MemoryGroup, Place
from mcproxy.sandbox.pool import Pool
from mcproxy.sandbox.profile import Profile
from mcproxy.types import Job, Json, Level, ToolRef, ToolResult
from tests.sandbox.walls import LEVELS, SMALL, at, descendants, echo, pool_at, run, started

_MIB = 1 << 20

KEEPS_WHAT_IT_MAY_NOT_WRITE = """
import ctypes, mmap, time
libc = ctypes.CDLL(None)
for _ in range(30):
    page = mmap.mmap(-1, 4 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    place = ctypes.addressof(ctypes.c_char.from_buffer(page))
    ctypes.memset(place, 1, 4 << 20)
    libc.mprotect(ctypes.c_void_p(place), ctypes.c_size_t(4 << 20), 1)
    globals().setdefault("held", []).append(page)
while True:
    time.sleep(1)
"""
LOCKS_A_FILE = """
import fcntl, os
fd = os.open("file", os.O_RDWR | os.O_CREAT)
for place in range(0, 1000, 2):
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
result = api.call_tool("s", "t")
"""
TAKES_AND_SHARES = """
import mmap, sys
sys.stdin.read(1)
page = mmap.mmap(-1, 200 << 20)
for at in range(0, len(page), 4096):
    page[at] = 1
"""


def place_or_skip() -> Place:
    place = cgroup.find()
    if place is None:
        pytest.skip("no memory cgroup can be made here")
    return place


def locks_of(pids: set[int]) -> int:
    """proc_locks(5): how many locks these processes hold."""
    rows = Path("/proc/locks").read_text().splitlines()
    return sum(int(row.split()[4]) in pids for row in rows)


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that every user may write to."""
    tmp_path.chmod(0o777)
    return tmp_path


@pytest.mark.requirement("sandbox.memory.unseen")
@pytest.mark.parametrize("level", LEVELS)
async def test_memory_that_the_kernel_does_not_count_ends_the_script(level: Level) -> None:
    async with pool_at(level) as pool:
        outcome = await run(pool, KEEPS_WHAT_IT_MAY_NOT_WRITE)
    assert outcome.error
    assert outcome.error.type == "MemoryLimit"
    assert "sandbox.memory_mb" in outcome.error.message


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("level", LEVELS[:2])
async def test_a_lock_is_made_only_where_others_can_see_it(
    level: Level, shared: bool, open_folder: Path
) -> None:
    found = 0

    async def count(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        nonlocal found
        found = locks_of(descendants())
        return await echo(ref, arguments)

    folders = (str(open_folder),) if shared else ()
    async with pool_at(level, Profile(limits=SMALL, read_write=folders)) as pool:
        source = LOCKS_A_FILE.replace('"file"', f'"{open_folder}/file"') if shared else LOCKS_A_FILE
        outcome = await pool.run(Job(source, SMALL), count)
    assert outcome.value == "t"
    assert found == (500 if shared else 0)


@pytest.mark.requirement("sandbox.memory.unseen")
async def test_all_workers_are_in_a_cgroup_that_is_gone_with_them() -> None:
    place = place_or_skip()
    async with pool_at("strict") as pool:
        (folder,) = place.folder.glob(f"mcproxy-{os.getpid()}-*")
        members = {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}
        assert members == descendants()
        assert f"cgroup v{place.version}" in pool.report.guarantees["memory"]
    assert not folder.exists()


FILLS_CONNECTIONS = """
import socket
total, held = 0, []
try:
    while True:
        held.append(socket.create_connection(("127.0.0.1", 3128)))
        held[-1].setblocking(False)
        try:
            while True:
                total += held[-1].send(bytes(1 << 20))
        except BlockingIOError:
            pass
except OSError:
    pass
result = [len(held) > 20, total // len(held)]
"""


class Deaf:
    """An egress proxy that lets connections wait."""

    def admitted(self, token: str) -> AbstractContextManager[None]:
        return nullcontext()

    async def serve_dials(self, dial: socket.socket) -> None:
        await asyncio.Event().wait()

    async def serve_listener(self, listener: socket.socket) -> None:
        await asyncio.Event().wait()


@pytest.mark.requirement("sandbox.memory.unseen")
async def test_connections_that_nobody_reads_keep_little() -> None:
    if os.statvfs("/proc/sys").f_flag & os.ST_RDONLY:
        pytest.skip("the machine's own bounds hold: /proc/sys is read-only")
    profile = Profile(limits=SMALL, allowed_hosts=("example.com",))
    async with Pool(at("strict"), {"": profile}, lambda _: Deaf()) as pool:
        await started(pool)
        outcome = await run(pool, FILLS_CONNECTIONS)
    assert isinstance(outcome.value, list), outcome.error
    many, bytes_each = outcome.value
    assert many
    assert isinstance(bytes_each, int)
    assert bytes_each <= 2 * 212992


async def test_a_group_ends_what_takes_more() -> None:
    group = MemoryGroup(place_or_skip())
    try:
        group.allow(64 * _MIB)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", TAKES_AND_SHARES), stdin=asyncio.subprocess.PIPE
        )
        group.add(child.pid)
        await child.communicate(b"x")
        assert child.returncode == -9
    finally:
        await group.remove()


MOUNTS = (
    "24 30 0:21 / /proc rw,nosuid - proc proc rw",
    "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
    "32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
)


@pytest.mark.parametrize(
    ("mounts", "own", "found"),
    [
        (MOUNTS, {"memory": "/a/b", "": "/"}, [Place(Path("/sys/fs/cgroup/memory/a/b"), 1)]),
        (
            MOUNTS[2:],
            {"": "/x.service/gateway"},
            [Place(Path("/sys/fs/cgroup/unified/x.service"), 2)],
        ),
        (MOUNTS[2:], {"": "/"}, []),
        (MOUNTS[:1], {"": "/"}, []),
        (
            ("32 24 0:28 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup2 rw",),
            {"": "/docker/1/sub/leaf"},
            [Place(Path("/sys/fs/cgroup/sub"), 2)],
        ),
        (
            ("31 24 0:27 / /cg/cpu rw - cgroup cgroup rw,cpu",),
            {"cpu": "/", "memory": "/a"},
            [],
        ),
    ],
)
def test_where_a_group_can_be_made(
    mounts: tuple[str, ...], own: dict[str, str], found: list[Place]
) -> None:
    assert list(cgroup.places(list(mounts), own)) == found
