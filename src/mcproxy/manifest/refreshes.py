"""Refreshes with an operator's hooks around them, one after another.

Decides under which event hooks run, and in which order all is done; what a refresh changes is for
whoever asks for it.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import get_args

from mcproxy.config.hooks import RefreshHooks
from mcproxy.hooks import HookFailed, Hooks, Occasion
from mcproxy.types import Event

STRONGEST_FIRST: tuple[Event, ...] = get_args(Event)

log = logging.getLogger(__name__)


def event_of(settings: RefreshHooks, causes: Collection[Event]) -> Event | None:
    """The event that hooks are told: the strongest cause that has hooks. None: no hook runs."""
    if not settings.pre_refresh and not settings.post_refresh:
        return None
    listed = (event for event in STRONGEST_FIRST if event in causes and event in settings.events)
    return next(listed, None)


class Refreshes:
    """``settings`` gives the hooks in force; a refresh may change them."""

    def __init__(self, hooks: Hooks, settings: Callable[[], RefreshHooks]) -> None:
        self._hooks, self._settings = hooks, settings
        self._turn = asyncio.Lock()

    def hooked(self, causes: Collection[Event]) -> bool:
        """Whether hooks would run."""
        return event_of(self._settings(), causes) is not None

    async def run(self, causes: Collection[Event], refresh: Callable[[], None]) -> None:
        """Refresh: at once where no hook runs before, else when its turn has come and they are
        done. Waits for the hooks after it, whose failure is logged.

        Raises HookFailed, having changed nothing, and what ``refresh`` raises.
        """
        if not self.hooked(causes):
            refresh()
            if self.hooked(causes):  # the refresh itself brought the hooks
                async with self._turn:
                    await self._after(causes)
            return
        async with self._turn:
            await self._before(causes)
            refresh()
            await self._after(causes)

    async def _before(self, causes: Collection[Event]) -> None:
        settings = self._settings()
        event = event_of(settings, causes)
        if event:
            await self._hooks.run(settings.pre_refresh, Occasion(event))

    async def _after(self, causes: Collection[Event]) -> None:
        settings = self._settings()
        event = event_of(settings, causes)
        if event:
            try:
                await self._hooks.run(settings.post_refresh, Occasion(event))
            except HookFailed as error:
                log.warning("after the refresh: %s", error)
