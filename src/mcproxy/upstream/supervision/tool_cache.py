"""What servers offered when they last ran, kept between runs: one file a server, mode 0600.

With it tools are found at once after a restart, while the servers still start. It is a memory, not
a truth: it counts until the server itself has answered, and where it is unreadable there is none.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from mcproxy.config.state import replace_private
from mcproxy.types import JsonObject, Tool
from mcproxy.upstream.protocol.listing import listed_tool
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.wire.message import UNREADABLE

MAX_BYTES = 64 << 20  # as much as a server may list

_HASH_CHARS = 16

log = logging.getLogger(__name__)


class Offer(msgspec.Struct, frozen=True):
    """What a server offered: its tools' definitions, its capabilities, its description."""

    tools: tuple[JsonObject, ...] = ()
    capabilities: JsonObject = {}
    description: str = ""

    def tools_of(self, server: str) -> tuple[Tool, ...]:
        """The tools, as listed."""
        return tuple(listed_tool(server, definition) for definition in self.tools)


class Memory(Protocol):
    """What is remembered of one server."""

    def read(self) -> Offer | None:
        """What was offered last; None where nothing is known."""

    def write(self, offer: Offer) -> None:
        """Keep an offer."""


class NoMemory:
    """For an instance: its server's tools are known from elsewhere."""

    def read(self) -> Offer | None:
        """Nothing."""
        return None

    def write(self, offer: Offer) -> None:
        """Keep nothing."""


class OfferFile:
    """The memory of one server; ``key`` stands for its definition: another one, another offer."""

    def __init__(self, folder: Path, server: str, key: str) -> None:
        self._log = ServerLog(log, server)
        self._path = folder / f"{server}-{key[:_HASH_CHARS]}.json"
        self._others = f"{server}-{'[0-9a-f]' * _HASH_CHARS}.json"
        self._kept: bytes | None = None

    def read(self) -> Offer | None:
        """What was offered last; None where nothing is known."""
        try:
            if self._path.stat().st_size > MAX_BYTES:
                return None
            kept = self._path.read_bytes()
            offer = msgspec.json.decode(kept, type=Offer)
        except (OSError, *UNREADABLE):
            return None
        self._kept = kept
        return offer

    def write(self, offer: Offer) -> None:
        """Keep an offer in place of all that were kept for this server; a fault is only noted."""
        data = msgspec.json.encode(offer)
        if data == self._kept or len(data) > MAX_BYTES:
            return
        try:
            self._replace(data)
        except OSError as error:
            self._log.warning("its tools are not remembered: %s", error)
            return
        self._kept = data

    def _replace(self, data: bytes) -> None:
        replace_private(self._path, data)
        for stale in list(self._path.parent.glob(self._others)):
            if stale != self._path:
                stale.unlink(missing_ok=True)


def offer_of(tools: Sequence[Tool], capabilities: JsonObject, description: str) -> Offer:
    """What a server offers."""
    return Offer(tuple(dict(tool.definition) for tool in tools), capabilities, description)


def by_name(listed: Sequence[Tool]) -> Mapping[str, Tool]:
    """The tools that can be called; of two with one name the first, as the manifest has it."""
    return {tool.ref.tool: tool for tool in reversed(listed) if tool.ref.tool}
