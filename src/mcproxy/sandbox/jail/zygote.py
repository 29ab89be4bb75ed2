"""The fork server: a Python that has imported everything, walled in, and forks workers on demand.

Started by the gateway with an empty environment, so no secret is in its memory to be found. Single
threaded, because only such a process can be forked safely. It speaks JSON datagrams over one
socket, its only tie to the gateway: when that closes, it ends, and its workers with it.

    gateway: Walls                         once
    zygote:  {"ready": …} + listener       or {"failed": what, "errno": n}
    gateway: Own + sockets                 for each worker
    zygote:  {"spawned": pid} + pidfd      or {"refused": why}
    zygote:  {"exited": pid, "status": n, "peak_kib": n, "cpu_secs": x}
"""

import contextlib
import json
import os
import select
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NoReturn, TypeAlias

from mcproxy.sandbox.jail import preload, worker
from mcproxy.sandbox.jail.confine import libc, namespaces
from mcproxy.sandbox.jail.confine.lockdown import RPC_FD, Prepared, confine, reserve_descriptors
from mcproxy.sandbox.jail.prepare import prepare, settle
from mcproxy.sandbox.jail.walls import Own, Walls

READY, BROKEN = b"R", b"E"  # a worker's first byte on its socket; after BROKEN comes the reason

# Of a control message. More than a usual one needs would be mapped anew each time.
_WALLS_BYTES, _OWN_BYTES = 1 << 20, 1 << 14
_MOST_FDS = 2
# Of a script for practice: CPython 3.11 makes code fast at its ninth run, and each worker's by
# itself what is not before.
_ROUNDS = 9

Work: TypeAlias = Callable[[Own, list[int]], NoReturn]


class Control:
    """The zygote's end of the control socket."""

    def __init__(self, fd: int) -> None:
        self._sock = socket.socket(fileno=fd)

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, message: Mapping[str, object], fds: Sequence[int] = ()) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # receive() will see it
            socket.send_fds(self._sock, [json.dumps(message).encode()], fds)

    def receive(self, most_bytes: int) -> tuple[bytes, list[int]]:
        """One message with its descriptors; empty when the gateway is gone."""
        message, fds, _, _ = socket.recv_fds(self._sock, most_bytes, _MOST_FDS)
        return message, fds


def main(control_fd: int, library: Sequence[str]) -> NoReturn:
    """Run until the gateway goes. ``library``: the import path without the gateway's own code."""
    os.setsid()
    reserve_descriptors()
    control = Control(control_fd)
    sys.path[:] = library
    preload.preload(preload.COMMON)  # the order may be a while in coming
    stage = worker.staged()
    settle(stage, _ROUNDS)
    order, _ = control.receive(_WALLS_BYTES)
    if not order:
        os._exit(0)
    try:
        prepared, found = prepare(Walls.decode(order), stage)
    except OSError as error:
        control.send({"failed": error.strerror or str(error), "errno": error.errno})
        os._exit(1)
    ready = {
        "landlock": found.landlock_abi,
        "uid": found.uid,
        "absent": found.absent,
        "data_bytes": prepared.data_bytes,
    }
    if found.listener:
        control.send({"ready": ready}, [found.listener.fileno()])
        found.listener.close()
    else:
        control.send({"ready": ready})
    _serve(control, partial(_work, prepared, stage), prepared.walls)


def _serve(control: Control, work: Work, walls: Walls) -> NoReturn:
    """Fork for each request, reap and report each end."""
    events = select.poll()
    events.register(control, select.POLLIN)
    # A package may count on being called after a fork; of the standard library, ``reseed`` does it.
    fork = os.fork if walls.packages else libc.fork
    if walls.namespaces:
        fork = partial(namespaces.fork_as_first_process, fork, os.pidfd_open(os.getpid()))
    workers: dict[int, int] = {}  # pidfd: pid
    while True:
        for fd, _ in events.poll():
            if fd in workers:
                events.unregister(fd)
                _reap(control, fd, workers.pop(fd))
            elif pidfd := _spawn(control, work, fork, workers):
                events.register(pidfd, select.POLLIN)


def _spawn(
    control: Control, work: Work, fork: Callable[[], int], workers: dict[int, int]
) -> int | None:
    """Fork one worker, as asked: its pidfd; None when the kernel will not fork."""
    message, fds = control.receive(_OWN_BYTES)
    if not message:
        os._exit(0)  # the workers get SIGKILL: it is their parent-death signal
    try:
        pid = fork()
    except OSError as error:
        control.send({"refused": str(error)})
        pid = -1
    if pid == 0:
        workers.clear()  # or a script that finds it could count the others
        work(Own.decode(message), fds)
    for fd in fds:
        os.close(fd)
    if pid < 0:
        return None
    pidfd = os.pidfd_open(pid)
    control.send({"spawned": pid}, [pidfd])
    workers[pidfd] = pid
    return pidfd


def _work(prepared: Prepared, stage: worker.Stage, own: Own, fds: list[int]) -> NoReturn:
    """The worker's whole life. It must not come back into the zygote's loop, whatever happens."""
    code = 1
    try:
        if _ready(prepared, stage, own, fds):
            os.write(RPC_FD, READY)
            worker.run(RPC_FD, stage)
            code = 0
    finally:
        os._exit(code)


def _ready(prepared: Prepared, stage: worker.Stage, own: Own, fds: list[int]) -> bool:
    """Lock down, warm up. False, and the reason is sent, when that fails."""
    try:
        confine(prepared, own, fds)
        preload.reseed()
        if own.warm:  # each worker pays for it: what every script does, and no more
            stage.practise(worker.USUAL)
    except Exception as error:  # noqa: BLE001 - the gateway is told, whatever it is
        os.write(RPC_FD, BROKEN + repr(error).encode())
        return False
    return True


def _reap(control: Control, pidfd: int, pid: int) -> None:
    _, status, usage = os.wait4(pid, 0)
    os.close(pidfd)
    used = {"peak_kib": usage.ru_maxrss, "cpu_secs": usage.ru_utime + usage.ru_stime}
    control.send({"exited": pid, "status": status, **used})
