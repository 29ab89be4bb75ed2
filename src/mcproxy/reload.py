"""Follows the configuration file while the program runs: change or SIGHUP, load, hand over.

Owns when the file is read again and what was wrong with it the last time; what another
configuration means for a running gateway is for whoever applies it. A file that cannot be used
changes nothing.

A change is found by asking the file system a few times a second: two ``stat`` calls cost nothing,
and unlike inotify they also see a bind mount, a network file system, an editor that replaces the
file, and the symbolic links that Kubernetes swaps.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import TypeAlias

from mcproxy.config.load import Loaded, load
from mcproxy.errors import ConfigError
from mcproxy.hooks import HookFailed
from mcproxy.signals import heard
from mcproxy.types import Event

POLL_SECS = 0.25  # a change is told once it has stood still this long: at most half a second late

_Signature: TypeAlias = tuple[tuple[int, int, int] | None, ...]


async def changes(paths: Sequence[Path]) -> AsyncGenerator[None]:
    """Yield each time that one of the files was changed, made or removed, and is left alone again.

    A file that is still being written changes from look to look, and is waited for.
    """
    told = before = _signature(paths)
    while True:
        await asyncio.sleep(POLL_SECS)
        now = _signature(paths)
        if now == before and now != told:
            told = now
            yield
        before = now


def _signature(paths: Sequence[Path]) -> _Signature:
    return tuple(_file_signature(path) for path in paths)


def _file_signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


Apply: TypeAlias = Callable[[Loaded, Collection[Event]], Awaitable[None]]

log = logging.getLogger(__name__)


class Reloader:
    """Reads ``source`` and the ``.env`` beside it again; None is the demo, which never changes.

    ``apply`` takes what was read, and why; where it cannot be used it raises ConfigError or
    HookFailed, having changed nothing. ``error`` is what was wrong last, None when all is fine.
    """

    def __init__(self, source: Path | None, apply: Apply) -> None:
        self._source, self._apply = source, apply
        self._due = asyncio.Event()
        self._causes: frozenset[Event] = frozenset()
        self.error: str | None = None

    async def run(self, *, watch: bool) -> None:
        """Reload at a hangup and, with ``watch``, whenever a file changed, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if watch and self._source:
                tasks.create_task(self._watch(self._source), name="watch")
            while True:
                await self._due.wait()
                self._due.clear()
                causes, self._causes = self._causes, frozenset()
                await self._reload(causes)

    def hearing_hangups(self) -> contextlib.AbstractContextManager[None]:
        """Within, SIGHUP, which would end the program, is taken note of for ``run``."""
        return heard(lambda: self._ask("manual"), signal.SIGHUP)

    def _ask(self, cause: Event) -> None:
        self._causes |= {cause}
        self._due.set()

    async def _reload(self, causes: Collection[Event]) -> None:
        if self._source is None:
            log.info("there is no configuration file to load anew: this is the bundled demo")
            return
        try:
            loaded = await asyncio.to_thread(load, self._source)
            await self._apply(loaded, causes)
        except (ConfigError, HookFailed) as error:
            self.error = str(error)
            log.warning("the changed configuration is refused, nothing changes: %s", error)
            return
        except Exception as error:
            self.error = f"a fault of the gateway: {error!r}"
            log.exception("the changed configuration could not be applied")
            return
        self.error = None
        log.info("%s: loaded anew", self._source)
        for note in loaded.notes:
            log.warning("%s", note)

    async def _watch(self, source: Path) -> None:
        async with contextlib.aclosing(changes((source, source.with_name(".env")))) as told:
            async for _ in told:
                self._ask("config_change")
