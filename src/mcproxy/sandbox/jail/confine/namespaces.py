"""Put this process into namespaces of its own: user, mount, network, process, and the small ones.

Done once per zygote; workers inherit them, but for a process namespace of their own. Works for root
and for an ordinary user alike, unless the machine forbids user namespaces (Docker's and Kubernetes'
default profiles do).
"""

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Callable

from mcproxy.sandbox.jail.confine import libc

_ALL = (
    libc.CLONE_NEWUSER
    | libc.CLONE_NEWNS
    | libc.CLONE_NEWNET
    | libc.CLONE_NEWPID
    | libc.CLONE_NEWIPC
    | libc.CLONE_NEWUTS
    | libc.CLONE_NEWCGROUP
)
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_HOST_NAME = "sandbox"
# tcp(7): least, default and most bytes of a connection's buffer. It grows up to the machine's most,
# often 4 to 32 MiB, and is nobody's memory: here never above what a pair of local sockets has.
_TCP_BUFFER = "4096 131072 212992"


def enter(build_root: Callable[[], None], uid: int) -> None:
    """Enter all namespaces with ``build_root`` as the file tree, as ``uid`` within.

    Root builds the tree before it lets go of its rights: the interpreter may lie where only root
    can look. The process namespace begins with the next fork.
    """
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    as_root = os.geteuid() == 0 and _own_mounts()
    if as_root:
        build_root()
    drop_root(uid)
    _unshare_and_map(proc, uid)
    os.close(proc)
    if not as_root:
        build_root()
    socket.sethostname(_HOST_NAME)


def drop_root(uid: int) -> None:
    """Become ``uid`` if this is root. Dumpable again, so that our /proc/self stays ours."""
    if os.geteuid() != 0:
        return
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    libc.prctl(libc.PR_SET_DUMPABLE, 1)


def fork_as_first_process(fork: Callable[[], int], zygote: int) -> int:
    """``fork`` a child that is the first process of a new namespace: no number in it counts others.

    ``zygote`` is a pidfd of this process: its next child goes into this one's namespace again, for
    the kernel makes no second namespace out of one that waits for its first process.
    """
    libc.unshare(libc.CLONE_NEWPID, "process")
    child = -1
    try:
        child = fork()
    finally:
        if child:
            libc.setns(zygote, libc.CLONE_NEWPID, "process")
    return child


def loopback_up() -> None:
    """Start ``lo`` of this network namespace: it comes into being switched off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _own_mounts() -> bool:
    """Root in a container may lack CAP_SYS_ADMIN: then it goes the way of an ordinary user."""
    with contextlib.suppress(PermissionError):
        libc.unshare(libc.CLONE_NEWNS, "mount")
        return True
    return False


def _unshare_and_map(proc: int, uid: int) -> None:
    """user_namespaces(7): one user and one group, both ours; no supplementary groups."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    libc.unshare(_ALL, "user, mount, network, process")
    _write(proc, "self/setgroups", "deny")
    _write(proc, "self/uid_map", f"{uid} {outer_uid} 1")
    _write(proc, "self/gid_map", f"{uid} {outer_gid} 1")
    for name in ("tcp_rmem", "tcp_wmem"):
        with contextlib.suppress(OSError):  # in most containers these files are read-only
            _write(proc, f"sys/net/ipv4/{name}", _TCP_BUFFER)


def _write(folder: int, name: str, text: str) -> None:
    file = os.open(name, os.O_WRONLY, dir_fd=folder)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
