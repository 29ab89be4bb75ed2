"""``mcproxy migrate PATH [--write]``: shows, or makes, a v2 file of a v1 file.

What changes is decided by ``config.migrate``; here it is shown as a difference and written, the old
file kept beside the new one.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path

from mcproxy.commands.files import keep_copy, replace_file
from mcproxy.commands.layout import indent_of, layout
from mcproxy.commands.report import CommandReport
from mcproxy.config import jsonc
from mcproxy.config.load import read_document
from mcproxy.config.migrate import Migration, is_v1, migrate
from mcproxy.errors import ConfigError
from mcproxy.types import JsonObject

BACKUP = ".bak"


def run(path: Path, *, write: bool = False) -> CommandReport:
    """Show the difference between the file and its v2 form; ``write`` it, keeping ``PATH.bak``.

    Raises ConfigError for a file that cannot be brought to v2, OSError where it cannot be written.
    """
    document = read_document(path)
    facts: JsonObject = {"file": str(path), "written": False}
    if not is_v1(document):
        done = f"{path}: is a v2 file already; nothing to do"
        return CommandReport((done,), facts={**facts, "document": document})
    migration = migrate(document)
    if migration.problems:
        raise ConfigError(str(path), migration.problems)
    old = path.read_text(encoding="utf-8-sig")
    new = layout(migration.document, indent_of(old)) + "\n"
    notes = [*_notes(migration, old)]
    facts |= {"document": migration.document, "notes": [*notes]}
    told = [f"note: {note}" for note in notes]
    if not write:
        shown = _difference(path, old, new)
        hint = "nothing is written; `mcproxy migrate --write` writes it and keeps the old file"
        return CommandReport((*shown, *told, hint), facts=facts)
    kept = keep_copy(path, BACKUP)
    replace_file(path, new)
    done = f"{path}: is a v2 file now; the old one is {kept}"
    return CommandReport((done, *told), facts={**facts, "written": True, "backup": str(kept)})


def _difference(path: Path, old: str, new: str) -> Iterator[str]:
    return difflib.unified_diff(
        old.splitlines(), new.splitlines(), f"{path} (v1)", f"{path} (v2)", lineterm=""
    )


def _notes(migration: Migration, old: str) -> Iterator[str]:
    yield from migration.notes
    if jsonc.plain(old) != old:
        yield 'comments written // or /* */ do not come along; those in keys ("_note") do'
