"""Landlock: which files a process may open, by rules that it puts on itself (landlock(7)).

The second file wall beside the mount namespace, and the only one where namespaces are refused. All
rights that the kernel knows are handled, so what no rule grants is denied. Landlock does not see
stat, chdir, readlink, chmod and utime: ``seccomp`` removes those that change something.
"""

import os
import stat
import struct
from collections.abc import Iterable

from mcproxy.sandbox.jail.confine import libc

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


def abi() -> int:
    """The kernel's version of Landlock; OSError where there is none or it is off."""
    return libc.syscall("landlock_create_ruleset", 0, 0, _CREATE_RULESET_VERSION)


def restrict(read: Iterable[str], write: Iterable[str], ports: Iterable[int], version: int) -> None:
    """Confine this process to ``read`` and ``write`` paths and outgoing TCP ``ports``, for good.

    Paths that do not exist are passed over. Needs no_new_privs. ``version`` is from ``abi()``.
    """
    handled = (1 << _FS_RIGHTS.get(version, _FS_RIGHTS_NEWEST)) - 1
    ruleset = _create(handled, version)
    try:
        for path in read:
            _allow_path(ruleset, path, _READ & handled)
        for path in write:
            _allow_path(ruleset, path, (_WRITE | _REFER | _TRUNCATE) & handled)
        if version >= _ABI_NET:
            for port in ports:
                rule = struct.pack("<QQ", _CONNECT_TCP, port)
                libc.syscall("landlock_add_rule", ruleset, _RULE_NET_PORT, rule, 0)
        libc.syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def _create(handled: int, version: int) -> int:
    """The attribute grew with the versions: an older kernel refuses the longer one."""
    attribute = struct.pack("<QQQ", handled, _ALL_NET, _ALL_SCOPES)
    size = 24 if version >= _ABI_SCOPES else 16 if version >= _ABI_NET else 8
    return libc.syscall("landlock_create_ruleset", attribute[:size], size, 0)


def _allow_path(ruleset: int, path: str, rights: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(target).st_mode):
            rights &= _ON_A_FILE
        rule = struct.pack("<Qi", rights, target)
        libc.syscall("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(target)
