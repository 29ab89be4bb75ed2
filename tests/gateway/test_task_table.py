"""Tasks as they are kept: what other processes of the gateway see of them, and what is left."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from mcproxy.gateway.extensions.task_table import (
    LEASE_SECS,
    MOST_TTL_SECS,
    TTL_SECS,
    TaskRecord,
    TaskTable,
)
from mcproxy.gateway.journal import this_process
from mcproxy.store.interface import StoreBounds
from mcproxy.store.local_store import LocalStore
from mcproxy.types import Json

OWNER = "ada"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    async with LocalStore(tmp_path / "store.db", StoreBounds()) as made:
        yield made


async def keep(store: LocalStore, record: TaskRecord, result: bytes = b"") -> None:
    entry = msgspec.json.encode(record) + (b"\n" + result if result else b"")
    await store.append(OWNER, f"task/{record.id}", entry, TTL_SECS)


def record(process: str, age_secs: float = 0.0) -> TaskRecord:
    then = time.time() - age_secs
    return TaskRecord("t1", then, then, TTL_SECS, process)


async def status(store: LocalStore) -> str | None:
    found = await TaskTable(store).find(OWNER, "t1")
    return found.record.status if found else None


@pytest.mark.requirement("tasks.restart")
@pytest.mark.parametrize(
    ("process", "age_secs", "seen"),
    [
        ("", 0, "failed"),  # of this machine, and no process of it
        ("another:machine:1:2", 0, "working"),
        ("another:machine:1:2", 3 * LEASE_SECS, "failed"),
        ("another:machine:1:2", TTL_SECS + 1, None),
    ],
)
async def test_what_runs_elsewhere(
    store: LocalStore, process: str, age_secs: float, seen: str | None
) -> None:
    here = this_process().rsplit(":", 2)[0]
    await keep(store, record(process or f"{here}:999999999:1", age_secs))
    assert await status(store) == seen
    if seen is None:
        assert await store.keys(OWNER, "task/") == []


async def test_of_a_lost_script_it_is_told_how_it_goes_on(store: LocalStore) -> None:
    lost = replace(record(this_process()), execution="e1", session="s1")
    await keep(store, lost)
    found = await TaskTable(store).find(OWNER, "t1")
    assert found
    assert 'resume="e1", session="s1"' in found.record.message
    assert found.record.error["message"] == found.record.message


@pytest.mark.requirement("tasks.apart")
async def test_a_task_is_its_owners(store: LocalStore) -> None:
    await keep(store, replace(record("x:y:1:1"), status="completed"), b'{"content":[]}')
    table = TaskTable(store)
    found = await table.find(OWNER, "t1")
    assert found
    assert found.result == b'{"content":[]}'
    assert await table.find("bob", "t1") is None
    assert [one.record.id for one in await table.list(OWNER)] == ["t1"]
    assert await table.list("bob") == []


@pytest.mark.requirement("tasks.bounded")
@pytest.mark.parametrize(
    ("wish", "secs"),
    [
        (None, TTL_SECS),
        (True, TTL_SECS),
        ("60000", TTL_SECS),
        (60_000, 60),
        (-5, 1),
        (10**400, MOST_TTL_SECS),
        (1e300, MOST_TTL_SECS),
    ],
)
async def test_the_time_to_live(store: LocalStore, wish: Json, secs: float) -> None:
    table = TaskTable(store)
    task = await table.create(OWNER, wish)
    assert task.record.ttl_secs == secs
    table.cancel(task, "done")
    assert table.under_way == 0
