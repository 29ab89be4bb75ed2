"""What is kept in a SQLite file, which survives the process, whatever ends it.

Write-ahead logging: what is committed is there after a kill of the process (after a loss of power
the last moments may be missing, the file is whole), and two gateways may share the file. Used by
one thread, which puts transactions around these operations.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from mcproxy.store.interface import StoreBounds, Update

_VERSION = 1
_BUSY_SECS = 5.0  # another gateway's transaction takes milliseconds
_MAX_LOG_BYTES = 4 << 20  # of the write-ahead log between two uses
_FREED_PAGES = 10_000  # given back to the file system at a time, some 40 MB
# Added to an item at a time, after which the whole file is looked at, as it is after each new item.
_LOOKED_BYTES = 64 << 10

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
    """The item that entries are added to, in one transaction: its last entry's number, and the
    bytes that were added."""

    owner: str
    key: str
    item: int
    last: int
    is_new: bool
    added: int = 0


class SqliteTables:
    """``Tables`` in the file at ``path``, which is made, for its owner's eyes alone. Raises
    OSError and sqlite3.Error for one that cannot be used."""

    def __init__(
        self, path: Path, bounds: StoreBounds, now: Callable[[], float] = time.time
    ) -> None:
        self._bounds, self._now = bounds, now
        self._purged = False
        self._growing: _Growing | None = None
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        self._db = sqlite3.connect(
            path, timeout=_BUSY_SECS, isolation_level=None, check_same_thread=False
        )
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
        ):
            self._db.execute(f"PRAGMA {setting}")
        with self.transaction():
            self._migrate()

    def _migrate(self) -> None:
        version = self._number("PRAGMA user_version")
        if version > _VERSION:
            raise ForeignSchema(f"its schema is version {version}; this program knows {_VERSION}")
        if version < _VERSION:
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {_VERSION}")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """As ``Medium`` says; no other gateway writes meanwhile."""
        self._db.execute("BEGIN IMMEDIATE")
        self._growing = None  # of a transaction that failed
        yield
        self._settle()
        self._db.execute("COMMIT")
        if self._purged:
            self._purged = False
            self._give_back()

    def close(self) -> None:
        """Let go of the file; what was not committed is forgotten."""
        self._db.close()

    def put(self, owner: str, key: str, value: bytes, ttl_secs: float) -> None:
        """As ``Store`` says."""
        self.remove(owner, key)
        self.append(owner, key, value, ttl_secs)

    def get(self, owner: str, key: str) -> bytes | None:
        """As ``Store`` says."""
        parts = self.entries(owner, key)
        return parts[0] if parts else None

    def remove(self, owner: str, key: str) -> bool:
        """As ``Store`` says."""
        self._settle()
        ends = self._db.execute(
            "DELETE FROM items WHERE owner = ? AND key = ? RETURNING used + ttl", (owner, key)
        ).fetchall()
        return any(self._now() < end for (end,) in ends)

    def keys(self, owner: str, prefix: str) -> list[str]:
        """As ``Store`` says."""
        self._settle()
        found = self._db.execute(
            "SELECT key FROM items WHERE owner = ? AND used + ttl > ? ORDER BY key",
            (owner, self._now()),
        )
        return [key for (key,) in found if key.startswith(prefix)]

    def append(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> None:
        """As ``Store`` says. What an item comes to is written once for entries in a row."""
        growing = self._growing
        if growing is None or (growing.owner, growing.key) != (owner, key):
            self._settle()
            growing = self._growing = self._opened(owner, key, ttl_secs)
        growing.last += 1
        growing.added += len(entry)
        self._db.execute("INSERT INTO parts VALUES (?, ?, ?)", (growing.item, growing.last, entry))
        if not self._db.in_transaction:
            self._settle()

    def _opened(self, owner: str, key: str, ttl_secs: float) -> _Growing:
        found = self._db.execute(
            "SELECT id, (SELECT coalesce(max(n), 0) FROM parts WHERE item = id) FROM items"
            " WHERE owner = ? AND key = ? AND used + ttl > ?",
            (owner, key, self._now()),
        ).fetchone()
        if found:
            item, last = found
            return _Growing(owner, key, item, last, is_new=False)
        self.remove(owner, key)  # one past its time
        item = self._number(
            "INSERT INTO items (owner, key, bytes, used, ttl) VALUES (?, ?, 0, ?, ?) RETURNING id",
            (owner, key, self._now(), ttl_secs),
        )
        return _Growing(owner, key, item, 0, is_new=True)

    def _settle(self) -> None:
        """Write what the item has come to that entries were added to, and keep to the bounds."""
        growing, self._growing = self._growing, None
        if growing is not None:
            self._db.execute(
                "UPDATE items SET used = ?, bytes = bytes + ? WHERE id = ?",
                (self._now(), growing.added, growing.item),
            )
            self._make_room(growing.owner, growing.item)
            if growing.added >= _LOOKED_BYTES or growing.is_new:
                self._shrink(growing.item)

    def entries(self, owner: str, key: str) -> list[bytes]:
        """As ``Store`` says."""
        self._settle()
        item = self._used(owner, key)
        found = self._db.execute("SELECT value FROM parts WHERE item = ? ORDER BY n", (item,))
        return [value for (value,) in found]

    def update(self, owner: str, key: str, change: Update, ttl_secs: float) -> bytes:
        """As ``Store`` says."""
        value = change(self.get(owner, key))
        self.put(owner, key, value, ttl_secs)
        return value

    def purge(self) -> None:
        """Forget what is past its time, and above the bound of all owners what is oldest; give the
        room back to the file system."""
        self._settle()
        self._db.execute("DELETE FROM items WHERE used + ttl <= ?", (self._now(),))
        self._shrink(0)
        self._purged = True

    def _give_back(self) -> None:
        """Give free room back to the file system; outside of a transaction."""
        # A script: ``execute`` would take the first step alone, which is one page.
        self._db.executescript(f"PRAGMA incremental_vacuum({_FREED_PAGES})")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _used(self, owner: str, key: str) -> int | None:
        now = self._now()
        found = self._db.execute(
            "UPDATE items SET used = ? WHERE owner = ? AND key = ? AND used + ttl > ? RETURNING id",
            (now, owner, key, now),
        ).fetchall()
        return int(found[0][0]) if found else None

    def _make_room(self, owner: str, kept: int) -> None:
        size, count = self._db.execute(
            "SELECT sum(bytes), count(*) FROM items WHERE owner = ?", (owner,)
        ).fetchone()
        while size > self._bounds.owner_bytes or count > self._bounds.owner_items:
            freed = self._drop_oldest("owner = ? AND id != ?", (owner, kept))
            if freed is None:
                break
            size, count = size - freed, count - 1

    def _shrink(self, kept: int) -> None:
        if self._pages() <= self._bounds.all_bytes:
            return
        while self._pages() > self._bounds.all_bytes:
            if self._drop_oldest("id != ?", (kept,)) is None:
                return

    def _drop_oldest(self, which: str, values: tuple[object, ...]) -> int | None:
        """The bytes of the item that was dropped; None where there is none."""
        found = self._db.execute(
            f"DELETE FROM items WHERE id = (SELECT id FROM items WHERE {which}"  # noqa: S608
            " ORDER BY used LIMIT 1) RETURNING bytes",
            values,
        ).fetchall()
        return int(found[0][0]) if found else None

    def _pages(self) -> int:
        """Bytes of the file in use."""
        pages = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return pages * self._number("PRAGMA page_size")

    def _number(self, statement: str, values: tuple[object, ...] = ()) -> int:
        return int(self._db.execute(statement, values).fetchall()[0][0])
