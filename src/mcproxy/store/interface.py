"""The seam between what is kept and where it is kept.

An item belongs to an owner and has a key; it is one value, or a journal to which entries are only
added. It goes when it was not used for its time to live, or when its owner's budget needs the room:
items go whole, the one unused for longest first, so that a journal is there entirely or not at all.
Owners and keys are opaque here: who may use what is decided before.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

import msgspec

Update: TypeAlias = Callable[[bytes | None], bytes]
"""The next value of an item, from the one that it has (None: there is no such item). Pure: it may
be asked more than once."""


class StoreBounds(msgspec.Struct, frozen=True):
    """How much is kept; in a file a sixteenth more at times, or 64 KiB where that is less. Bytes
    count values; ``owner_items`` bounds what many small ones cost."""

    owner_bytes: int = 64 << 20
    owner_items: int = 1000
    all_bytes: int = 1 << 30


DECISIONS_FILE = "decisions.db"
"""What people decided, in the state directory; apart, so that nothing that a client or a server
sends can push it out."""

SESSIONS_BOUNDS = StoreBounds(owner_bytes=4 << 20, owner_items=256, all_bytes=1 << 30)
"""Of what gateways tell each other of sessions: 4 MiB of each, what was sent to it included."""

DECISIONS_BOUNDS = StoreBounds(owner_bytes=1 << 30, owner_items=100_000, all_bytes=2 << 30)


class Tables(Protocol):
    """The operations of ``Store``, for one thread and without waiting; raise what the medium
    raises. ``purge`` forgets what is past its time, and what is above the bound of all owners."""

    def put(self, owner: str, key: str, value: bytes, ttl_secs: float) -> None: ...
    def get(self, owner: str, key: str) -> bytes | None: ...
    def remove(self, owner: str, key: str) -> bool: ...
    def keys(self, owner: str, prefix: str) -> list[str]: ...
    def append(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> None: ...
    def entries(self, owner: str, key: str) -> list[bytes]: ...
    def update(self, owner: str, key: str, change: Update, ttl_secs: float) -> bytes: ...
    def purge(self) -> None: ...


class Medium(Tables, Protocol):
    """Tables that are worked on in transactions."""

    def transaction(self) -> AbstractContextManager[None]:
        """What is done within is kept as a whole once this has been left, or not at all."""

    def tidy(self) -> None:
        """Do what takes long and nobody waits for, between transactions."""

    def close(self) -> None: ...


class Store(Protocol):
    """What is kept, for the event loop. Nothing here raises for a medium that fails: a store then
    goes on in memory, and says so once in the log."""

    async def put(self, owner: str, key: str, value: bytes, ttl_secs: float) -> None:
        """Keep ``value``, in the place of the item that has this key."""

    async def get(self, owner: str, key: str) -> bytes | None:
        """The value, whose time to live begins anew; None where there is none."""

    async def remove(self, owner: str, key: str) -> bool:
        """Forget an item; whether there was one."""

    async def keys(self, owner: str, prefix: str) -> list[str]:
        """The owner's keys that begin so, sorted."""

    async def append(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> None:
        """Add an entry to a journal. When this returns, a kill of the process does not lose it."""

    def append_later(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> None:
        """The same soon, without waiting; what is asked for after it finds it done."""

    async def entries(self, owner: str, key: str) -> list[bytes]:
        """A journal's entries in the order in which they were added; none where there is none."""

    async def update(self, owner: str, key: str, change: Update, ttl_secs: float) -> bytes:
        """Replace a value by what ``change`` makes of it, with nothing in between, by another
        gateway neither; gives the new value."""
