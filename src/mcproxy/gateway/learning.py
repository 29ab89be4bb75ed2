"""Learns what tools return that declare nothing of it, from results that pass by.

A call costs no more than a count: the first results of a tool and few of the later ones are handed
to a task, which looks at them in a thread and adds what it finds to the store, where that of other
gateways on the same store is added too. What a shape is and what it may keep is for
``manifest.learned`` to say. A tool whose definition changes begins anew.
"""

import asyncio
import hashlib
import json
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TypeAlias

import msgspec

from mcproxy.call_errors import StateUnavailable
from mcproxy.cancellation import checkpoint
from mcproxy.manifest.learned import Harmless, Learned, ResultShape, learned_from, merged, observed
from mcproxy.manifest.model import Manifest, ServerPart
from mcproxy.manifest.truncate import head
from mcproxy.observe.secret_shapes import looks_random
from mcproxy.store.interface import Store
from mcproxy.types import Json, Tool, ToolRef, ToolResult

FIRST, ONE_IN = 16, 256  # results looked at: so many of a tool, and then one in so many
MAX_WAITING = 8  # results that wait to be looked at; more are not worth their memory
MAX_RESULT_BYTES = 4 << 20  # of one that is looked at: to find its parts takes milliseconds
HEAD_CHARS = 32 << 10  # of a larger one the head is looked at, some milliseconds too
KEPT_SECS = 90 * 86_400.0  # after its last use: a tool that is called once a month is not forgotten

log = logging.getLogger(__name__)
Masked: TypeAlias = Callable[[str], str]
"""The text without secrets."""


class _Entry(msgspec.Struct, frozen=True):
    """What the store has of a tool; ``digest`` is its definition's."""

    digest: str
    shape: ResultShape


class _Block(msgspec.Struct):
    type: str
    text: str = ""


_NULL = msgspec.Raw(b"null")


class _Result(msgspec.Struct):
    """The parts of a ``CallToolResult`` that a script gets a value of."""

    content: msgspec.Raw = msgspec.Raw(b"[]")
    structured: msgspec.Raw = msgspec.field(default=_NULL, name="structuredContent")


class _Known(msgspec.Struct):
    """A tool of which results were seen, or are known from before; ``count`` those since the
    start."""

    tool: Tool
    digest: str
    count: int = 0
    learned: Learned | None = None


@dataclass(slots=True)
class _Sample:
    known: _Known
    raw: bytes = field(repr=False)


_entries = msgspec.json.Decoder(_Entry)
_results = msgspec.json.Decoder(_Result)
_blocks = msgspec.json.Decoder(list[_Block])


class Learning:
    """What is learned of all tools. ``masked`` takes the secrets out of a text; ``on_change`` is
    called when more is known than before."""

    def __init__(
        self, store: Store, masked: Masked, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self._store, self._masked, self._on_change = store, masked, on_change
        self._parts: Mapping[str, ServerPart] = {}
        self._known: dict[ToolRef, _Known] = {}
        self._read: dict[str, Mapping[str, Tool]] = {}  # tools for which the store was asked
        self._samples: deque[_Sample] = deque()
        self._due = asyncio.Event()
        self._changes: Counter[str] = Counter()

    @property
    def changes(self) -> Mapping[str, int]:
        """How often more was known of a server's tools than before."""
        return dict(self._changes)

    def follow(self, manifest: Manifest) -> None:
        """Learn of the servers of this manifest, and no others, from now on."""
        self._parts = manifest.parts
        self._read = {name: one for name, one in self._read.items() if name in manifest.parts}
        for ref, known in list(self._known.items()):
            tool = self._current(ref)
            if tool is None or (tool is not known.tool and known.digest != _digest(tool)):
                del self._known[ref]
            else:
                known.tool = tool
        self._due.set()

    def see(self, tool: Tool, result: ToolResult) -> None:
        """A tool has given this result."""
        if "outputSchema" in tool.definition or result.is_error:
            return
        known = self._of(tool)
        if known is None:
            return
        known.count += 1
        is_sample = known.count <= FIRST or known.count % ONE_IN == 0
        if is_sample and len(self._samples) < MAX_WAITING and len(result.raw) <= MAX_RESULT_BYTES:
            self._samples.append(_Sample(known, result.raw))
            self._due.set()

    def returns(self, tool: Tool) -> Learned | None:
        """What the tool returns, as far as that is learned."""
        known = self._known.get(tool.ref)
        return known.learned if known and known.tool is tool else None

    async def run(self) -> None:
        """Look at what was seen, until cancelled. What is left then is not looked at."""
        while True:
            checkpoint()
            try:
                await self._follow_up()
            except StateUnavailable as fault:
                log.debug("what was seen of a result is not kept: %s", fault)
            except Exception:  # what is not learned is no reason to end the gateway
                log.exception("a fault in what is learned of results")

    async def _follow_up(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            await self.read()
            while self._samples:
                await self._learn(self._samples.popleft())

    async def read(self) -> None:
        """Take over what the store has of tools that are new here."""
        for server, part in self._parts.items():
            if self._read.get(server) is part.tools:
                continue
            self._read[server] = part.tools
            for name in await self._store.keys(_owner(server), ""):
                kept = await self._store.get(_owner(server), name) if name in part.tools else None
                known = self._of(part.tools[name]) if kept else None
                if kept and known:
                    await self._take_over(known, kept)

    def _current(self, ref: ToolRef) -> Tool | None:
        part = self._parts.get(ref.server)
        return part.tools.get(ref.tool) if part else None

    def _of(self, tool: Tool) -> _Known | None:
        """What is known of a tool; None for one that is none, or another, by now."""
        known = self._known.get(tool.ref)
        if known is not None and known.tool is tool:
            return known
        if self._current(tool.ref) is not tool:
            return None
        known = self._known[tool.ref] = _Known(tool, _digest(tool))
        return known

    async def _learn(self, sample: _Sample) -> None:
        shape = await asyncio.to_thread(_shape_of, sample.raw, self._harmless())
        if shape is None:
            return
        known, found = sample.known, shape

        def added(before: bytes | None) -> bytes:
            kept = _shape(before, known.digest) if before else None
            return msgspec.json.encode(_Entry(known.digest, merged(kept, found) if kept else found))

        ref = known.tool.ref
        entry = await self._store.update(_owner(ref.server), ref.tool, added, KEPT_SECS)
        await self._take_over(known, entry)

    async def _take_over(self, known: _Known, kept: bytes) -> None:
        """From now on this is known, which the store has."""
        learned = await asyncio.to_thread(_learned, kept, known.digest)
        if learned is None:
            return
        before, known.learned = known.learned, learned
        if before is None or before.schema != learned.schema:
            self._changes[known.tool.ref.server] += 1
            self._on_change()

    def _harmless(self) -> Harmless:
        """Whether a text may be kept; each is judged once for a result."""
        masked = self._masked
        return cache(lambda text: masked(text) == text and not looks_random(text))


def _owner(server: str) -> str:
    return json.dumps(["learned", server])


def _digest(tool: Tool) -> str:
    text = msgspec.json.encode(tool.definition, order="sorted")
    return hashlib.sha256(text).hexdigest()[:32]


def _shape(kept: bytes, digest: str) -> ResultShape | None:
    """What the store has of the tool with this definition."""
    try:
        entry = _entries.decode(kept)
    except msgspec.DecodeError:  # of another release
        return None
    return entry.shape if entry.digest == digest else None


def _learned(kept: bytes, digest: str) -> Learned | None:
    """The same as it is told."""
    shape = _shape(kept, digest)
    return learned_from(shape) if shape else None


def _shape_of(raw: bytes, harmless: Harmless) -> ResultShape | None:
    """The shape of a result; None where the value in it is not to be told."""
    try:
        return observed(_value(raw), harmless)
    except (ValueError, RecursionError):  # msgspec's own are ValueErrors
        return None


def _value(raw: bytes) -> Json:
    """The value that a script gets, of a large one its head. Raises ValueError."""
    result = _results.decode(raw)
    if bytes(result.structured) != bytes(_NULL):
        return _decoded(bytes(result.structured).decode())
    blocks = _blocks.decode(result.content)
    if [block.type for block in blocks] != ["text"]:
        return _decoded(bytes(result.content).decode())
    text = blocks[0].text
    try:
        return _decoded(text)
    except msgspec.DecodeError:
        if text.startswith(("{", "[")) and len(text) > HEAD_CHARS:
            raise
        return text


def _decoded(text: str) -> Json:
    value: Json = msgspec.json.decode(head(text, HEAD_CHARS))
    return value
