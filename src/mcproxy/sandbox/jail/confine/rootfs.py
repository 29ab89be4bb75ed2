"""The file tree of the sandbox: empty but for the interpreter's own files and what is configured.

Built once by a zygote in its own mount namespace. There is no /proc and no /sys: nothing that
Python needs is there, and much that a script should not see. ``plan`` decides, ``build`` mounts.
"""

import os
import ssl
import sys
import zoneinfo
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from mcproxy.sandbox.jail.confine import libc

# Not /dev/zero: what is shared by mapping it is memory that no limit of a process counts.
DEVICES = ("/dev/null", "/dev/urandom")

# Where the new root is assembled: exists on every Linux, and nothing that is shown lies below it.
_STAGE = "/sys"
_LIBRARY_LINKS = ("/lib", "/lib32", "/lib64", "/libx32")
_MOST_LINKS = 40  # as the kernel follows in one path (ELOOP)

Kind = Literal["read_only", "read_write", "denied"]
ReadLink = Callable[[str], str | None]


class Plan(NamedTuple):
    """``links``: symbolic links (path, target) to recreate. ``mounts``: real paths, outer first."""

    links: tuple[tuple[str, str], ...]
    mounts: tuple[tuple[str, Kind], ...]


def runtime_paths(*, network: bool) -> list[str]:
    """What the interpreter reads: its library, time zones, shared objects; with TLS, its roots."""
    paths = [path for path in sys.path if path]
    paths += [*zoneinfo.TZPATH, "/etc/localtime", "/etc/ld.so.cache"]
    paths += sorted(_library_folders())
    if network:
        roots = ssl.get_default_verify_paths()
        paths += [roots.openssl_cafile, roots.openssl_capath, "/usr/share/ca-certificates"]
    return list(dict.fromkeys(path for path in paths if Path(path).exists()))


def plan(paths: Iterable[tuple[str, Kind]], readlink: ReadLink) -> Plan:
    """Resolve every path and leave out what a mount further out shows in the same way already.

    The innermost path wins; a denied path that nothing shows needs no mount.
    """
    links: dict[str, str] = {}
    kinds: dict[str, Kind] = {}
    for path, kind in paths:
        passed, real = resolve(path, readlink)
        links |= passed
        kinds[real] = kind
    mounts: dict[str, Kind] = {}
    for real in sorted(kinds, key=lambda path: path.count("/")):
        outer = _outer(real, mounts)
        if kinds[real] != (outer or "denied"):
            mounts[real] = kinds[real]
    return Plan(tuple(links.items()), tuple(mounts.items()))


def resolve(path: str, readlink: ReadLink) -> tuple[dict[str, str], str]:
    """The links met on the way (path: target) and the real path that is left."""
    links: dict[str, str] = {}
    real, ahead = "/", path.split("/")[::-1]
    while ahead:
        part = ahead.pop()
        here = os.path.normpath(str(Path(real) / part))
        target = readlink(here) if part not in ("", ".", "..") else None
        if target is None:
            real = here
            continue
        if len(links) == _MOST_LINKS:
            raise OSError(f"too many symbolic links in {path}")
        links[here] = target
        real = "/" if target.startswith("/") else real
        ahead += target.split("/")[::-1]
    return links, real


def readlink(path: str) -> str | None:
    """The target of a symbolic link of this machine; None for anything else."""
    try:
        return str(Path(path).readlink())
    except OSError:
        return None


def build(tree: Plan, scratch: str) -> None:
    """Assemble the tree, make it the root and read-only. ``scratch`` is an empty folder in it."""
    libc.mount("none", "/", "", libc.MS_REC | libc.MS_PRIVATE)
    libc.mount("tmpfs", _STAGE, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=755,size=1m")
    Path(_STAGE + scratch).mkdir(parents=True)
    _mount_all([(path, kind) for path, kind in tree.mounts if Path(path).exists()])
    for path, target in [*tree.links, *((path, readlink(path)) for path in _LIBRARY_LINKS)]:
        if target:
            _link(path, target)
    os.chdir(_STAGE)
    libc.pivot_root_here()
    os.chdir("/")
    libc.set_attributes("/", libc.ATTR_RDONLY, recursive=False)


def _mount_all(mounts: Sequence[tuple[str, Kind]]) -> None:
    for path, kind in mounts:
        _show(path, kind)
    for path, kind in mounts:
        if kind == "denied" and Path(path).is_dir():  # only now: it may hold mount points
            libc.set_attributes(_STAGE + path, libc.ATTR_RDONLY, recursive=False)
    for device in filter(os.path.exists, DEVICES):
        _mount_point(device, is_folder=False)
        libc.bind(device, _STAGE + device, libc.ATTR_NOSUID | libc.ATTR_RDONLY)  # its times


def _show(path: str, kind: Kind) -> None:
    is_folder = Path(path).is_dir()
    target = _mount_point(path, is_folder=is_folder)
    attributes = libc.ATTR_NOSUID | libc.ATTR_NODEV
    if kind != "denied":
        libc.bind(path, target, attributes | (libc.ATTR_RDONLY if kind == "read_only" else 0))
    elif is_folder:
        libc.mount("tmpfs", target, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=755,size=64k")
    else:
        empty = Path(_STAGE) / ".denied"
        empty.touch(mode=0)
        libc.bind(str(empty), target, attributes | libc.ATTR_RDONLY)


def _mount_point(path: str, *, is_folder: bool) -> str:
    """The place in the new tree; it exists already where an outer mount shows it."""
    target = Path(_STAGE + path)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_folder:
            target.mkdir()
        else:
            target.touch()
    return str(target)


def _link(path: str, target: str) -> None:
    """May dangle: what it leads to is shown or not for other reasons."""
    place = Path(_STAGE + path)
    if not os.path.lexists(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)


def _outer(path: str, mounts: dict[str, Kind]) -> Kind | None:
    """How the innermost mount around ``path`` shows it."""
    for parent in Path(path).parents:
        if str(parent) in mounts:
            return mounts[str(parent)]
    return None


def _library_folders() -> set[str]:
    """Folders of the shared objects in this process: extension modules loaded later need them."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    mapped = {line.split(maxsplit=5)[5] for line in lines if ".so" in line}
    return {str(Path(name).parent) for name in mapped if name.startswith("/")}
