"""Which system calls a worker may make: an allow-list, the wall that carries the most.

No call creates a process, runs a program, signals anyone, opens a socket (but TCP where a private
network namespace makes that harmless) or reaches kernel subsystems that a script has no use for.
What is not listed fails with EPERM. The list is by name; ``syscalls`` has the numbers.
"""

import ctypes
import errno
from typing import NamedTuple

from mcproxy.sandbox.jail.confine import bpf, libc
from mcproxy.sandbox.jail.confine.bpf import REFUSE, WORD, Below, OneOf, Rule, errno_action
from mcproxy.sandbox.jail.confine.libc import SystemCall
from mcproxy.sandbox.jail.confine.syscalls import AUDIT_ARCH, NUMBERS

# What an interpreter does with its own memory, descriptors, clocks and threads. Without sendfile:
# a page that it puts into a pipe stays there when the file is gone, and nobody counts it.
_PLAIN = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 close lseek fstat
mprotect munmap madvise brk membarrier set_robust_list rseq sched_yield sched_getaffinity
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait sigaltstack
poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
eventfd2 pipe pipe2 dup dup2 dup3 close_range timerfd_create timerfd_settime timerfd_gettime
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage getcpu
setitimer getitimer alarm getpid gettid getppid getuid geteuid getgid getegid getgroups getpgrp
getpgid getsid getrlimit getrandom uname umask getcwd exit exit_group restart_syscall
recvfrom recvmsg sendmsg shutdown getsockopt getsockname getpeername
copy_file_range fadvise64 ftruncate fsync fdatasync fstatfs
"""

# What takes a path. Where it leads is for the mount namespace and Landlock. Without truncate, which
# Landlock sees only since Linux 6.2.
_FILES = """
access faccessat faccessat2 readlink readlinkat stat lstat newfstatat statx statfs
getdents64 chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2
"""

# Newer calls from which libc falls back to an older one when the kernel lacks them.
_PRETEND_OLD_KERNEL = "clone3 openat2"
# Copying a file asks for its attributes, and takes this answer for "there are none".
_NO_ATTRIBUTES = "listxattr llistxattr flistxattr"

_POINTER = WORD << 32 | WORD
_AF_UNIX, _AF_INET, _SOCK_STREAM, _SOCK_TYPE, _IPPROTO_TCP = 1, 2, 1, 0xF, 6
_F_GETLK, _F_SETLK, _F_SETLKW = 5, 6, 7
_FCNTL = (0, 1, 2, 3, 4, _F_GETLK, _F_SETLK, _F_SETLKW, 1030)  # DUPFD GETFD … DUPFD_CLOEXEC
_PRETEND_SUCCESS = errno_action(0)
_IOCTL = (0x5421, 0x5450, 0x5451, 0x541B)  # FIONBIO FIONCLEX FIOCLEX FIONREAD
_SOCKET_LEVELS = (1, _IPPROTO_TCP)  # SOL_SOCKET
# SO_ and TCP_ options of time-outs, keep-alive, linger; no filters, no repair, no ULP. No buffers
# either (SNDBUF 7, RCVBUF 8, RCVLOWAT 18): the kernel's memory in them is bounded by their default.
_SOCKET_OPTIONS = (1, 2, 4, 5, 6, 9, 12, 13, 20, 21)

# O_ACCMODE | O_TRUNC: an access mode, with truncation only where writing is asked for too, because
# older Landlock sees the mode and not the truncation (nor access mode 3, neither read nor write).
_OPEN_MODE, _OPEN_MODES = 0x203, (0, 1, 2, 0x201, 0x202)

_SET_ID = 0o6000  # a program that others run as us must not be made, not even where one may write
# FUTEX_ WAIT WAKE REQUEUE CMP_REQUEUE WAKE_OP WAIT_BITSET WAKE_BITSET: no priority inheritance.
_FUTEX_COMMAND, _FUTEX_COMMANDS = 0x7F, (0, 1, 3, 4, 5, 9, 10)

_MAP_SHARED, _MAP_PRIVATE, _MAP_TYPE = 0x1, 0x2, 0xF
_MAP_ANONYMOUS, _MAP_GROWSDOWN, _MAP_HUGETLB = 0x20, 0x100, 0x40000
_THREAD = 0x00010000 | 0x00000100 | 0x00000800  # CLONE_THREAD | CLONE_VM | CLONE_SIGHAND
# CLONE_PIDFD PTRACE VFORK PARENT UNTRACED, and every CLONE_NEW*
_NOT_A_THREAD = 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x800000 | 0x7E020000 | 0x80


class Shape(NamedTuple):
    """What differs between levels and profiles.

    ``paths``: calls that take a path are made (else ENOENT, as if no file existed).
    ``attributes``: modes and times of files may be changed. ``network``: TCP may be dialled.
    ``locks``: files are shared with others, who must see a lock. ``stack_floor``: below the main
    thread's stack, which must not be remapped (see ``_memory``).
    """

    paths: bool
    attributes: bool
    network: bool
    locks: bool
    stack_floor: int


class _SockFprog(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def rules(shape: Shape) -> dict[str, Rule]:
    """The allow-list by name; a call that is not in it is refused."""
    listed = dict.fromkeys(_PLAIN.split(), Rule()) | _files(paths=shape.paths)
    listed |= dict.fromkeys(_PRETEND_OLD_KERNEL.split(), Rule(then=errno_action(errno.ENOSYS)))
    listed |= dict.fromkeys(_NO_ATTRIBUTES.split(), Rule(then=errno_action(errno.ENOTSUP)))
    if shape.attributes:
        listed |= _attributes()
    return (
        listed
        | _memory(shape.stack_floor)
        | _sockets(network=shape.network)
        | _arguments()
        | _locks(real=shape.locks)
    )


def program(shape: Shape, machine: str) -> bytes:
    """The filter for ``machine`` (as ``platform.machine()`` names it); KeyError if unknown."""
    numbers = NUMBERS[machine]
    by_number = {numbers[name]: rule for name, rule in rules(shape).items() if name in numbers}
    return bpf.assemble(bpf.compile_rules(by_number, AUDIT_ARCH[machine], REFUSE))


def install(filter_program: bytes) -> SystemCall:
    """The call that puts the filter around a process, for good. Needs no_new_privs."""
    whole = _SockFprog(len(filter_program) // 8, filter_program)
    return libc.ready("seccomp", 1, 0, ctypes.pointer(whole))


def _files(*, paths: bool) -> dict[str, Rule]:
    if not paths:
        return dict.fromkeys(
            [*_FILES.split(), "open", "openat"], Rule(then=errno_action(errno.ENOENT))
        )
    return dict.fromkeys(_FILES.split(), Rule()) | {
        "open": Rule(checks=(OneOf(1, _OPEN_MODES, _OPEN_MODE), OneOf(2, (0,), _SET_ID))),
        "openat": Rule(checks=(OneOf(2, _OPEN_MODES, _OPEN_MODE), OneOf(3, (0,), _SET_ID))),
    }


def _attributes() -> dict[str, Rule]:
    """Landlock does not see these: only for where every foreign mount is read-only."""
    return {
        "utimensat": Rule(),
        "chmod": Rule(checks=(OneOf(1, (0,), _SET_ID),)),
        "fchmod": Rule(checks=(OneOf(1, (0,), _SET_ID),)),
        "fchmodat": Rule(checks=(OneOf(2, (0,), _SET_ID),)),
    }


def _memory(stack_floor: int) -> dict[str, Rule]:
    """Close what RLIMIT_DATA does not count, so that it bounds what a script can write to.

    Shared anonymous and huge pages are not counted, and neither is a mapping that grows down: not a
    new one, and not the main thread's stack moved and widened by mremap. What was written and then
    made read-only is not counted any more: that is left to RLIMIT_AS.
    """
    kind = _MAP_TYPE | _MAP_ANONYMOUS | _MAP_GROWSDOWN | _MAP_HUGETLB
    private_or_file = OneOf(3, (_MAP_PRIVATE, _MAP_SHARED, _MAP_PRIVATE | _MAP_ANONYMOUS), kind)
    return {
        "mmap": Rule(checks=(private_or_file,), otherwise=errno_action(errno.ENOMEM)),
        "mremap": Rule(checks=(Below(0, stack_floor),), otherwise=errno_action(errno.ENOMEM)),
    }


def _sockets(*, network: bool) -> dict[str, Rule]:
    """Pairs for the event loop; no datagrams, which could be addressed to a host's socket."""
    stream = OneOf(1, (_SOCK_STREAM,), _SOCK_TYPE)
    nowhere = OneOf(4, (0,), _POINTER)
    listed = {
        "socketpair": Rule(checks=(OneOf(0, (_AF_UNIX,)), stream)),
        "sendto": Rule(checks=(nowhere,)),
        "setsockopt": Rule(checks=(OneOf(1, _SOCKET_LEVELS), OneOf(2, _SOCKET_OPTIONS))),
    }
    if network:
        tcp = (OneOf(0, (_AF_INET,)), stream, OneOf(2, (0, _IPPROTO_TCP)))
        listed |= {"socket": Rule(checks=tcp), "connect": Rule()}
    return listed


def _arguments() -> dict[str, Rule]:
    """Calls of which one form is harmless and others are not."""
    own_limits = (OneOf(0, (0,)), OneOf(2, (0,), _POINTER))
    thread = OneOf(0, (_THREAD,), _THREAD | _NOT_A_THREAD)
    return {
        "ioctl": Rule(checks=(OneOf(1, _IOCTL),), otherwise=errno_action(errno.ENOTTY)),
        "prlimit64": Rule(checks=own_limits),
        "clone": Rule(checks=(thread,)),
        "futex": Rule(
            checks=(OneOf(1, _FUTEX_COMMANDS, _FUTEX_COMMAND),),
            otherwise=errno_action(errno.ENOSYS),
        ),
    }


def _locks(*, real: bool) -> dict[str, Rule]:
    """A lock on a file that only this process has never conflicts: it is said to be taken, and not
    made. The kernel counts no locks, and each costs it some 200 bytes."""
    lock = None if real else (OneOf(1, (_F_SETLK, _F_SETLKW)), _PRETEND_SUCCESS)
    return {"fcntl": Rule(checks=(OneOf(1, _FCNTL),), first=lock)}
