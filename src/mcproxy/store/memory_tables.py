"""What is kept in this process alone, and goes with it."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import msgspec

from mcproxy.store.interface import StoreBounds, Update


class _Item(msgspec.Struct):
    ttl_secs: float
    used: float
    parts: list[bytes] = msgspec.field(default_factory=list)
    size: int = 0

    def add(self, part: bytes) -> None:
        self.parts.append(part)
        self.size += len(part)


class MemoryTables:
    """``Tables`` of dicts: an owner's items are in the order of their last use."""

    def __init__(self, bounds: StoreBounds, now: Callable[[], float] = time.time) -> None:
        self._bounds, self._now = bounds, now
        self._owners: dict[str, dict[str, _Item]] = {}
        self._bytes: Counter[str] = Counter()  # of each owner
        self._all_bytes = 0

    def transaction(self) -> AbstractContextManager[None]:
        """As ``Medium`` says: there is nobody else."""
        return nullcontext()

    def tidy(self) -> None:
        """Nothing takes long."""

    def close(self) -> None:
        """Nothing to let go of."""

    def put(self, owner: str, key: str, value: bytes, ttl_secs: float) -> None:
        """As ``Store`` says."""
        self.remove(owner, key)
        self.append(owner, key, value, ttl_secs)

    def get(self, owner: str, key: str) -> bytes | None:
        """As ``Store`` says."""
        item = self._used(owner, key)
        return item.parts[0] if item else None

    def remove(self, owner: str, key: str) -> bool:
        """As ``Store`` says."""
        found = self._used(owner, key) is not None
        if found:
            self._drop(owner, key)
        return found

    def keys(self, owner: str, prefix: str) -> list[str]:
        """As ``Store`` says."""
        items = self._owners.get(owner, {})
        return sorted(key for key in items if key.startswith(prefix) and self._lives(items[key]))

    def append(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> None:
        """As ``Store`` says."""
        item = self._used(owner, key)
        if item is None:
            item = _Item(ttl_secs, self._now())
            self._owners.setdefault(owner, {})[key] = item
        item.add(entry)
        self._sum(owner, len(entry))
        self._make_room(owner, key)

    def entries(self, owner: str, key: str) -> list[bytes]:
        """As ``Store`` says."""
        item = self._used(owner, key)
        return list(item.parts) if item else []

    def update(self, owner: str, key: str, change: Update, ttl_secs: float) -> bytes:
        """As ``Store`` says."""
        value = change(self.get(owner, key))
        self.put(owner, key, value, ttl_secs)
        return value

    def purge(self) -> None:
        """Forget what is past its time, and above the bound of all owners what is oldest."""
        gone = [
            (owner, key)
            for owner, items in self._owners.items()
            for key, item in items.items()
            if not self._lives(item)
        ]
        for owner, key in gone:
            self._drop(owner, key)
        self._shrink()

    def _lives(self, item: _Item) -> bool:
        return self._now() < item.used + item.ttl_secs

    def _used(self, owner: str, key: str) -> _Item | None:
        items = self._owners.get(owner, {})
        item = items.get(key)
        if item is None:
            return None
        if not self._lives(item):
            self._drop(owner, key)
            return None
        item.used = self._now()
        items[key] = items.pop(key)  # last in the order
        return item

    def _drop(self, owner: str, key: str) -> None:
        items = self._owners[owner]
        self._sum(owner, -items.pop(key).size)
        if not items:
            del self._owners[owner], self._bytes[owner]

    def _sum(self, owner: str, added: int) -> None:
        self._bytes[owner] += added
        self._all_bytes += added

    def _make_room(self, owner: str, kept: str) -> None:
        items = self._owners[owner]
        bounds = self._bounds
        while self._bytes[owner] > bounds.owner_bytes or len(items) > bounds.owner_items:
            oldest = next((key for key in items if key != kept), None)
            if oldest is None:
                break
            self._drop(owner, oldest)
        self._shrink((owner, kept))

    def _shrink(self, kept: tuple[str, str] | None = None) -> None:
        if self._all_bytes <= self._bounds.all_bytes:
            return
        every = [
            (item.used, owner, key)
            for owner, items in self._owners.items()
            for key, item in items.items()
            if (owner, key) != kept
        ]
        for _, owner, key in sorted(every):
            if self._all_bytes <= self._bounds.all_bytes:
                return
            self._drop(owner, key)
