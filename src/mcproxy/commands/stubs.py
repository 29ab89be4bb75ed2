"""``mcproxy stubs [--output DIR]``: writes type stubs of all tools.

The texts are made by ``manifest.stubs``; the tools are learned by a function that is handed in,
since starting servers is not for a command to know.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from mcproxy.commands.files import replace_file
from mcproxy.commands.report import PROBLEMS, CommandReport
from mcproxy.manifest.model import Manifest
from mcproxy.manifest.stubs.python import python_stub
from mcproxy.manifest.stubs.typescript import typescript_stub

Language: TypeAlias = Literal["python", "typescript"]
LANGUAGES: tuple[Language, ...] = ("python", "typescript")
MODULE = "mcproxy_api"

_STUBS: Mapping[Language, tuple[str, Callable[[Manifest], str]]] = {
    "python": (f"{MODULE}.pyi", python_stub),
    "typescript": (f"{MODULE}.d.ts", typescript_stub),
}


def run(
    learn: Callable[[], Manifest], output: Path, languages: Collection[Language] = LANGUAGES
) -> CommandReport:
    """Write the stubs of what ``learn`` finds into the directory ``output``. Raises OSError.

    ``PROBLEMS`` where a server's tools are not known: the stubs lack them.
    """
    manifest = learn()
    written = write(manifest, output, languages)
    lacking = [
        f"{view.name}: its tools are not known, as it is {view.state}; see `mcproxy doctor`"
        for view in manifest.servers.values()
        if view.state not in ("ready", "idle", "disabled")
    ]
    counts = f"{manifest.tool_count} tools of {len(manifest.servers)} servers"
    lines = [f"{path}: {counts}" for path in written]
    return CommandReport((*lines, *lacking), PROBLEMS if lacking else 0)


def write(
    manifest: Manifest, output: Path, languages: Collection[Language] = LANGUAGES
) -> list[Path]:
    """Write the stubs, and return their paths; a file that is right already is not touched."""
    output.mkdir(parents=True, exist_ok=True)
    paths = []
    for language in languages:
        name, stub = _STUBS[language]
        path, text = output / name, stub(manifest)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            replace_file(path, text)
        paths.append(path)
    return paths
