"""What a forked worker does to itself before it reads a script: every wall, the last one last.

The order matters: a private scratch needs rights that are then dropped; the filter forbids most of
the calls above it. After ``confine`` returns nothing of it can be undone. Measured once by the
zygote: ``Prepared``.
"""

import fcntl
import os
import resource
import signal
from pathlib import Path
from typing import NamedTuple

from mcproxy.sandbox.jail.confine import landlock, libc, rootfs, seccomp
from mcproxy.sandbox.jail.walls import Own, Walls

RPC_FD, DIAL_FD = 3, 4  # the socket to the gateway; where the egress proxy is dialled from
PROXY_PORT = 3128  # of the sandbox's own loopback

STACK_BYTES = 8 << 20  # a thread's and the main one's: the usual default of Linux
_MIB = 1 << 20
_SCRATCH_ENTRIES = 1024
_ADDRESS_SPACE_SPARE = 128 << 20  # no memory: what malloc reserves for threads; libraries, files
_THREADS_IN_NAMESPACE = 256  # counted over the workers of one zygote
_TASKS_OF_USER = 4096  # counted over everything of that user: no namespace to count in
_SAFE_FD = 20  # above every number that is given a meaning here
_END_OF_FDS = 65536


class Prepared(NamedTuple):
    """What the zygote found and compiled once. ``data_bytes``: its own size, on top of which a
    worker gets its memory. ``scratch``: the same path in every worker, None where each is given
    one."""

    walls: Walls
    landlock_abi: int
    filter_program: bytes
    readable: tuple[str, ...]
    data_bytes: int
    scratch: str | None


def confine(prepared: Prepared, own: Own) -> None:
    """Raise all walls around this process."""
    walls, scratch = prepared.walls, prepared.scratch or own.scratch
    if prepared.scratch:
        libc.unshare(libc.CLONE_NEWNS, "mount")
        _mount_scratch(prepared.scratch, walls.scratch_mb)
    elif scratch:
        set_home(scratch)
    os.chdir(scratch or "/")
    if walls.network:
        _set_proxy(own.token)
    _limit_worker(walls)
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    if prepared.landlock_abi:
        write = [*walls.read_write, *rootfs.DEVICES, *([scratch] if scratch else [])]
        ports = [PROXY_PORT] if walls.network else []
        landlock.restrict(prepared.readable, write, ports, prepared.landlock_abi)
    libc.drop_capabilities()
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    seccomp.install(prepared.filter_program)


def measure() -> tuple[int, int, int]:
    """Bytes of data and of address space of this process, and the lowest address of its stack."""
    status = Path("/proc/self/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in status if line.startswith("Vm")}
    maps = Path("/proc/self/maps").read_text().splitlines()
    end = next(int(line.split()[0].split("-")[1], 16) for line in maps if "[stack]" in line)
    return kib["VmData"] << 10, kib["VmSize"] << 10, end - STACK_BYTES - _MIB


def own_descriptors(rpc: int, dial: int | None) -> None:
    """``rpc`` becomes RPC_FD, ``dial`` DIAL_FD; the standard three lead nowhere, others are closed.

    Nowhere is opened anew: flags are of the open file, which an inherited one shares with others.
    First all away from the numbers to be given: one of them may hold another.
    """
    null = os.open(os.devnull, os.O_RDWR)
    safe_rpc, safe_null = (fcntl.fcntl(fd, fcntl.F_DUPFD, _SAFE_FD) for fd in (rpc, null))
    safe_dial = None if dial is None else fcntl.fcntl(dial, fcntl.F_DUPFD, _SAFE_FD)
    for standard in (0, 1, 2):
        os.dup2(safe_null, standard)
    os.dup2(safe_rpc, RPC_FD, inheritable=False)
    if safe_dial is not None:
        os.dup2(safe_dial, DIAL_FD, inheritable=False)
    os.closerange(DIAL_FD + (safe_dial is not None), _END_OF_FDS)


def _mount_scratch(path: str, size_mb: int) -> None:
    flags = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
    options = f"mode=700,size={size_mb}m,nr_inodes={_SCRATCH_ENTRIES}"
    libc.mount("tmpfs", path, "tmpfs", flags, options)


def set_home(scratch: str | None) -> None:
    """Tell scripts of their folder."""
    os.environ["HOME"] = scratch or "/"
    if scratch:
        os.environ["TMPDIR"] = scratch


def _set_proxy(token: str | None) -> None:
    """The variables that urllib, requests and httpx follow by themselves."""
    user = f"script:{token}@" if token else ""
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        os.environ[name] = os.environ[name.lower()] = f"http://{user}127.0.0.1:{PROXY_PORT}"


def limit(walls: Walls, data_bytes: int, address_bytes: int) -> None:
    """setrlimit(2), for the zygote, of which workers inherit it: what needs not be each one's own.
    RLIMIT_DATA bounds what a script can write to, RLIMIT_AS whatever it maps."""
    memory = walls.memory_mb * _MIB
    limits = {
        resource.RLIMIT_DATA: data_bytes + memory,
        resource.RLIMIT_AS: address_bytes + memory + _ADDRESS_SPACE_SPARE,
        resource.RLIMIT_STACK: STACK_BYTES,
        resource.RLIMIT_FSIZE: walls.scratch_mb * _MIB,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for kind, most in limits.items():
        _lower(kind, most, most)


def _limit_worker(walls: Walls) -> None:
    """What a zygote needs more of than a worker."""
    tasks = _THREADS_IN_NAMESPACE if walls.namespaces else _TASKS_OF_USER
    _lower(resource.RLIMIT_NPROC, tasks, tasks)
    _lower(resource.RLIMIT_NOFILE, walls.open_files, walls.open_files)
    # SIGXCPU first, which says why; SIGKILL a second later for a script that ignores it.
    _lower(resource.RLIMIT_CPU, walls.cpu_secs, walls.cpu_secs + 1)


def _lower(kind: int, soft: int, hard: int) -> None:
    """Never above what the gateway itself was given."""
    most = resource.getrlimit(kind)[1]
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(kind, (soft, hard))
