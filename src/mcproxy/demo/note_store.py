"""Notes in an SQLite file, or in memory where no file can be written. Knows nothing of MCP.

One connection, one thread. Several processes may share the file: each change is one transaction,
and SQLite waits ``BUSY_SECS`` for another's to end.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Order = Literal["updated", "created", "title"]

BUSY_SECS = 2.0  # as long as another process may hold the file; its transactions take milliseconds

_SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS tags (
    note_id INTEGER NOT NULL REFERENCES notes (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (note_id, tag)
);
PRAGMA user_version = 1;
"""
_GET = """
SELECT id, title, body, created_at, updated_at,
    (SELECT group_concat(tag, char(10)) FROM tags WHERE note_id = notes.id)
FROM notes WHERE id = ?
"""
_PAGE = """
SELECT id, title, body, created_at, updated_at,
    (SELECT group_concat(tag, char(10)) FROM tags WHERE note_id = notes.id)
FROM notes
WHERE :tag IS NULL OR id IN (SELECT note_id FROM tags WHERE tag = :tag)
ORDER BY
    CASE :order WHEN 'title' THEN title END COLLATE NOCASE,
    CASE :order WHEN 'created' THEN created_at WHEN 'updated' THEN updated_at END DESC,
    id DESC
LIMIT :limit OFFSET :offset
"""
_COUNT = """
SELECT count(*) FROM notes
WHERE :tag IS NULL OR id IN (SELECT note_id FROM tags WHERE tag = :tag)
"""


@dataclass(frozen=True, slots=True)
class Note:
    """One note; times are ISO 8601 in UTC, tags are in alphabetical order."""

    id: int
    title: str
    body: str
    created_at: str
    updated_at: str
    tags: tuple[str, ...]


def default_path(environment: Mapping[str, str]) -> Path:
    """Return where notes are kept: ``MCPROXY_NOTES_DB``, else in the user's state directory.

    An empty variable counts as unset, as the XDG base directory specification says.
    """
    if chosen := environment.get("MCPROXY_NOTES_DB"):
        return Path(chosen)
    if state := environment.get("XDG_STATE_HOME"):
        return Path(state) / "mcproxy" / "notes.sqlite3"
    return Path(environment.get("HOME", "/")) / ".local" / "state" / "mcproxy" / "notes.sqlite3"


class NoteStore:
    """The notes behind one connection. Every method raises sqlite3.Error when the file fails."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def add(self, title: str, body: str, tags: Sequence[str]) -> Note:
        """Store a new note; its id is never used again."""
        with self._db:
            now = _now()
            row = self._db.execute(
                "INSERT INTO notes (title, body, created_at, updated_at) VALUES (?, ?, ?, ?)",
                (title, body, now, now),
            )
            note_id = row.lastrowid or 0
            self._set_tags(note_id, tags)
        return Note(note_id, title, body, now, now, tuple(sorted(set(tags))))

    def get(self, note_id: int) -> Note | None:
        """Return one note, None when there is none of this id."""
        row = self._db.execute(_GET, (note_id,)).fetchone()
        return None if row is None else _note(*row)

    def update(
        self, note_id: int, title: str | None, body: str | None, tags: Sequence[str] | None
    ) -> Note | None:
        """Replace the parts that are not None; None when there is no such note."""
        with self._db:
            self._db.execute(
                "UPDATE notes SET title = coalesce(?, title), body = coalesce(?, body), "
                "updated_at = ? WHERE id = ?",
                (title, body, _now(), note_id),
            )
            note = self.get(note_id)
            if note is not None and tags is not None:
                self._set_tags(note_id, tags)
                note = self.get(note_id)
        return note

    def delete(self, note_id: int) -> bool:
        """Delete one note; tell whether there was one."""
        with self._db:
            return self._db.execute("DELETE FROM notes WHERE id = ?", (note_id,)).rowcount > 0

    def page(self, tag: str | None, order: Order, limit: int, offset: int) -> tuple[Note, ...]:
        """Return a part of the notes, of one tag or of all."""
        rows = self._db.execute(
            _PAGE, {"tag": tag, "order": order, "limit": limit, "offset": offset}
        )
        return tuple(_note(*row) for row in rows)

    def count(self, tag: str | None = None) -> int:
        """Return how many notes there are, of one tag or at all."""
        return int(self._db.execute(_COUNT, {"tag": tag}).fetchone()[0])

    def search(self, words: Sequence[str], tag: str | None) -> tuple[Note, ...]:
        """Return the notes with every word in title, body or tags; words in titles count first."""
        found = [
            (sum(word in note.title.casefold() for word in words), note)
            for note in self.page(tag, "updated", limit=-1, offset=0)
            if _has_all(note, words)
        ]
        return tuple(note for _, note in sorted(found, key=lambda entry: -entry[0]))

    def tags(self) -> tuple[tuple[str, int], ...]:
        """Return each tag with the number of its notes, the most used first."""
        rows = self._db.execute("SELECT tag, count(*) FROM tags GROUP BY tag ORDER BY 2 DESC, 1")
        return tuple((str(tag), int(count)) for tag, count in rows)

    def _set_tags(self, note_id: int, tags: Sequence[str]) -> None:
        self._db.execute("DELETE FROM tags WHERE note_id = ?", (note_id,))
        rows = [(note_id, tag) for tag in sorted(set(tags))]
        self._db.executemany("INSERT INTO tags (note_id, tag) VALUES (?, ?)", rows)


@contextmanager
def open_store(path: str) -> Iterator[NoteStore]:
    """Open the store at ``path``, and close it after use; ``:memory:`` is one that lasts no longer.

    Raises OSError or sqlite3.Error when the file cannot be created, written or understood.
    """
    if path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    connection = sqlite3.connect(path, timeout=BUSY_SECS)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        # Written every time, so that a file which can only be read is found out here.
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        yield NoteStore(connection)
    finally:
        connection.close()


def _note(  # the columns of _GET and _PAGE
    id: int, title: str, body: str, created_at: str, updated_at: str, tags: str | None
) -> Note:
    split = tuple(sorted((tags or "").splitlines()))
    return Note(id, title, body, created_at, updated_at, split)


def _has_all(note: Note, words: Sequence[str]) -> bool:
    text = "\n".join((note.title, note.body, *note.tags)).casefold()
    return all(word in text for word in words)


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="milliseconds")
