"""What is kept in a SQLite file, which survives the process, whatever ends it.

Write-ahead logging: what is committed is there after a kill of the process (after a loss of power
the last moments may be missing, the file is whole), and two gateways may share the file. Used by
one thread, which puts transactions around these operations.

An entry is written at once, to one page. What its item comes to by it (its bytes, its last use) is
in three more, and written for many entries together, before anything asks for it; then the bounds
are looked at. A kill leaves that behind by a minute and ``_LOOKED_BYTES`` at most.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from mcproxy.store.interface import StoreBounds, Update

_VERSION = 1
_BUSY_SECS = 5.0  # another gateway's transaction takes milliseconds
_MAX_LOG_BYTES = 4 << 20  # of the write-ahead log between two uses
# Rows of the log, some 1000 pages, that are written into the file once nobody waits; of so many
# pages, where values are large, it is done at once.
_LOGGED_ROWS, _MAX_LOG_PAGES = 1000, 4000
_FREED_PAGES = 10_000  # given back to the file system at a time, some 40 MB
# What may be added, and to how many items, before what they come to is written and the bounds are
# looked at; less where this part of an owner's bound is less.
_LOOKED_BYTES, _LOOKED_ITEMS, _LOOKED_PART = 64 << 10, 64, 16
_UNWRITTEN_PART = 8  # of an item's time to live, in which its use need not be written

_SCHEMA = """
CREATE TABLE items (
    id INTEGER PRIMARY KEY, owner TEXT NOT NULL, key TEXT NOT NULL,
    bytes INTEGER NOT NULL, used REAL NOT NULL, ttl REAL NOT NULL, UNIQUE (owner, key));
CREATE INDEX items_by_use ON items (owner, used, bytes);
CREATE INDEX items_by_end ON items (used + ttl);
CREATE TABLE parts (
    item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE, n INTEGER NOT NULL,
    value BLOB NOT NULL, PRIMARY KEY (item, n)) WITHOUT ROWID;
"""


class ForeignSchema(sqlite3.DatabaseError):
    """The file was made by a later version of this program."""


class _Growing(msgspec.Struct):
    """An item that entries are added to: the number and the time of the last one, what the file has
    as its last use, and the bytes that are not yet in its sum."""

    owner: str
    key: str
    item: int
    last: int
    used: float
    written: float
    ttl: float
    added: int = 0

    def is_ahead(self) -> bool:
        """Whether the file does not have all of this."""
        return self.added > 0 or self.used > self.written

    def is_due(self, now: float) -> bool:
        """Whether its use has to be written."""
        return now >= self.written + self.ttl / _UNWRITTEN_PART


class SqliteTables:
    """``Tables`` in the file at ``path``, which is made, for its owner's eyes alone. Raises
    OSError and sqlite3.Error for one that cannot be used."""

    def __init__(
        self, path: Path, bounds: StoreBounds, now: Callable[[], float] = time.time
    ) -> None:
        self._bounds, self._now = bounds, now
        self._purged = False
        self._logged_rows = 0  # until the log was last written into the file
        self._growing: dict[tuple[str, str], _Growing] = {}  # in the order of their last entries
        self._unlooked_bytes = 0
        self._looked_bytes = min(_LOOKED_BYTES, bounds.owner_bytes // _LOOKED_PART)
        self._looked_items = min(_LOOKED_ITEMS, bounds.owner_items // _LOOKED_PART)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        self._db = sqlite3.connect(
            path, timeout=_BUSY_SECS, isolation_level=None, check_same_thread=False
        )
        self._execute = self._db.cursor().execute  # one cursor for all
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        for setting in (
            "auto_vacuum = INCREMENTAL",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "foreign_keys = ON",
            f"journal_size_limit = {_MAX_LOG_BYTES}",
            f"wal_autocheckpoint = {_MAX_LOG_PAGES}",
        ):
            self._execute(f"PRAGMA {setting}")
        with self.transaction():
            self._migrate()
        self._page_bytes = self._number("PRAGMA page_size")

    def _migrate(self) -> None:
        version = self._number("PRAGMA user_version")
        if version > _VERSION:
            raise ForeignSchema(f"its schema is version {version}; this program knows {_VERSION}")
        if version < _VERSION:
            for statement in _SCHEMA.split(";"):
                self._execute(statement)
            self._execute(f"PRAGMA user_version = {_VERSION}")

    def transaction(self) -> Self:
        """As ``Medium`` says; no other gateway writes meanwhile."""
        return self

    def __enter__(self) -> None:
        self._execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._execute("COMMIT")

    def tidy(self) -> None:
        """As ``Medium`` says: the log goes into the file, room that a purge has freed back to the
        file system."""
        if self._purged:
            # A script: ``execute`` would take the first step alone, which is one page.
            self._db.executescript(f"PRAGMA incremental_vacuum({_FREED_PAGES})")
            self._execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        elif self._db.total_changes >= self._logged_rows + _LOGGED_ROWS:
            self._execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        else:
            return
        self._purged, self._logged_rows = False, self._db.total_changes

    def close(self) -> None:
        """Let go of the file; what was not committed is forgotten."""
        self._db.close()

    def put(self, owner: str, key: str, value: bytes, ttl_secs: float) -> None:
        """As ``Store`` says."""
        self._note(self._begun(owner, key, value, ttl_secs), len(value))

    def get(self, owner: str, key: str) -> bytes | None:
        """As ``Store`` says."""
        parts = self.entries(owner, key)
        return parts[0] if parts else None

    def remove(self, owner: str, key: str) -> bool:
        """As ``Store`` says."""
        self._settle_item(owner, key)
        ends = self._execute(
            "DELETE FROM items WHERE owner = ? AND key = ? RETURNING used + ttl", (owner, key)
        ).fetchall()
        return any(self._now() < end for (end,) in ends)

    def keys(self, owner: str, prefix: str) -> list[str]:
        """As ``Store`` says."""
        self._settle()
        found = self._execute(
            "SELECT key FROM items WHERE owner = ? AND used + ttl > ? ORDER BY key",
            (owner, self._now()),
        )
        return [key for (key,) in found if key.startswith(prefix)]

    def append(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> None:
        """As ``Store`` says."""
        growing = self._growing.get((owner, key))
        if growing is None or not self._added(growing, entry):
            growing = self._opened(owner, key, entry, ttl_secs)
        self._note(growing, len(entry))

    def _added(self, growing: _Growing, entry: bytes) -> bool:
        """Whether the entry could be added to the item as it is known: it may have been removed,
        by another gateway too, which may also have taken the number."""
        now = self._now()
        if growing.is_due(now):
            return False
        done = self._execute(
            "INSERT OR IGNORE INTO parts SELECT id, ?, ? FROM items"
            " WHERE id = ? AND owner = ? AND key = ?",
            (growing.last + 1, entry, growing.item, growing.owner, growing.key),
        )
        if done.rowcount == 1:
            growing.last, growing.used = growing.last + 1, now
            growing.added += len(entry)
        return done.rowcount == 1

    def _opened(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> _Growing:
        """The item as the file has it, with this entry; a new one where there is none."""
        self._settle_item(owner, key)
        now = self._now()
        found = self._execute(
            "SELECT id, (SELECT coalesce(max(n), 0) + 1 FROM parts WHERE item = id), used, ttl"
            " FROM items WHERE owner = ? AND key = ? AND used + ttl > ?",
            (owner, key, now),
        ).fetchone()
        if found is None:
            return self._begun(owner, key, entry, ttl_secs)
        item, n, used, ttl = found
        self._execute("INSERT INTO parts VALUES (?, ?, ?)", (item, n, entry))
        return _Growing(owner, key, item, n, now, used, ttl, len(entry))

    def _begun(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> _Growing:
        """A new item, in the place of one that there may be."""
        now = self._now()
        item = self._number(
            "INSERT OR REPLACE INTO items (owner, key, bytes, used, ttl) VALUES (?, ?, ?, ?, ?)"
            " RETURNING id",
            (owner, key, len(entry), now, ttl_secs),
        )
        self._execute("INSERT INTO parts VALUES (?, 1, ?)", (item, entry))
        return _Growing(owner, key, item, 1, now, now, ttl_secs)

    def _note(self, growing: _Growing, added: int) -> None:
        """Keep in mind that so many bytes were added, and write it once that is much."""
        self._growing.pop((growing.owner, growing.key), None)
        self._growing[growing.owner, growing.key] = growing  # at the end
        self._unlooked_bytes += added
        if (
            self._unlooked_bytes >= self._looked_bytes
            or len(self._growing) >= self._looked_items
            or growing.is_due(growing.used)
        ):
            self._settle()

    def _settle_item(self, owner: str, key: str) -> None:
        growing = self._growing.get((owner, key))
        if growing is not None and growing.is_ahead():
            self._settle()

    def _settle(self) -> None:
        """Write what those have come to that entries were added to, and keep to the bounds."""
        grown = list(self._growing.values())
        self._growing, self._unlooked_bytes = {}, 0
        if not grown:
            return
        self._db.executemany(
            "UPDATE items SET used = max(used, ?), bytes = bytes + ?"
            " WHERE id = ? AND owner = ? AND key = ?",
            [(it.used, it.added, it.item, it.owner, it.key) for it in grown if it.is_ahead()],
        )
        for owner, item in {it.owner: it.item for it in grown}.items():
            self._make_room(owner, item)
        self._shrink(grown[-1].item)

    def entries(self, owner: str, key: str) -> list[bytes]:
        """As ``Store`` says."""
        self._settle_item(owner, key)
        item = self._used(owner, key)
        found = self._execute("SELECT value FROM parts WHERE item = ? ORDER BY n", (item,))
        return [value for (value,) in found]

    def update(self, owner: str, key: str, change: Update, ttl_secs: float) -> bytes:
        """As ``Store`` says."""
        value = change(self.get(owner, key))
        self.put(owner, key, value, ttl_secs)
        return value

    def purge(self) -> None:
        """Forget what is past its time, and above the bound of all owners what is oldest."""
        self._settle()
        self._execute("DELETE FROM items WHERE used + ttl <= ?", (self._now(),))
        self._shrink(0)
        self._purged = True

    def _used(self, owner: str, key: str) -> int | None:
        now = self._now()
        found = self._execute(
            "UPDATE items SET used = ? WHERE owner = ? AND key = ? AND used + ttl > ? RETURNING id",
            (now, owner, key, now),
        ).fetchall()
        return int(found[0][0]) if found else None

    def _make_room(self, owner: str, kept: int) -> None:
        size, count = self._execute(
            "SELECT total(bytes), count(*) FROM items WHERE owner = ?", (owner,)
        ).fetchone()
        while size > self._bounds.owner_bytes or count > self._bounds.owner_items:
            freed = self._drop_oldest("owner = ? AND id != ?", (owner, kept))
            if freed is None:
                break
            size, count = size - freed, count - 1

    def _shrink(self, kept: int) -> None:
        while self._used_bytes() > self._bounds.all_bytes:
            if self._drop_oldest("id != ?", (kept,)) is None:
                return

    def _drop_oldest(self, which: str, values: tuple[object, ...]) -> int | None:
        """The bytes of the item that was dropped; None where there is none."""
        found = self._execute(
            f"DELETE FROM items WHERE id = (SELECT id FROM items WHERE {which}"  # noqa: S608
            " ORDER BY used LIMIT 1) RETURNING bytes",
            values,
        ).fetchall()
        return int(found[0][0]) if found else None

    def _used_bytes(self) -> int:
        pages = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return pages * self._page_bytes

    def _number(self, statement: str, values: tuple[object, ...] = ()) -> int:
        return int(self._execute(statement, values).fetchall()[0][0])
