"""The system calls that Python does not offer, through ctypes.

Used by the zygote and by a worker before its last wall goes up. Each function raises ``OSError``
whose text names the call and its object, because that text is what ``doctor`` shows. Knows no
policy: which call is made when is for ``rootfs``, ``landlock`` and ``lockdown``.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from mcproxy.sandbox.jail.confine.syscalls import NUMBERS

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
AT_FDCWD, AT_RECURSIVE = -100, 0x8000

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP = 1, 4, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63  # the kernel refuses the first that it does not know

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_syscall = _libc.syscall
_with_lock = ctypes.PyDLL(None, use_errno=True)
_machine = platform.machine()

Number: TypeAlias = ctypes.c_long | ctypes.c_int


class SystemCall(NamedTuple):
    """A system call made ready. ``args`` may be variables, read when it is made; ``gives`` takes
    what it returns; ``what`` is how an error calls it."""

    what: str
    args: tuple[object, ...]
    gives: Number | None


def ready(name: str, *args: object, what: str = "", gives: Number | None = None) -> SystemCall:
    """The raw call ``name``, to be made later; integers are passed as longs, buffers as pointers.

    After a fork each page that is written to is copied first: what is ready is not among them.
    """
    number = NUMBERS[_machine][name]
    given = (ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in (number, *args))
    return SystemCall(what or name, tuple(given), gives)


def perform(calls: Iterable[SystemCall]) -> None:
    """Make these calls, up to the first that fails."""
    for what, args, gives in calls:
        status = _syscall(*args)
        if status < 0:
            _checked(status, what)
        if gives is not None:
            gives.value = status


def syscall(name: str, *args: object) -> int:
    """The raw call ``name``, now."""
    gives = ctypes.c_long()
    perform([ready(name, *args, gives=gives)])
    return gives.value


def fork() -> int:
    """fork(2), without what ``os.fork`` does in Python before and after it: what was registered
    there takes and renews the locks of threads, and there are none. 0 in the child."""
    return _checked(_with_lock.fork(), "fork")


def prctl_call(option: int, value: int = 0) -> SystemCall:
    """prctl(2), made ready."""
    return ready("prctl", option, value, 0, 0, 0)


def prctl(option: int, value: int = 0) -> None:
    """prctl(2)."""
    perform([prctl_call(option, value)])


def unshare_call(flags: int, what: str) -> SystemCall:
    """unshare(2), made ready."""
    return ready("unshare", flags, what=f"unshare({what})")


def unshare(flags: int, what: str) -> None:
    """unshare(2)."""
    perform([unshare_call(flags, what)])


def setns(fd: int, kind: int, what: str) -> None:
    _checked(_libc.setns(fd, kind), f"setns({what})")


def mount_call(source: str, target: str, kind: str, flags: int, options: str = "") -> SystemCall:
    """mount(2), made ready."""
    names = (source.encode(), target.encode(), kind.encode())
    return ready("mount", *names, flags, options.encode(), what=f"mount {source} on {target}")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2)."""
    perform([mount_call(source, target, kind, flags, options)])


def bind(source: str, target: str, attributes: int) -> None:
    """Show ``source`` with all that is mounted below it at ``target``, with mount ``attributes``.

    ``mount_setattr`` (Linux 5.12) reaches the submounts too; a remount would leave them writable.
    """
    mount(source, target, "", MS_BIND | MS_REC)
    if attributes:
        set_attributes(target, attributes, recursive=True)


def set_attributes(target: str, attributes: int, *, recursive: bool) -> None:
    """mount_setattr(2): add ``attributes`` to the mount at ``target``."""
    request = struct.pack("<QQQQ", attributes, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    syscall("mount_setattr", AT_FDCWD, os.fsencode(target), flags, request, len(request))


def pivot_root_here() -> None:
    """Make the current directory the root and let go of the old one."""
    syscall("pivot_root", b".", b".")
    _checked(_libc.umount2(b".", MNT_DETACH), "umount of the old root")


def drop_bounding_set() -> None:
    """No program that is ever run from here gains a capability."""
    for capability in range(LAST_CAPABILITY + 1):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:  # past the last one that this kernel knows
            break


def no_capabilities() -> list[SystemCall]:
    """Empty the ambient, permitted, effective and inheritable sets."""
    return [
        prctl_call(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL),
        ready("capset", struct.pack("<II", CAPABILITY_VERSION_3, 0), bytes(24)),
    ]


def _checked(status: int, what: str) -> int:
    if status < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return status
