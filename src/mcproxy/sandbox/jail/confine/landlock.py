"""Landlock: which files a process may open, by rules that it puts on itself (landlock(7)).

The second file wall beside the mount namespace, and the only one where namespaces are refused. All
rights that the kernel knows are handled, so what no rule grants is denied. Landlock does not see
stat, chdir, readlink, chmod and utime: ``seccomp`` removes those that change something.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable, Iterator

from mcproxy.sandbox.jail.confine import libc
from mcproxy.sandbox.jail.confine.libc import SystemCall

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_CONNECT_TCP = 2
_ALL_NET, _ALL_SCOPES = 3, 3

_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG
_ON_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

# How many file system rights an ABI version knows; version 4 brought ports, 6 scopes.
_FS_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_FS_RIGHTS_NEWEST = 16
_ABI_NET, _ABI_SCOPES = 4, 6
_TARGET_AT = 8  # the descriptor in a rule of a path


def abi() -> int:
    """The kernel's version of Landlock; OSError where there is none or it is off."""
    return libc.syscall("landlock_create_ruleset", 0, 0, _CREATE_RULESET_VERSION)


def restrict(
    read: Iterable[str],
    write: Iterable[str],
    ports: Iterable[int],
    version: int,
    own: ctypes.c_char_p | None = None,
) -> Iterator[SystemCall]:
    """The calls that confine a process to ``read`` and ``write`` paths and outgoing TCP ``ports``,
    for good; and to write to ``own``, a path that is looked up only then.

    The others are opened here, and stay open; those that do not exist are passed over. Needs
    no_new_privs. ``version`` is from ``abi()``.
    """
    handled = (1 << _FS_RIGHTS.get(version, _FS_RIGHTS_NEWEST)) - 1
    reading, writing = _READ & handled, (_WRITE | _REFER | _TRUNCATE) & handled
    ruleset = ctypes.c_long(-1)
    yield _create(ruleset, handled, version)
    for paths, rights in ((read, reading), (write, writing)):
        for path in paths:
            yield from _allow_path(ruleset, path, rights)
    if own is not None:
        rule = _path_rule(writing, -1)
        target = ctypes.c_int.from_buffer(rule, _TARGET_AT)
        yield libc.ready("openat", libc.AT_FDCWD, own, os.O_PATH | os.O_CLOEXEC, gives=target)
        yield libc.ready("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, rule, 0)
    if version >= _ABI_NET:
        for port in ports:
            allowed = struct.pack("<QQ", _CONNECT_TCP, port)
            yield libc.ready("landlock_add_rule", ruleset, _RULE_NET_PORT, allowed, 0)
    yield libc.ready("landlock_restrict_self", ruleset, 0)
    yield libc.ready("close", ruleset)


def _create(ruleset: ctypes.c_long, handled: int, version: int) -> SystemCall:
    """The attribute grew with the versions: an older kernel refuses the longer one."""
    attribute = struct.pack("<QQQ", handled, _ALL_NET, _ALL_SCOPES)
    size = 24 if version >= _ABI_SCOPES else 16 if version >= _ABI_NET else 8
    return libc.ready("landlock_create_ruleset", attribute[:size], size, 0, gives=ruleset)


def _allow_path(ruleset: ctypes.c_long, path: str, rights: int) -> Iterator[SystemCall]:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not stat.S_ISDIR(os.fstat(target).st_mode):
        rights &= _ON_A_FILE
    rule = _path_rule(rights, target)
    yield libc.ready("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, rule, 0)


def _path_rule(rights: int, target: int) -> ctypes.Array[ctypes.c_char]:
    """struct landlock_path_beneath_attr, which is packed."""
    packed = struct.pack("<Qi", rights, target)
    return ctypes.create_string_buffer(packed, len(packed))
