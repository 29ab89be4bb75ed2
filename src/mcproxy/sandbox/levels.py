"""Which levels to try, and what to tell the user about one that cannot be reached. Pure."""

import errno
from collections.abc import Sequence
from typing import Literal

import msgspec

from mcproxy.sandbox.zygote_process import ZygoteReady
from mcproxy.types import LEVELS, Level

_CONTAINER = (
    "In Docker or Kubernetes use a seccomp profile that allows user namespaces, see "
    "docs/sandbox.md; on Ubuntu set kernel.apparmor_restrict_unprivileged_userns=0; or accept a "
    "lower sandbox.min_level"
)
_CURES = (  # (how the failure begins, errno or None for any, the cure)
    ("unshare", errno.ENOSPC, "Raise the sysctl user.max_user_namespaces"),
    ("unshare", None, _CONTAINER),
    ("namespaces", None, _CONTAINER),
    ("mount_setattr", errno.ENOSYS, "Linux 5.12 or newer is needed for this level"),
    ("mount", None, _CONTAINER),
    (
        "pivot_root",
        None,
        "The root file system is an initial ramdisk; run in a container of its own",
    ),
    (
        "Landlock",
        None,
        "Linux 5.13 or newer with Landlock in the boot parameter lsm= is needed; or accept "
        "sandbox.min_level 'seccomp'",
    ),
    ("no system call table", None, "Only x86-64 and 64-bit ARM have one; see docs/sandbox.md"),
    ("an import started", None, "Remove that package from sandbox.packages"),
)
_ANY_CURE = "See docs/sandbox.md, and `mcproxy doctor` for the whole self-test"


class LevelFailure(msgspec.Struct, frozen=True):
    """Why ``level`` is out of reach: the step or probe, and the kernel's ``errno`` if it said."""

    level: Level
    reason: str
    errno: int | None = None

    def __str__(self) -> str:
        return f"{self.level}: {self.reason}. {cure(self)}."


def candidates(level: Literal["auto", Level], lowest: Level) -> Sequence[Level]:
    """The levels to try, best first; never one below ``lowest``."""
    allowed = LEVELS[: LEVELS.index(lowest) + 1]
    return [name for name in allowed if level in ("auto", name)]


def cure(failure: LevelFailure) -> str:
    """What to do about it."""
    for begins, number, words in _CURES:
        if failure.reason.startswith(begins) and number in (None, failure.errno):
            return words
    return _ANY_CURE


def lacking(level: Level, ready: ZygoteReady) -> tuple[str, ...]:
    """What would make ``level`` better, or a profile complete, on this machine."""
    notes = []
    if level == "strict" and not ready.landlock_abi:
        notes.append("Landlock: the mount namespace is the only wall around files")
    if level != "strict" and ready.uid == 0:
        notes.append(
            "workers keep user id 0 (without capabilities): Python lies where only root can read; "
            "install it for all users, or start the gateway as an ordinary user"
        )
    notes += [f"package {name!r} cannot be imported" for name in ready.absent]
    return tuple(notes)
