"""Everything a zygote does once, before its first fork of a worker: import, measure, wall in.

Decides from ``Walls`` what is built and fails with an ``OSError`` that names the step, so that the
gateway can say why a level is out of reach. In namespaces ``prepare`` forks: it returns in the
last child, the others only wait for it.
"""

import errno
import gc
import os
import platform
import signal
import socket
from typing import NamedTuple, NoReturn

from mcproxy.sandbox.jail import preload, shim
from mcproxy.sandbox.jail.confine import landlock, libc, lockdown, namespaces, rootfs, seccomp
from mcproxy.sandbox.jail.confine.lockdown import DIAL_FD, PROXY_PORT, Prepared
from mcproxy.sandbox.jail.confine.syscalls import NUMBERS
from mcproxy.sandbox.jail.walls import Wall, Walls
from mcproxy.sandbox.jail.worker import MANIFOLD, Stage

_END_OF_FDS = 64  # a zygote that has just started has a handful
_SCRATCH, _OTHER_SCRATCH = "/tmp", "/scratch"  # noqa: S108 - in the sandbox's own tree
_BACKLOG = 128
_PROXY = ("127.0.0.1", PROXY_PORT)


class Found(NamedTuple):
    """How it went: Landlock's version (0: none), the user, the packages that are not installed,
    and the listener for the egress proxy, made inside the network namespace."""

    landlock_abi: int
    uid: int
    absent: tuple[str, ...]
    listener: socket.socket | None


def prepare(walls: Walls, stage: Stage) -> tuple[Prepared, Found]:
    """Build the walls that all workers share. OSError: which step the machine refused."""
    if platform.machine() not in NUMBERS:
        raise OSError(errno.ENOSYS, f"no system call table for {platform.machine()}")
    readable = (
        *rootfs.runtime_paths(network=walls.network),
        *walls.package_path,
        *walls.read_only,
    )
    absent = _import_all(walls)
    settle(stage)
    data_bytes, address_bytes, stack_floor = lockdown.measure()
    abi = _landlock_abi(walls)
    scratch = _enter_namespaces(walls, readable)
    listener = _listen() if walls.namespaces and walls.network else None
    _set_environment(scratch)
    if walls.network and listener is None:
        shim.install(DIAL_FD, _PROXY)
    shape = seccomp.Shape(
        paths=walls.paths,
        attributes=walls.namespaces,
        network=listener is not None,
        locks=bool(walls.read_write),
        stack_floor=stack_floor,
    )
    lockdown.limit(walls, data_bytes, address_bytes)
    prepared = lockdown.ready(
        walls,
        data_bytes=data_bytes,
        landlock_abi=abi,
        filter_program=seccomp.program(shape, platform.machine()),
        readable=readable,
        scratch=scratch,
        pipe=stage.tasks.pipe,
    )
    return prepared, Found(abi, os.geteuid(), absent, listener)


def _import_all(walls: Walls) -> tuple[str, ...]:
    preload.preload(preload.COMMON if walls.paths else preload.whole_library())
    preload.package_path(walls.package_path)
    if walls.network:
        preload.preload([*preload.NETWORK, *preload.NETWORK_IF_INSTALLED])
    absent = preload.preload(walls.packages)
    if threads := preload.extra_threads():
        raise OSError(
            errno.EBUSY, f"an import started {threads} threads; packages: {walls.packages}"
        )
    return tuple(absent)


def settle(stage: Stage, rounds: int = 1) -> None:
    """Before any fork: what is touched after one is a page more for each process. Again, it costs
    a quarter, as what was set aside is not looked at."""
    for _ in range(rounds):
        stage.practise(MANIFOLD)
    gc.collect()
    gc.freeze()
    gc.enable()  # for scripts


def _landlock_abi(walls: Walls) -> int:
    """0 where it is lacking and namespaces hold alone; OSError where it is the only file wall."""
    if not walls.paths:
        return 0
    try:
        _refuse_withheld("landlock", walls)
        return landlock.abi()
    except OSError as error:
        if walls.namespaces:
            return 0
        raise OSError(error.errno, f"Landlock: {os.strerror(error.errno or 0)}") from error


def _enter_namespaces(walls: Walls, readable: tuple[str, ...]) -> str | None:
    """The path of the scratch folder that each worker mounts; None without namespaces."""
    if not walls.namespaces:
        _drop_root(walls.uid, readable if walls.paths else ())
        return None
    _refuse_withheld("namespaces", walls)
    tree = rootfs.plan(
        [
            *((path, "read_only") for path in readable),
            *((path, "read_write") for path in walls.read_write),
            *((path, "denied") for path in walls.denied),
        ],
        rootfs.readlink,
    )
    hides = any(path.startswith(_SCRATCH + "/") for path, _ in tree.mounts)
    scratch = _OTHER_SCRATCH if hides else _SCRATCH
    namespaces.enter(lambda: rootfs.build(tree, scratch), walls.uid)
    _continue_as_second_process()
    libc.drop_bounding_set()
    if walls.network:
        namespaces.loopback_up()
    return scratch


def _continue_as_second_process() -> None:
    """Process namespaces begin with a child; its end is the end of all in it.

    The zygote is not that child but the next. Workers are number one of theirs, and libraries
    (OpenSSL, SQLite, tempfile) draw new random numbers after a fork only if the number changed.
    """
    for _ in range(2):
        child = os.fork()
        if child:
            _wait_and_exit(child)
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_and_exit(child: int) -> NoReturn:
    os.closerange(0, _END_OF_FDS)  # the control socket above all: its end must be the gateway's end
    os.waitpid(child, 0)
    os._exit(0)


def _drop_root(uid: int, readable: tuple[str, ...]) -> None:
    """Without namespaces, unless the interpreter lies where only root can read (/root)."""
    if os.geteuid() != 0:
        return
    os.seteuid(uid)
    can_read = all(os.access(path, os.R_OK, effective_ids=True) for path in readable)
    os.seteuid(0)
    if can_read:
        namespaces.drop_root(uid)


def _listen() -> socket.socket:
    """A socket stays in the network namespace where it was made, whoever accepts on it."""
    return socket.create_server(_PROXY, backlog=_BACKLOG)


def _set_environment(scratch: str | None) -> None:
    """All that a script's ``os.environ`` will hold, but for a folder of its own and the proxy."""
    os.environ.clear()
    os.environ.update({"LANG": "C.UTF-8", "PATH": "", "USER": "nobody"})
    lockdown.set_home(scratch)


def _refuse_withheld(wall: Wall, walls: Walls) -> None:
    if wall in walls.withhold:
        raise OSError(errno.EPERM, f"{wall}: {os.strerror(errno.EPERM)}")
