"""What the scripts of one namespace may do: limits, files, network, packages. Pure.

``profile_for`` reads it from the configuration, ``walls_for`` says how it is enforced at one level,
``refusals`` what that level cannot enforce: such a configuration is refused, never watered down.
Namespaces with equal profiles share their workers.
"""

import math
from collections.abc import Iterator
from pathlib import PurePosixPath

import msgspec

from mcproxy.config.sandbox import Sandbox
from mcproxy.errors import Problem
from mcproxy.sandbox.jail.walls import Wall, Walls
from mcproxy.types import Level, Limits

_SECTION = "sandbox.filesystem"
_NEVER = ("/proc", "/sys", "/dev")
_CPU_SPARE_SECS = 2  # over the wall-clock limit: for starting, and because the gateway kills first


class Profile(msgspec.Struct, frozen=True):
    """What one script may use. No ``allowed_hosts``: no network. Paths are absolute."""

    limits: Limits = msgspec.field(default_factory=Limits)
    allowed_hosts: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    read_write: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


def profile_for(settings: Sandbox) -> Profile:
    """The profile of a namespace, from its merged settings."""
    network, files = settings.network, settings.filesystem
    return Profile(
        limits=Limits(timeout_secs=settings.timeout_secs, memory_mb=settings.memory_mb),
        allowed_hosts=network.allowed_hosts if network.enabled else (),
        read_only=files.read_only,
        read_write=files.read_write,
        denied=files.denied,
        packages=settings.packages,
    )


def walls_for(
    profile: Profile,
    level: Level,
    *,
    package_path: tuple[str, ...] = (),
    modules: tuple[str, ...] = (),
    withhold: tuple[Wall, ...] = (),
) -> Walls:
    """The order to a zygote that runs ``profile`` at ``level`` (not ``none``).

    ``package_path`` and ``modules``: where its packages are, and what to import of them ahead.
    """
    limits = profile.limits
    return Walls(
        namespaces=level == "strict",
        landlock=level in ("strict", "hardened"),
        memory_mb=limits.memory_mb,
        cpu_secs=math.ceil(limits.timeout_secs) + _CPU_SPARE_SECS,
        scratch_mb=limits.scratch_mb,
        open_files=limits.open_files,
        network=bool(profile.allowed_hosts),
        read_only=profile.read_only,
        read_write=profile.read_write,
        denied=profile.denied,
        packages=modules,
        package_path=package_path,
        withhold=withhold,
    )


def refusals(profile: Profile, level: Level) -> Iterator[Problem]:
    """Why ``profile`` cannot be enforced at ``level``; empty when it can."""
    yield from _never_shown(profile)
    if level == "hardened":
        yield from _cannot_subtract(profile)
    if level == "seccomp" and (profile.read_only or profile.read_write):
        yield Problem(
            _SECTION,
            "at sandbox level 'seccomp' scripts cannot open files at all",
            "empty read_only and read_write, or run where Landlock works (Linux 5.13)",
        )


def _never_shown(profile: Profile) -> Iterator[Problem]:
    for key, paths in (("read_only", profile.read_only), ("read_write", profile.read_write)):
        for path in paths:
            where = f"{_SECTION}.{key}"
            if path == "/":
                yield Problem(where, "'/' would show every file", "name the folders needed")
            elif any(_within(path, special) for special in _NEVER):
                yield Problem(where, f"{path} shows other processes or devices", "remove it")
            elif path in profile.denied:
                yield Problem(where, f"{path} is in 'denied' too", "remove it from one of them")


def _cannot_subtract(profile: Profile) -> Iterator[Problem]:
    """Landlock grants whole folders; only a mount can hide a part of one."""
    for hidden in profile.denied:
        for shown in (*profile.read_only, *profile.read_write):
            if _within(hidden, shown):
                yield Problem(
                    f"{_SECTION}.denied",
                    f"at sandbox level 'hardened' {hidden} cannot be hidden below {shown}",
                    f"list the parts of {shown} that may be seen, or use level 'strict'",
                )


def _within(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)
