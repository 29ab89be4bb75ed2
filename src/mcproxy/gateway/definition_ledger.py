"""The ledger of definitions: what servers said of their tools and prompts, remembered between runs.

Judges each listing before anything of it is seen (``policy/definition_records``), keeps what has
changed, and sees when a person accepts in another process what is held here.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.call_errors import StateUnavailable
from mcproxy.cancellation import checkpoint
from mcproxy.config.model import Config, Trust
from mcproxy.policy.definition_records import (
    Definitions,
    Judged,
    Record,
    Rules,
    SeenDefinition,
    accepted,
    held,
    judge,
    may_be_seen,
    merged,
    name_of,
    names_of_others,
    of_prompts,
    of_server,
    prompts_of,
    server_of,
    shown_as,
)
from mcproxy.store.interface import Store
from mcproxy.types import JsonObject, ServerView
from mcproxy.wire.message import Notification

LOOK_SECS = 1.0  # how soon it is seen that a person accepted what is held
KEPT_SECS = 10 * 365 * 24 * 3600.0  # what was forgotten could come back as if it were new
_OWNER = "definitions"
_NOTHING: Record = MappingProxyType({})

log = logging.getLogger(__name__)
_record = msgspec.json.Decoder(dict[str, SeenDefinition]).decode
_encode = msgspec.json.Encoder().encode

Listing: TypeAlias = Callable[[str, str], Awaitable[Sequence[JsonObject]]]
"""All items of one of a server's lists, by the method."""

Heard: TypeAlias = Callable[[str, Notification, None], None]
"""Takes what a server says to everybody."""


class _Source(msgspec.Struct, frozen=True):
    """What is judged: a server with its tools, or its prompts. ``parts`` are what its definitions
    are read from; the same objects say the same."""

    name: str
    parts: tuple[object, ...]
    definitions: Callable[[], Definitions]


class DefinitionLedger:
    """``changed`` is called when something is held no longer; of a prompt, ``heard`` is, as when
    its server says that its prompts changed. ``judged`` may be called in any thread, all else on
    the event loop."""

    def __init__(self, store: Store, changed: Callable[[], None], heard: Heard) -> None:
        self._store, self._changed, self._heard = store, changed, heard
        self._trust: Callable[[str], Trust] = lambda _: "hold"
        self._by_annotation = False
        self._records: dict[str, Record] = {}
        self._seen: dict[str, tuple[tuple[object, ...], Judged]] = {}
        self._visible: dict[str, tuple[Judged, ServerView]] = {}
        self._unwritten: set[str] = set()
        self._news = asyncio.Event()
        self._judging = threading.Lock()

    def use(self, config: Config) -> None:
        """Go by another configuration from now on."""
        by_server = {name: server.trust or config.trust for name, server in config.servers.items()}
        self._trust = lambda name: by_server.get(name, config.trust)
        self._by_annotation = any(
            space.read_only or space.ask_for != "nothing" for space in config.namespaces.values()
        )

    async def load(self) -> None:
        """Remember what was seen in earlier runs. Before anything is judged."""
        self._loop = asyncio.get_running_loop()
        for source in await self._store.keys(_OWNER, ""):
            self._records[source] = await read(self._store, source)

    def judged(self, views: Sequence[ServerView]) -> tuple[ServerView, ...]:
        """The same servers, as far as they may be seen."""
        with self._judging:
            return tuple(self._shown(view, self._judged(_of(view))) for view in views)

    def _shown(self, view: ServerView, found: Judged) -> ServerView:
        """As much of the server as may be seen; of the same definitions the same objects."""
        if not found.held:
            return view
        known = self._visible.get(view.name)
        if known is None or known[0] is not found:
            known = self._visible[view.name] = (found, may_be_seen(view, found))
        return replace(view, description=known[1].description, tools=known[1].tools)

    def listing(self, listing: Listing) -> Listing:
        """The same lists, without prompts that are held."""

        async def listed(server: str, method: str) -> Sequence[JsonObject]:
            items = await listing(server, method)
            if method != mcp.LIST_PROMPTS:
                return items
            source = _Source(prompts_of(server), (items,), partial(of_prompts, items))
            found = self._known(source)
            if found is None:
                found = await asyncio.to_thread(self._judged_alone, source)
            firsts = {str(item.get("name")): item for item in reversed(items)}  # as judged
            return [
                item
                for item in items
                if firsts[name := str(item.get("name"))] is item and name not in found.held
            ]

        return listed

    def _judged_alone(self, source: _Source) -> Judged:
        with self._judging:
            return self._judged(source)

    def _known(self, source: _Source) -> Judged | None:
        """What was found before, of the same definitions by the same rules."""
        known = self._seen.get(source.name)
        same = (*source.parts, self._trust(server_of(source.name)), self._records.get(source.name))
        return known[1] if known and _are_same(known[0], same) else None

    def _judged(self, source: _Source) -> Judged:
        if known := self._known(source):
            return known
        trust, record = self._trust(server_of(source.name)), self._records.get(source.name)
        names = names_of_others(self._records, source.name)
        rules = Rules(trust, names, time.time(), self._by_annotation)
        found = judge(record, source.definitions(), rules)
        if found.record is not record:
            self._records[source.name] = found.record
            self._loop.call_soon_threadsafe(self._write_later, source.name)
        self._seen[source.name] = ((*source.parts, trust, found.record), found)
        _tell(source.name, found, trust)
        return found

    def _write_later(self, source: str) -> None:
        self._unwritten.add(source)
        self._news.set()

    def waiting(self) -> Mapping[str, Mapping[str, SeenDefinition]]:
        """What is held, by source and name."""
        return all_held(self._records)

    async def accept(self, source: str, shown: Mapping[str, str]) -> None:
        """A person accepts what waits of these names, each as it was ``shown_as``."""
        if source in self._records:
            await accept(self._store, source, shown)
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

    async def _write(self, source: str) -> None:
        ours = self._records[source]
        self._unwritten.discard(source)

        def change(stored: bytes | None) -> bytes:
            return _encode(merged(_record(stored) if stored else {}, ours))

        try:
            await self._store.update(_OWNER, source, change, KEPT_SECS)
        except StateUnavailable:
            self._unwritten.add(source)
            raise

    async def _look(self) -> None:
        for source, record in list(self._records.items()):
            waiting = held(record)
            if not waiting:
                continue
            stored = await read(self._store, source)
            said = {
                name: shown_as(seen)
                for name, seen in waiting.items()
                if name in stored and stored[name].accepted == seen.waiting
            }
            if said and self._records[source] is record:
                self._records[source] = accepted(record, said)
                self._changed()
                server = server_of(source)
                if source != server:
                    self._heard(server, Notification(mcp.PROMPTS_CHANGED, b"{}"), None)


async def read(store: Store, source: str) -> Record:
    """What is remembered of a source."""
    stored = await store.get(_OWNER, source)
    return _record(stored) if stored else _NOTHING


async def remembered(store: Store) -> dict[str, Record]:
    """What is remembered of all sources."""
    return {source: await read(store, source) for source in await store.keys(_OWNER, "")}


def all_held(records: Mapping[str, Record]) -> Mapping[str, Mapping[str, SeenDefinition]]:
    """What is held, of all sources that have anything."""
    found = {source: held(record) for source, record in records.items()}
    return {source: each for source, each in found.items() if each}


async def accept(store: Store, source: str, shown: Mapping[str, str]) -> None:
    """A person accepts what waits of these names, each as it was ``shown_as``."""

    def change(stored: bytes | None) -> bytes:
        return _encode(accepted(_record(stored) if stored else {}, shown))

    await store.update(_OWNER, source, change, KEPT_SECS)


def _of(view: ServerView) -> _Source:
    return _Source(view.name, (view.tools, view.description), partial(of_server, view))


def _are_same(known: tuple[object, ...], now: tuple[object, ...]) -> bool:
    return all(one is other for one, other in zip(known, now, strict=True))


def _tell(source: str, found: Judged, trust: Trust) -> None:
    """Say once what changed, and what is held."""
    server = server_of(source)
    for name, graded in found.told:
        what, why = name_of(source, name), "; it ".join(found.record[name].reasons)
        if name in found.held:
            log.warning(
                "%s is held: its definition %s; `mcproxy trust %s` shows and accepts it",
                what,
                why,
                server,
                extra={"server": server},
            )
        elif graded.level == "dangerous" and trust == "warn":
            why = "; it ".join(graded.reasons)
            log.warning("%s: its definition %s", what, why, extra={"server": server})
        elif graded.level == "notable" and trust != "off":
            log.info("%s: its definition has changed", what, extra={"server": server})
