"""The manifest in force: rebuilt when servers change, swapped as a whole.

Changes come in bursts (a server starts: state, tools, state again), so they are gathered for a
moment and answered with one rebuild, in which only servers that changed are indexed anew: in a
thread, since hundreds of tools take 100 ms and more, before the swap on the event loop. A burst
that an operator has hooks for waits for them; any other is answered at once.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

from mcproxy.hooks import HookFailed
from mcproxy.manifest.model import Manifest, build
from mcproxy.manifest.refreshes import Refreshes
from mcproxy.types import Event, ServerView

DEBOUNCE_SECS = 0.02
BEGIN_SECS = 60.0  # two hooks that use all of their time; then clients need not wait for the rest
MAX_REPAIRS_LOGGED = 5  # of a server's; /health and doctor have them all

log = logging.getLogger(__name__)

Judge: TypeAlias = Callable[[Sequence[ServerView]], Sequence[ServerView]]
"""Called in any thread; of what it has judged before it is quick."""


class Live:
    """Rebuilds the manifest from ``views`` after ``changed`` and hands it to ``publish``; ``judge``
    says what of them may be seen.

    What a hook refuses is held back until the next event, which tries again.
    """

    def __init__(
        self,
        views: Callable[[], Sequence[ServerView]],
        publish: Callable[[Manifest], None],
        refreshes: Refreshes,
        judge: Judge = tuple,
    ) -> None:
        self._views, self._judge = views, judge
        self._publish = publish
        self._refreshes = refreshes
        self._manifest = build(())
        self._ahead = self._manifest  # where the parts of the next one are indexed already
        self._burst: asyncio.TimerHandle | None = None
        self._new: frozenset[Event] = frozenset()
        self._held: frozenset[Event] = frozenset()  # their hooks run, or have refused
        self._over = asyncio.Event()
        self._due = asyncio.Event()
        self._begun = asyncio.Event()
        self._refused: str | None = None
        self._fault: str | None = None

    @property
    def error(self) -> str | None:
        """Why the last refresh was refused, or failed; None when all is fine."""
        return self._refused or self._fault

    async def run(self) -> None:
        """Refresh for ``startup``, then whenever hooks have to be waited for, until cancelled."""
        self._new |= {"startup"}
        await self._index()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._answer_bursts(), name="bursts")
            await self._refresh_with_hooks()
            while True:
                await self._due.wait()
                self._due.clear()
                if self._is_hooked():
                    await self._refresh_with_hooks()
                else:
                    self._refresh_at_once()

    async def begun(self) -> None:
        """Return once the first manifest is in force, or its hooks take more than BEGIN_SECS: then
        it comes when they are done, and there are no tools before."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEGIN_SECS):
                await self._begun.wait()
        if not self._begun.is_set():
            log.warning("the hooks before the first manifest still run: no tools until they end")

    def changed(self, cause: Event) -> None:
        """Take note of what may make another manifest."""
        self._new |= {cause}
        if self._burst is None:
            loop = asyncio.get_running_loop()
            self._burst = loop.call_later(DEBOUNCE_SECS, self._end_burst)

    def refresh(self) -> None:
        """Rebuild and publish now, whatever was held back."""
        self._take()
        self._pass()

    def _end_burst(self) -> None:
        self._burst = None
        self._over.set()

    async def _answer_bursts(self) -> None:
        while True:
            await self._over.wait()
            self._over.clear()
            await self._index()
            if not self._begun.is_set() or self._is_hooked():
                self._due.set()
            else:
                self._refresh_at_once()

    async def _index(self) -> None:
        """Make ready, in a thread, what the next swap needs. What changes meanwhile is another
        burst; what fails here fails in the swap too, where it is reported."""
        views, before = tuple(self._views()), self._manifest
        try:
            self._ahead = await asyncio.to_thread(_indexed, self._judge, views, before)
        except Exception:
            log.debug("indexing failed", exc_info=True)

    def _is_hooked(self) -> bool:
        return self._refreshes.hooked(self._new | self._held)

    def _refresh_at_once(self) -> None:
        """No hook has been asked, so that what one has refused stays told. What fails leaves the
        manifest that was; the next change is another chance."""
        self._take()
        try:
            self._swap()
        except Exception as error:
            self._fault = f"a fault of the gateway: {error!r}"
            log.exception("a refresh failed")

    def _take(self) -> frozenset[Event]:
        """The causes that nobody has answered yet; the burst ends with them."""
        if self._burst:
            self._burst.cancel()
            self._burst = None
        taken, self._new = self._new, frozenset()
        return taken

    async def _refresh_with_hooks(self) -> None:
        self._held |= self._take()
        starting = not self._begun.is_set()
        try:
            await self._refreshes.run(self._held, self._pass)
        except HookFailed as error:
            self._refused = str(error)
            log.warning("a refresh is refused: %s", error)
        except Exception as error:
            self._fault = f"a fault of the gateway: {error!r}"
            log.exception("a refresh failed")
        if starting and self._held:  # there is nothing to fall back to
            self._held = frozenset()
            self._refresh_at_once()
        self._begun.set()

    def _pass(self) -> None:
        """Nothing is held back any more."""
        self._held, self._refused = frozenset(), None
        self._swap()

    def _swap(self) -> None:
        before, self._manifest = self._manifest, build(self._judge(self._views()), self._ahead)
        self._ahead = self._manifest
        _log_repairs(before, self._manifest)
        self._publish(self._manifest)
        self._fault = None
        self._begun.set()


def _indexed(judge: Judge, views: Sequence[ServerView], before: Manifest) -> Manifest:
    return build(judge(views), before).as_searched_as(before)


def _log_repairs(before: Manifest, now: Manifest) -> None:
    """Say once which tools were mended or set aside."""
    for server in now.parts:
        repairs = now.repairs(server)
        if repairs and repairs != before.repairs(server):
            told = "; ".join(repairs[:MAX_REPAIRS_LOGGED])
            more = len(repairs) - MAX_REPAIRS_LOGGED
            rest = f"; and {more} more, see /health" if more > 0 else ""
            fields = {"server": server}
            log.warning("%s: tools mended or set aside: %s%s", server, told, rest, extra=fields)
