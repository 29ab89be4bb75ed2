"""What every place to keep things in does alike: one table, run over memory, over a file, and over
a store that gateways share."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TypeAlias

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from mcproxy.store.interface import Medium, StoreBounds, Update
from mcproxy.store.memory_tables import MemoryTables
from mcproxy.store.shared_store import SharedStore
from mcproxy.store.sqlite_tables import SqliteTables
from tests.shared_state import NEEDED, StateServer, state_server

TTL = 10.0


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 0.001  # so that every use has a time of its own
        return self.now


Make: TypeAlias = Callable[[StoreBounds], Medium]


@pytest.fixture
def clock() -> Clock:
    return Clock()


class SharedTables:
    """The shared store from outside of its event loop."""

    def __init__(self, store: SharedStore, portal: BlockingPortal) -> None:
        self._store, self._portal = store, portal

    def transaction(self) -> AbstractContextManager[None]:
        return nullcontext()  # each operation is one

    def tidy(self) -> None:
        pass

    def close(self) -> None:
        pass

    def put(self, owner: str, key: str, value: bytes, ttl_secs: float) -> None:
        self._portal.call(self._store.put, owner, key, value, ttl_secs)

    def get(self, owner: str, key: str) -> bytes | None:
        return self._portal.call(self._store.get, owner, key)

    def remove(self, owner: str, key: str) -> bool:
        return self._portal.call(self._store.remove, owner, key)

    def keys(self, owner: str, prefix: str) -> list[str]:
        return self._portal.call(self._store.keys, owner, prefix)

    def append(self, owner: str, key: str, entry: bytes, ttl_secs: float) -> None:
        self._portal.call(self._store.append, owner, key, entry, ttl_secs)

    def entries(self, owner: str, key: str) -> list[bytes]:
        return self._portal.call(self._store.entries, owner, key)

    def update(self, owner: str, key: str, change: Update, ttl_secs: float) -> bytes:
        return self._portal.call(self._store.update, owner, key, change, ttl_secs)

    def purge(self) -> None:
        self._portal.call(self._store.purge)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateServer]:
    yield from state_server(tmp_path_factory.mktemp("shared"))


@pytest.fixture(params=["memory", "file", pytest.param("shared", marks=NEEDED)])
def make(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Make]:
    with ExitStack() as opened:

        def shared(bounds: StoreBounds) -> SharedTables:
            server: StateServer = request.getfixturevalue("server")
            portal = opened.enter_context(start_blocking_portal())
            store = portal.call(SharedStore, server.url, secrets.token_hex(4), bounds, clock)
            opened.enter_context(portal.wrap_async_context_manager(store))
            return SharedTables(store, portal)

        def tables(bounds: StoreBounds) -> Medium:
            if request.param == "shared":
                return shared(bounds)
            local = (
                MemoryTables(bounds, clock)
                if request.param == "memory"
                else SqliteTables(tmp_path / "state" / "store.db", bounds, clock)
            )
            opened.callback(local.close)
            return local

        yield tables


@pytest.fixture
def tables(make: Make) -> Medium:
    return make(StoreBounds())


def test_a_value_is_its_owners(tables: Medium) -> None:
    tables.put("a", "k", b"one", TTL)
    tables.put("b", "k", b"two", TTL)
    tables.put("a", "k", b"three", TTL)
    assert (tables.get("a", "k"), tables.get("b", "k")) == (b"three", b"two")
    assert tables.get("c", "k") is None
    assert tables.get("a", "other") is None


def test_a_removed_value_is_gone(tables: Medium) -> None:
    tables.put("a", "k", b"", TTL)
    assert tables.get("a", "k") == b""
    assert tables.remove("a", "k")
    assert not tables.remove("a", "k")
    assert tables.get("a", "k") is None


def test_keys_are_listed_by_prefix(tables: Medium) -> None:
    for key in ("stash/b", "stash/a", "result/1", "stash/%"):
        tables.put("a", key, b"", TTL)
    assert tables.keys("a", "stash/") == ["stash/%", "stash/a", "stash/b"]
    assert tables.keys("b", "") == []


def test_a_journal_keeps_its_order(tables: Medium) -> None:
    for n in range(20):
        tables.append("a", "j", str(n).encode(), TTL)
    assert tables.entries("a", "j") == [str(n).encode() for n in range(20)]
    assert tables.entries("b", "j") == []


def test_an_update_sees_what_there_is(tables: Medium) -> None:
    def one_more(before: bytes | None) -> bytes:
        return str(int(before or b"0") + 1).encode()

    assert [tables.update("a", "n", one_more, TTL) for _ in range(3)] == [b"1", b"2", b"3"]
    assert tables.get("a", "n") == b"3"


def test_each_use_begins_the_time_to_live_anew(tables: Medium, clock: Clock) -> None:
    tables.put("a", "read", b"x", TTL)
    tables.put("a", "left", b"x", TTL)
    tables.append("a", "journal", b"x", TTL)
    for _ in range(3):
        clock.now += TTL * 0.6
        assert tables.get("a", "read") == b"x"
        tables.append("a", "journal", b"x", TTL)
    assert tables.keys("a", "") == ["journal", "read"]
    assert tables.get("a", "left") is None
    assert not tables.remove("a", "left")
    assert len(tables.entries("a", "journal")) == 4


def test_what_is_past_its_time_begins_anew(tables: Medium, clock: Clock) -> None:
    tables.append("a", "j", b"old", TTL)
    clock.now += TTL + 1
    tables.append("a", "j", b"new", TTL)
    assert tables.entries("a", "j") == [b"new"]


def test_an_owners_budget_drops_what_is_unused_for_longest(make: Make) -> None:
    tables = make(StoreBounds(owner_bytes=100))
    for key in "abc":
        tables.put("me", key, bytes(30), TTL)
    tables.get("me", "a")
    tables.put("other", "x", bytes(90), TTL)
    tables.put("me", "d", bytes(30), TTL)
    assert tables.keys("me", "") == ["a", "c", "d"]
    assert tables.keys("other", "") == ["x"]


def test_a_journal_is_dropped_whole_and_never_for_its_own_entry(make: Make) -> None:
    tables = make(StoreBounds(owner_bytes=100))
    for _ in range(3):
        tables.append("me", "old", bytes(20), TTL)
    for _ in range(6):
        tables.append("me", "new", bytes(20), TTL)
    assert tables.entries("me", "old") == []
    assert len(tables.entries("me", "new")) == 6


def test_many_small_items_are_bounded_too(make: Make) -> None:
    tables = make(StoreBounds(owner_items=5))
    for n in range(20):
        tables.put("me", f"{n:02}", b"", TTL)
    assert tables.keys("me", "") == ["15", "16", "17", "18", "19"]


def test_all_owners_together_are_bounded(make: Make) -> None:
    tables = make(StoreBounds(owner_bytes=1 << 20, all_bytes=1 << 20))
    for n in range(40):
        tables.put(f"owner{n}", "k", bytes(100_000), TTL)
    left = [n for n in range(40) if tables.keys(f"owner{n}", "")]
    assert left
    assert left == list(range(left[0], 40))
    assert 5 <= len(left) <= 10


def test_a_purge_forgets_what_is_past_its_time(make: Make, clock: Clock) -> None:
    tables = make(StoreBounds())
    with tables.transaction():
        tables.put("a", "short", b"x", TTL)
        tables.put("a", "long", b"x", 10 * TTL)
    clock.now += 2 * TTL
    with tables.transaction():
        tables.purge()
    clock.now -= 2 * TTL
    assert tables.keys("a", "") == ["long"]


def test_what_is_done_in_one_transaction_is_as_if_one_after_another(make: Make) -> None:
    """Entries for one item in a row, for others between, and whatever else comes between them."""
    tables = make(StoreBounds(owner_bytes=20))
    with tables.transaction():
        for key in ("j", "j", "k", "j"):
            tables.append("a", key, key.encode(), TTL)
        assert tables.entries("a", "j") == [b"j", b"j", b"j"]
        tables.append("a", "k", b"more", TTL)
        assert tables.remove("a", "k")
        tables.append("a", "k", b"anew", TTL)
        tables.append("b", "j", b"another's", TTL)
        tables.put("a", "v", b"value", TTL)
        assert tables.update("a", "v", lambda value: (value or b"") + b"s", TTL) == b"values"
        assert tables.keys("a", "") == ["j", "k", "v"]
    assert tables.entries("a", "k") == [b"anew"]
    assert tables.entries("b", "j") == [b"another's"]
    with tables.transaction():
        tables.append("a", "v", b"x" * 10, TTL)  # 23 bytes in all: the oldest has to go
    assert tables.keys("a", "") == ["k", "v"]
