"""Python packages for scripts: each list is installed once, into a folder of its own.

A folder is named after its list and the version of Python, appears complete or not at all, and is
never changed, so that any number of gateways may share it. Installing runs in the background: a
script that comes too early is told so. How packages get into a folder is for ``installer``.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from functools import partial
from pathlib import Path, PurePath
from typing import Self

import msgspec

from mcproxy.sandbox.installer import Installer, InstallFailed
from mcproxy.shortage import when_possible

INSTALL_SECS = 900.0  # large wheels over a slow line
RETRY_SECS = 60.0  # after a failure: then the next script tries again
LOOK_SECS = 0.5  # whether another gateway has finished with the same list

_READABLE = 0o755
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

log = logging.getLogger("mcproxy.packages")


class Installed(msgspec.Struct, frozen=True):
    """The folders to import from, and the modules in them that were asked for."""

    path: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


class PackagesUnavailable(Exception):
    """The packages are not there; ``retryable``: they will be."""

    def __init__(self, reason: str, *, retryable: bool) -> None:
        self.reason, self.retryable = reason, retryable
        super().__init__(reason)


class Packages:
    """An async context manager; leaving it stops what is being installed.

    ``folder`` is where all lists have theirs, usually ``$XDG_STATE_HOME/mcproxy/packages``.
    """

    def __init__(self, folder: Path, installer: Installer) -> None:
        self._folder, self._installer = folder, installer
        self._group = asyncio.TaskGroup()
        self._installs: dict[str, asyncio.Task[str | None]] = {}
        self._failed_at: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._installs.values():
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def get(self, requirements: Sequence[str]) -> Installed:
        """What is installed for this list; begins to install it.

        Raises PackagesUnavailable while it is not there.
        """
        folder = self._folder / key(requirements)
        if _exists(folder):
            return _installed(folder, requirements)
        task = self._begin(requirements, folder)
        if reason := task.result() if task.done() else None:
            raise PackagesUnavailable(reason, retryable=False)
        raise PackagesUnavailable(
            f"still installing the packages of this namespace ({', '.join(requirements)})",
            retryable=True,
        )

    def begin(self, requirements: Sequence[str]) -> None:
        """Install this list in the background, unless it is there."""
        with contextlib.suppress(PackagesUnavailable):
            self.get(requirements)

    async def ensure(self, requirements: Sequence[str]) -> Installed:
        """Wait until the list is installed. Raises PackagesUnavailable."""
        folder = self._folder / key(requirements)
        if not _exists(folder):
            reason = await asyncio.shield(self._begin(requirements, folder))
            if reason:
                raise PackagesUnavailable(reason, retryable=False)
        return _installed(folder, requirements)

    def _begin(self, requirements: Sequence[str], folder: Path) -> "asyncio.Task[str | None]":
        """The task that installs the list: the one under way, one that failed lately, or a new."""
        task = self._installs.get(folder.name)
        now = asyncio.get_running_loop().time()
        if task is None or (task.done() and now - self._failed_at.get(folder.name, 0) > RETRY_SECS):
            # It outlives the script that wants it, and must not keep its request.
            work = self._install(requirements, folder)
            task = self._group.create_task(work, context=Context())
            self._installs[folder.name] = task
        return task

    async def _install(self, requirements: Sequence[str], folder: Path) -> str | None:
        """Why it cannot be installed, as a value: each script gets an exception of its own."""
        what = ", ".join(requirements)
        try:
            async with asyncio.timeout(INSTALL_SECS):
                build = partial(self._build, requirements, folder)
                await when_possible(build, f"the installer of {what}", INSTALL_SECS)
        except (OSError, InstallFailed) as error:
            reason = str(error) or f"not done within {INSTALL_SECS:g} s"
            log.error("cannot install %s: %s", what, reason)  # noqa: TRY400 - no fault of ours
            self._failed_at[folder.name] = asyncio.get_running_loop().time()
            return f"the packages of this namespace ({what}) cannot be installed: {reason}"
        log.info("installed %s", what)
        return None

    async def _build(self, requirements: Sequence[str], folder: Path) -> None:
        """Install aside, then put it in place in one step; nothing if another gateway has."""
        async with self._alone(folder.name):
            if _exists(folder):
                return
            log.info("installing %s", ", ".join(requirements))
            with _aside(folder) as building:
                await self._installer.install(requirements, building)
                building.rename(folder)

    @asynccontextmanager
    async def _alone(self, name: str) -> AsyncIterator[None]:
        """Hold the lock of one list; another gateway may have it for as long as it installs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self._folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _lock(file):  # noqa: ASYNC110 - flock tells nobody
                await asyncio.sleep(LOOK_SECS)
            yield
        finally:
            os.close(file)


def key(requirements: Sequence[str]) -> str:
    """The name of a list's folder. Pure, but for the version of Python."""
    python = [sys.implementation.cache_tag, sysconfig.get_platform()]
    text = json.dumps([python, sorted(set(requirements))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def modules(folder: Path, requirements: Sequence[str]) -> tuple[str, ...]:
    """The top-level modules of the distributions that a list names (not of their dependencies)."""
    from importlib import metadata  # noqa: PLC0415 - what few need, and takes zipfile and csv

    wanted = {_canonical(name[0]) for text in requirements if (name := _NAME.match(text))}
    found = {
        module
        for distribution in metadata.distributions(path=[str(folder)])
        if _canonical(distribution.name) in wanted
        for file in distribution.files or ()
        if (module := _module(file))
    }
    return tuple(sorted(found))


def _installed(folder: Path, requirements: Sequence[str]) -> Installed:
    return Installed((str(folder),), modules(folder, requirements))


def _module(file: PurePath) -> str | None:
    """The public top-level module that this file is, if it is one."""
    match file.parts:
        case (name, "__init__.py"):
            pass
        case (single,) if single.endswith((".py", ".so")):
            name = single.partition(".")[0]
        case _:
            return None
    return name if name.isidentifier() and not name.startswith("_") else None


def _exists(folder: Path) -> bool:
    return folder.is_dir()


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _lock(file: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A new folder beside ``folder``; those that a killed gateway left are removed."""
    prefix = f".{folder.name}-"
    for left in folder.parent.glob(prefix + "*"):
        shutil.rmtree(left, ignore_errors=True)
    building = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    building.chmod(_READABLE)  # the sandbox has a user of its own
    try:
        yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)
