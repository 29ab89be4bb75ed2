"""The store as the gateway uses it: over kills, with another gateway, over faults of the file."""

import asyncio
import logging
import random
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mcproxy.store.interface import Medium, StoreBounds
from mcproxy.store.local_store import LocalStore
from mcproxy.store.sqlite_tables import SqliteTables
from tests.store.writing import one_more

TTL = 3600.0
WRITER = "tests.store.writing"
ENDLESS = 1_000_000
BOUND_SECS = 20


def writer(path: Path, name: str, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.requirement("store.crash_safe")
async def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    luck = random.Random(7)  # noqa: S311  # moments, no secrets
    counted = 0
    for turn in range(8):
        process = writer(path, f"turn{turn}", ENDLESS)
        assert process.stdout
        acknowledged = [process.stdout.readline() for _ in range(luck.randrange(1, 60))]
        process.kill()
        acknowledged += process.stdout.readlines()
        process.stdout.close()
        process.wait()
        said = [int(line) for line in acknowledged if line.endswith("\n")]
        async with LocalStore(path, StoreBounds()) as store:
            entries = [int(entry) for entry in await store.entries(f"turn{turn}", "journal")]
            count = int(await store.get("all", "count") or b"0")
        assert entries == list(range(len(entries)))
        assert len(said) <= len(entries) <= len(said) + 1  # one may be written and not yet said
        assert counted + len(said) <= count <= counted + len(said) + 1
        counted = count


@pytest.mark.requirement("store.two_gateways")
async def test_two_gateways_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    both = [writer(path, name, 200) for name in ("one", "two")]
    for process in both:
        process.communicate()
        assert process.returncode == 0
    async with LocalStore(path, StoreBounds()) as store:
        assert await store.get("all", "count") == b"400"
        for name in ("one", "two"):
            assert len(await store.entries(name, "journal")) == 200


async def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "store.db"
    async with LocalStore(path, StoreBounds()) as store:
        await store.put("a", "k", b"v", TTL)
        modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def damaged(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def of_a_later_version(path: Path) -> None:
    SqliteTables(path, StoreBounds()).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


FAULTS = [damaged, of_a_later_version, a_folder, a_link]


@pytest.mark.requirement("store.falls_back")
@pytest.mark.parametrize("fault", FAULTS)
async def test_memory_takes_over_from_a_file_that_cannot_be_used(
    fault: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store.db"
    assert callable(fault)
    fault(path)
    async with LocalStore(path, StoreBounds()) as store:
        await store.put("a", "k", b"v", TTL)
        assert await store.get("a", "k") == b"v"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(path) in caplog.text


@pytest.mark.requirement("store.falls_back")
async def test_memory_takes_over_from_a_file_that_breaks_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store.db"
    async with LocalStore(path, StoreBounds()) as store:
        await store.put("a", "before", b"v", TTL)
        with sqlite3.connect(path) as other:
            other.execute("DROP TABLE parts")
        other.close()
        await asyncio.gather(*(store.put("a", f"k{n}", b"v", TTL) for n in range(10)))
        assert len(await store.keys("a", "k")) == 10
    assert len(caplog.records) == 1


async def test_nobody_waits_without_end_for_a_file_that_others_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    async with LocalStore(path, StoreBounds()) as store:
        await store.put("a", "before", b"v", TTL)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with monkeypatch.context() as hasty:
            hasty.setattr("mcproxy.store.local_store._ANSWER_SECS", 0.01)
            with pytest.raises(TimeoutError):
                await store.put("a", "k", b"v", TTL)
        other.execute("ROLLBACK")
        other.close()
        assert await store.get("a", "k") == b"v"  # what was asked for is done all the same


async def test_a_change_that_raises_is_its_callers_alone(tmp_path: Path) -> None:
    def raising(before: bytes | None) -> bytes:
        raise ValueError(before)

    async with LocalStore(tmp_path / "store.db", StoreBounds()) as store:
        kept = store.put("a", "k", b"v", TTL)
        changed = store.update("a", "k", raising, TTL)
        _, fault = await asyncio.gather(kept, changed, return_exceptions=True)
        assert isinstance(fault, ValueError)
        assert await store.get("a", "k") == b"v"


async def test_nothing_is_lost_in_a_crowd(tmp_path: Path) -> None:
    async with LocalStore(tmp_path / "store.db", StoreBounds()) as store:
        await asyncio.gather(*(store.update("a", "n", one_more, TTL) for _ in range(1000)))
        assert await store.get("a", "n") == b"1000"


async def test_what_was_asked_for_is_written_on_leaving(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with LocalStore(path, StoreBounds()) as store:
        asked = [asyncio.ensure_future(store.append("a", "j", b"x", TTL)) for _ in range(500)]
        await asked[0]
    await asyncio.gather(*asked)
    async with LocalStore(path, StoreBounds()) as store:
        assert len(await store.entries("a", "j")) == 500


def test_room_is_given_back_to_the_file_system(tmp_path: Path) -> None:
    path, now = tmp_path / "store.db", 1000.0
    tables: Medium = SqliteTables(path, StoreBounds(), lambda: now)
    with tables.transaction():
        for n in range(20):
            tables.put("a", str(n), bytes(1 << 20), 10.0)
    assert used(path) > 20 << 20
    now += 11
    with tables.transaction():
        tables.purge()
    tables.tidy()
    assert used(path) < 1 << 20
    tables.close()


def test_gateways_may_add_to_one_item_and_remove_it(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    one, two = SqliteTables(path, StoreBounds()), SqliteTables(path, StoreBounds())
    for n in range(6):
        (one if n % 3 else two).append("a", "j", b"%d" % n, TTL)
    assert one.entries("a", "j") == [b"0", b"1", b"2", b"3", b"4", b"5"]
    one.append("a", "j", b"6", TTL)
    assert two.remove("a", "j")
    two.append("a", "another", b"x", TTL)  # may have the number of the one that was removed
    one.append("a", "j", b"anew", TTL)
    assert two.entries("a", "j") == [b"anew"]
    assert one.entries("a", "another") == [b"x"]
    one.put("b", "only", b"x", TTL)
    assert two.remove("b", "only")
    for tables in (one, two):
        tables.purge()
    assert said(path) == sums(path) == {"j": 4, "another": 1}
    for tables in (one, two):
        tables.close()


def test_what_is_added_to_is_past_its_time_for_no_other_gateway(tmp_path: Path) -> None:
    now = 1000.0
    one, two = (SqliteTables(tmp_path / "s.db", StoreBounds(), lambda: now) for _ in range(2))
    for _ in range(50):
        one.append("a", "j", b"x", 10.0)
        now += 1.0
        two.purge()
    assert len(two.entries("a", "j")) == 50
    for tables in (one, two):
        tables.close()


def test_bounds_hold_while_nothing_but_entries_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    tables = SqliteTables(path, StoreBounds(owner_items=100, owner_bytes=100_000))
    for n in range(300):
        tables.append("many", f"{n:03}", b"", TTL)
        assert len(sums(path)) < 110
    for n in range(300):
        tables.append("large", f"{n // 10:03}", bytes(2000), TTL)
        assert sum(sums(path).values()) < 115_000
    tables.close()


async def test_after_an_orderly_end_the_sums_are_right(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with LocalStore(path, StoreBounds()) as store:
        for entry in (b"one", b"two", b"three"):
            await store.append("a", "j", entry, TTL)
    assert said(path) == {"j": 11}


def sums(path: Path) -> dict[str, int]:
    """The bytes of each item's entries."""
    return asked(
        path, "SELECT key, sum(length(value)) FROM items JOIN parts ON item = id GROUP BY id"
    )


def said(path: Path) -> dict[str, int]:
    """What is written of them."""
    return asked(path, "SELECT key, bytes FROM items")


def asked(path: Path, statement: str) -> dict[str, int]:
    database = sqlite3.connect(path)
    found = database.execute(statement).fetchall()
    database.close()
    return dict(found)


def used(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.iterdir())


async def test_what_nobody_waits_for_is_written_before_all_that_follows_and_soon(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    async with LocalStore(path, StoreBounds()) as store, LocalStore(path, StoreBounds()) as other:
        for entry in (b"one", b"two"):
            store.append_later("a", "j", entry, TTL)
        await store.append("a", "j", b"three", TTL)
        assert await other.entries("a", "j") == [b"one", b"two", b"three"]
        store.append_later("a", "j", b"four", TTL)
        assert await store.keys("a", "j") == ["j"]
        assert (await other.entries("a", "j"))[3:] == [b"four"]
        store.append_later("a", "j", b"five", TTL)
        async with asyncio.timeout(BOUND_SECS):  # nothing else is asked of it
            while (await other.entries("a", "j"))[4:] != [b"five"]:
                pass
        store.append_later("a", "j", b"six", TTL)
    async with LocalStore(path, StoreBounds()) as store:
        assert (await store.entries("a", "j"))[5:] == [b"six"]
