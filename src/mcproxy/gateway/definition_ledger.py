"""The ledger of definitions: what servers said of their tools, remembered between runs.

Judges each listing before anything of it is seen (``policy/definition_records``), keeps what has
changed, and sees when a person accepts in another process what is held here.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from mcproxy.call_errors import StateUnavailable
from mcproxy.cancellation import checkpoint
from mcproxy.config.model import Config, Trust
from mcproxy.policy.definition_records import (
    Judged,
    Record,
    Rules,
    SeenDefinition,
    accepted,
    held,
    judge,
    merged,
    name_of,
    names_in_use,
)
from mcproxy.store.interface import Store
from mcproxy.types import ServerView

LOOK_SECS = 1.0  # how soon it is seen that a person accepted what is held
KEPT_SECS = 10 * 365 * 24 * 3600.0  # what was forgotten could come back as if it were new
_OWNER = "definitions"
_NOTHING: Record = MappingProxyType({})

log = logging.getLogger(__name__)
_record = msgspec.json.Decoder(dict[str, SeenDefinition]).decode
_encode = msgspec.json.Encoder().encode


class DefinitionLedger:
    """``changed`` is called when something that was held is held no longer. ``judged`` may be
    called in any thread, all else on the event loop."""

    def __init__(self, store: Store, changed: Callable[[], None]) -> None:
        self._store, self._changed = store, changed
        self._trust: Callable[[str], Trust] = lambda _: "hold"
        self._records: dict[str, Record] = {}
        self._seen: dict[str, tuple[tuple[object, ...], ServerView]] = {}
        self._unwritten: set[str] = set()
        self._news = asyncio.Event()
        self._judging = threading.Lock()

    def use(self, config: Config) -> None:
        """Go by another configuration from now on."""
        by_server = {name: server.trust or config.trust for name, server in config.servers.items()}
        self._trust = lambda name: by_server.get(name, config.trust)

    async def load(self) -> None:
        """Remember what was seen in earlier runs. Before anything is judged."""
        self._loop = asyncio.get_running_loop()
        for server in await self._store.keys(_OWNER, ""):
            self._records[server] = await read(self._store, server)

    def judged(self, views: Sequence[ServerView]) -> tuple[ServerView, ...]:
        """The same servers, as far as they may be seen."""
        with self._judging:
            names = dict(names_in_use(self._records))
            return tuple(self._judged(view, names) for view in views)

    def _judged(self, view: ServerView, names: Mapping[str, str]) -> ServerView:
        trust, record = self._trust(view.name), self._records.get(view.name)
        same = (view.tools, view.description, trust, record)
        known = self._seen.get(view.name)
        if known and all(one is other for one, other in zip(known[0], same, strict=True)):
            return _in_state(known[1], view)
        found = judge(record, view, Rules(trust, names, time.time()))
        if found.record is not record:
            self._records[view.name] = found.record
            self._loop.call_soon_threadsafe(self._write_later, view.name)
        self._seen[view.name] = ((view.tools, view.description, trust, found.record), found.view)
        _tell(view.name, found, trust)
        return found.view

    def _write_later(self, server: str) -> None:
        self._unwritten.add(server)
        self._news.set()

    def waiting(self) -> Mapping[str, Mapping[str, SeenDefinition]]:
        """What is held, by server and tool."""
        found = {server: held(record) for server, record in self._records.items()}
        return {server: each for server, each in found.items() if each}

    async def accept(self, server: str, name: str) -> None:
        """A person accepts what waits of a tool, or of the server's own words."""
        if server in self._records:
            await accept(self._store, server, frozenset({name}))
            await self._look()

    async def run(self) -> None:
        """Write what changed, and look for what was accepted, until cancelled."""
        while True:
            checkpoint()
            waits = self._unwritten or any(map(held, self._records.values()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECS if waits else None):
                    await self._news.wait()
            self._news.clear()
            with contextlib.suppress(StateUnavailable):  # then what is unwritten waits
                for server in list(self._unwritten):
                    await self._write(server)
                await self._look()

    async def _write(self, server: str) -> None:
        ours = self._records[server]
        self._unwritten.discard(server)

        def change(stored: bytes | None) -> bytes:
            return _encode(merged(_record(stored) if stored else {}, ours))

        try:
            await self._store.update(_OWNER, server, change, KEPT_SECS)
        except StateUnavailable:
            self._unwritten.add(server)
            raise

    async def _look(self) -> None:
        for server, record in list(self._records.items()):
            waiting = held(record)
            if not waiting:
                continue
            stored = await read(self._store, server)
            said = {
                name
                for name, seen in waiting.items()
                if name in stored and stored[name].accepted == seen.waiting
            }
            if said and self._records[server] is record:
                self._records[server] = accepted(record, frozenset(said))
                self._changed()


async def read(store: Store, server: str) -> Record:
    """What is remembered of a server."""
    stored = await store.get(_OWNER, server)
    return _record(stored) if stored else _NOTHING


async def remembered(store: Store) -> dict[str, Record]:
    """What is remembered of all servers."""
    return {server: await read(store, server) for server in await store.keys(_OWNER, "")}


async def accept(store: Store, server: str, names: frozenset[str]) -> None:
    """A person accepts what waits of these."""

    def change(stored: bytes | None) -> bytes:
        return _encode(accepted(_record(stored) if stored else {}, names))

    await store.update(_OWNER, server, change, KEPT_SECS)


def _in_state(shown: ServerView, view: ServerView) -> ServerView:
    """What was judged before, of a server whose state alone has changed."""
    if shown.tools is view.tools and shown.description == view.description:
        return view
    return ServerView(view.name, view.state, shown.description, shown.tools, view.capabilities)


def _tell(server: str, found: Judged, trust: Trust) -> None:
    """Say once what changed, and what is held."""
    for name, graded in found.told:
        what, why = name_of(server, name), "; it ".join(graded.reasons)
        if graded.level == "dangerous" and trust == "hold":
            log.warning(
                "%s is held: its definition %s; `mcproxy trust %s` shows and accepts it",
                what,
                why,
                server,
                extra={"server": server},
            )
        elif graded.level == "dangerous" and trust == "warn":
            log.warning("%s: its definition %s", what, why, extra={"server": server})
        elif graded.level == "notable" and trust != "off":
            log.info("%s: its definition has changed", what, extra={"server": server})
