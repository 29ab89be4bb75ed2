"""Typed stubs as files: written by ``mcproxy stubs [--output DIR]``, and by a running gateway at
each manifest where ``manifests.typed_stub_generation`` says so.

The stubs of all tools lie in the directory itself, those of a namespace or group in a folder of its
name. The texts are made by ``manifest.stubs``; the tools are learned by a function that is handed
in, since starting servers is not for a command to know.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from mcproxy.cancellation import checkpoint
from mcproxy.commands.files import replace_file
from mcproxy.commands.report import GOOD, PROBLEMS, CommandReport
from mcproxy.config.load import Loaded
from mcproxy.config.model import StubGeneration
from mcproxy.config.state import STORE_FILE, state_directory
from mcproxy.gateway.learning import Learning
from mcproxy.gateway.snapshot import take_snapshot
from mcproxy.manifest.learned import Returns, unlearned
from mcproxy.manifest.model import Manifest
from mcproxy.manifest.stubs.python import python_stub
from mcproxy.manifest.stubs.typescript import typescript_stub
from mcproxy.policy.access import Policy
from mcproxy.policy.namespaces import learned_servers
from mcproxy.store.opening import OpenedStore, stores_of
from mcproxy.types import JsonObject

Language: TypeAlias = Literal["python", "typescript"]
LANGUAGES: tuple[Language, ...] = ("python", "typescript")
MODULE = "mcproxy_api"

_STUBS: Mapping[Language, tuple[str, Callable[[Manifest, Returns], str]]] = {
    "python": (f"{MODULE}.pyi", python_stub),
    "typescript": (f"{MODULE}.d.ts", typescript_stub),
}

log = logging.getLogger(__name__)


class WhatIsLearned(msgspec.Struct, frozen=True):
    """``returns``: what tools were seen to return; ``changes``: how often that has changed, by
    server."""

    returns: Returns = unlearned
    changes: Mapping[str, int] = msgspec.field(default_factory=dict)


NOTHING_LEARNED = WhatIsLearned()


class StubFile(msgspec.Struct, frozen=True):
    """One file: where it is, what it is about, and in which language."""

    path: Path
    manifest: Manifest
    language: Language
    learned: WhatIsLearned

    @property
    def tools(self) -> int:
        """How many tools it has."""
        return self.manifest.tool_count

    @property
    def servers(self) -> int:
        """How many servers they are of."""
        return len(self.manifest.servers)

    @property
    def about(self) -> Sequence[object]:
        """All that its text is made of. Comparing costs nothing where tools are the same objects,
        as those of a server are that did not change."""
        return [
            (view.name, view.description, view.tools, self.learned.changes.get(view.name, 0))
            for view in self.manifest.servers.values()
        ]

    def write(self) -> bool:
        """Write it, unless it is right already; whether it was written. Raises OSError."""
        text = _STUBS[self.language][1](self.manifest, self.learned.returns)
        if self.path.exists() and self.path.read_text(encoding="utf-8", errors="replace") == text:
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, text)
        return True


def files(
    manifest: Manifest,
    namespaces: Mapping[str, Manifest],
    output: Path,
    languages: Collection[Language] = LANGUAGES,
    learned: WhatIsLearned = NOTHING_LEARNED,
) -> list[StubFile]:
    """The files of all tools and of each namespace, in the order in which they are written."""
    folders = {output: manifest, **{output / name: part for name, part in namespaces.items()}}
    return [
        StubFile(folder / _STUBS[language][0], part, language, learned)
        for folder, part in folders.items()
        for language in languages
    ]


def run(
    learn: Callable[[], Manifest],
    policy: Policy,
    output: Path,
    languages: Collection[Language] = LANGUAGES,
    learned: Callable[[Manifest], Returns] = lambda _: unlearned,
) -> CommandReport:
    """Write the stubs of what ``learn`` finds, and of what was ``learned`` of its results, into the
    directory ``output``. Raises OSError.

    ``PROBLEMS`` where a server's tools are not known: the stubs lack them.
    """
    manifest = learn()
    namespaces = take_snapshot(policy, manifest).parts()
    returns = WhatIsLearned(learned(manifest))
    written = files(manifest, namespaces, output, languages, returns)
    for file in written:
        file.write()
    unknown = {
        view.name: view.state
        for view in manifest.servers.values()
        if view.state not in ("ready", "idle", "disabled")
    }
    lines = [f"{each.path}: {each.tools} tools of {each.servers} servers" for each in written]
    lacking = [
        f"{name}: its tools are not known, as it is {state}; see `mcproxy doctor`"
        for name, state in unknown.items()
    ]
    facts: JsonObject = {
        "files": [
            {"path": str(each.path), "tools": each.tools, "servers": each.servers}
            for each in written
        ],
        "unknown": {**unknown},
    }
    return CommandReport((*lines, *lacking), PROBLEMS if lacking else GOOD, facts)


def learned_before(loaded: Loaded, manifest: Manifest) -> Returns:
    """What gateways with this configuration have learned of these tools."""
    config, file = loaded.config, state_directory(loaded.environment) / STORE_FILE
    if config.state.url is None and not (config.results.persist and file.exists()):
        return unlearned
    learnable = manifest.visible_to(learned_servers(config))
    return asyncio.run(_learned_before(stores_of(loaded).kept, learnable))


async def _learned_before(kept: OpenedStore, manifest: Manifest) -> Returns:
    async with kept as store:
        learning = Learning(store, str)
        learning.follow(manifest)
        await learning.read()
        return learning.returns


class StubWriter:
    """Keeps the stubs of a running gateway right: of manifests that come in a row the last is
    written for certain. Making and writing a text takes a thread, not the event loop."""

    def __init__(self) -> None:
        self._wanted: Sequence[StubFile] = ()
        self._right: dict[Path, Sequence[object]] = {}  # what each file is about
        self._due = asyncio.Event()
        self._fault = ""

    def show(
        self,
        settings: StubGeneration,
        manifest: Manifest,
        namespaces: Mapping[str, Manifest],
        learned: WhatIsLearned = NOTHING_LEARNED,
    ) -> None:
        """Another manifest is in force, or other settings, or more is learned."""
        if settings.enabled:
            output = Path(settings.output_dir)
            self._wanted = files(manifest, namespaces, output, settings.languages, learned)
            self._due.set()

    async def run(self) -> None:
        """Write what was shown, until cancelled; a file that is being written is written."""
        while True:
            checkpoint()
            await self._due.wait()
            self._due.clear()
            try:
                written = [file for file in self._wanted if await self._write(file)]
            except OSError as error:
                self._tell(f"no stubs are written: {error}")
            except Exception:  # they are no reason to end the gateway
                log.exception("a fault in the making of stubs")
            else:
                self._fault = ""
                if written:
                    log.info("stubs: %d files written", len(written))

    async def _write(self, file: StubFile) -> bool:
        about = file.about
        if self._right.get(file.path) == about and file.path.exists():
            return False  # a server's state changed, or another namespace's tools
        written = await asyncio.to_thread(file.write)
        self._right[file.path] = about
        return written

    def _tell(self, fault: str) -> None:
        if fault != self._fault:  # once, not at each change of a tool
            log.warning("%s", fault)
        self._fault = fault
