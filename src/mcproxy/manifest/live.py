"""The manifest in force: rebuilt when servers change, swapped as a whole.

Changes come in bursts (a server starts: state, tools, state again), so they are gathered for a
moment and answered with one rebuild, in which only servers that changed are indexed anew.
"""

import asyncio
from collections.abc import Callable, Sequence

from mcproxy.manifest.model import Manifest, build
from mcproxy.types import ServerView

DEBOUNCE_SECS = 0.02


class Live:
    """Rebuilds the manifest from ``views`` after ``changed`` and hands it to ``publish``."""

    def __init__(
        self,
        views: Callable[[], Sequence[ServerView]],
        publish: Callable[[Manifest], None],
    ) -> None:
        self._views = views
        self._publish = publish
        self._manifest = build(())
        self._due: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """Take note that a server's state or tools changed."""
        if self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_later(DEBOUNCE_SECS, self.refresh)

    def refresh(self) -> None:
        """Rebuild and publish now."""
        if self._due:
            self._due.cancel()
            self._due = None
        self._manifest = build(self._views(), self._manifest)
        self._publish(self._manifest)
