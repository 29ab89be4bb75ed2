"""What a forked worker does to itself before it reads a script: every wall, the last one last.

The order matters: a private scratch needs rights that are then dropped; the filter forbids most of
the calls above it. After ``confine`` returns nothing of it can be undone. All that can be decided
before the fork is: the zygote makes the system calls ready (``Prepared``), a worker makes them.
"""

import ctypes
import os
import resource
import signal
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mcproxy.sandbox.jail.confine import landlock, libc, rootfs, seccomp
from mcproxy.sandbox.jail.confine.libc import SystemCall
from mcproxy.sandbox.jail.walls import Own, Walls

RPC_FD, DIAL_FD = 3, 4  # the socket to the gateway; where the egress proxy is dialled from
PROXY_PORT = 3128  # of the sandbox's own loopback

STACK_BYTES = 8 << 20  # a thread's and the main one's: the usual default of Linux
_MIB = 1 << 20
_SCRATCH_ENTRIES = 1024
_ADDRESS_SPACE_SPARE = 128 << 20  # no memory: what malloc reserves for threads; libraries, files
_THREADS_IN_NAMESPACE = 256  # counted over the workers of one zygote
_TASKS_OF_USER = 4096  # counted over everything of that user: no namespace to count in
_END_OF_FDS = 65536


class Prepared(NamedTuple):
    """What the zygote found and made ready once. ``data_bytes``: its own size, on top of which a
    worker gets its memory. ``calls`` raise the walls, ``last`` is the filter; ``kept`` are the
    descriptors that a worker has. ``rpc``, ``dial`` and ``folder`` are variables of the calls."""

    walls: Walls
    data_bytes: int
    calls: tuple[SystemCall, ...]
    last: tuple[SystemCall, ...]
    kept: tuple[int, ...]
    rpc: ctypes.c_int
    dial: ctypes.c_int
    folder: ctypes.c_char_p


def ready(  # noqa: PLR0913 - what the zygote has found
    walls: Walls,
    *,
    data_bytes: int,
    landlock_abi: int,
    filter_program: bytes,
    readable: tuple[str, ...],
    scratch: str | None,
    pipe: tuple[int, int],
) -> Prepared:
    """Make all calls of ``confine`` ready. ``scratch``: the same path in every worker, None where
    each is given one, or none. ``pipe``: two descriptors between which each gets a pair of its
    own."""
    rpc, dial, folder = ctypes.c_int(-1), ctypes.c_int(-1), ctypes.c_char_p(None)
    has_dial = walls.network and not walls.namespaces
    calls = _given_descriptors(rpc, dial if has_dial else None)
    if scratch:
        calls += _private_scratch(scratch, walls.scratch_mb)
    if scratch or not _has_folder(walls):
        folder.value = os.fsencode(scratch or "/")
    calls += [
        libc.ready("chdir", folder),
        libc.prctl_call(libc.PR_SET_PDEATHSIG, signal.SIGKILL),
        libc.prctl_call(libc.PR_SET_NO_NEW_PRIVS, 1),
        *_standard_descriptors(),
        *_pair(pipe),
    ]
    if landlock_abi:
        calls += landlock.restrict(
            readable,
            [*walls.read_write, *rootfs.DEVICES],
            [PROXY_PORT] if walls.network else [],
            landlock_abi,
            folder if scratch or _has_folder(walls) else None,
        )
    calls += [
        *_worker_limits(walls),  # of descriptors too: the zygote has more open
        *libc.no_capabilities(),
        libc.prctl_call(libc.PR_SET_DUMPABLE),
    ]
    last = (seccomp.install(filter_program),)
    kept = (0, 1, 2, RPC_FD, *([DIAL_FD] if has_dial else []), *pipe)
    return Prepared(walls, data_bytes, tuple(calls), last, tuple(sorted(kept)), rpc, dial, folder)


def _has_folder(walls: Walls) -> bool:
    """Whether each worker is given a scratch folder of the host's."""
    return walls.landlock and not walls.namespaces


def confine(prepared: Prepared, own: Own, descriptors: Sequence[int]) -> None:
    """Raise all walls around this process. ``descriptors``: its socket to the gateway, which
    becomes RPC_FD; with a line to the proxy, which becomes DIAL_FD."""
    walls = prepared.walls
    prepared.rpc.value, prepared.dial.value = *descriptors, *([-1] * (2 - len(descriptors)))
    if _has_folder(walls):
        prepared.folder.value = os.fsencode(own.scratch or "")
        set_home(own.scratch)
    if walls.network:
        _set_proxy(own.token)
    libc.perform(prepared.calls)
    _close_all_but(prepared.kept)
    libc.perform(prepared.last)


def reserve_descriptors() -> None:
    """Have the numbers that are given a meaning in use, so that no other file gets one of them."""
    while (fd := os.open(os.devnull, os.O_RDONLY)) <= DIAL_FD:
        pass
    os.close(fd)


def _given_descriptors(rpc: ctypes.c_int, dial: ctypes.c_int | None) -> list[SystemCall]:
    cloexec = os.O_CLOEXEC
    calls = [libc.ready("dup3", rpc, RPC_FD, cloexec)]
    return calls if dial is None else [*calls, libc.ready("dup3", dial, DIAL_FD, cloexec)]


def _standard_descriptors() -> Iterator[SystemCall]:
    """The standard three lead nowhere. Nowhere is opened anew: flags are of the open file, which an
    inherited one shares with others."""
    null = ctypes.c_int(-1)
    path = os.fsencode(os.devnull)
    yield libc.ready("openat", libc.AT_FDCWD, path, os.O_RDWR | os.O_CLOEXEC, 0, gives=null)
    for standard in (0, 1, 2):
        yield libc.ready("dup3", null, standard, 0)


def _pair(pipe: tuple[int, int]) -> Iterator[SystemCall]:
    """A pair of sockets under these numbers, of this process alone."""
    made = (ctypes.c_int * 2)()
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    yield libc.ready("socketpair", socket.AF_UNIX, kind, 0, made)
    for n, fd in enumerate(pipe):
        end = ctypes.c_int.from_buffer(made, n * ctypes.sizeof(ctypes.c_int))
        yield libc.ready("dup3", end, fd, os.O_CLOEXEC)


def _close_all_but(kept: Sequence[int]) -> None:
    for before, after in zip(kept, (*kept[1:], _END_OF_FDS), strict=True):
        os.closerange(before + 1, after)


def measure() -> tuple[int, int, int]:
    """Bytes of data and of address space of this process, and the lowest address of its stack."""
    status = Path("/proc/self/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in status if line.startswith("Vm")}
    maps = Path("/proc/self/maps").read_text().splitlines()
    end = next(int(line.split()[0].split("-")[1], 16) for line in maps if "[stack]" in line)
    return kib["VmData"] << 10, kib["VmSize"] << 10, end - STACK_BYTES - _MIB


def _private_scratch(path: str, size_mb: int) -> list[SystemCall]:
    flags = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
    options = f"mode=700,size={size_mb}m,nr_inodes={_SCRATCH_ENTRIES}"
    return [
        libc.unshare_call(libc.CLONE_NEWNS, "mount"),
        libc.mount_call("tmpfs", path, "tmpfs", flags, options),
    ]


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
        resource.setrlimit(kind, _at_most_given(kind, most, most))


def _worker_limits(walls: Walls) -> Iterator[SystemCall]:
    """What a zygote needs more of than a worker."""
    tasks = _THREADS_IN_NAMESPACE if walls.namespaces else _TASKS_OF_USER
    limits = {
        resource.RLIMIT_NPROC: (tasks, tasks),
        resource.RLIMIT_NOFILE: (walls.open_files, walls.open_files),
        # SIGXCPU first, which says why; SIGKILL a second later for a script that ignores it.
        resource.RLIMIT_CPU: (walls.cpu_secs, walls.cpu_secs + 1),
    }
    for kind, (soft, hard) in limits.items():
        limit = struct.pack("QQ", *_at_most_given(kind, soft, hard))
        yield libc.ready("prlimit64", 0, kind, limit, 0, what=f"setrlimit({kind})")


def _at_most_given(kind: int, soft: int, hard: int) -> tuple[int, int]:
    """Never above what the gateway itself was given."""
    most = resource.getrlimit(kind)[1]
    return (soft, hard) if most == resource.RLIM_INFINITY else (min(soft, most), min(hard, most))
