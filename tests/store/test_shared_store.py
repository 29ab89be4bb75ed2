"""The store that gateways share, over what may happen to it and on the way to it."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcproxy.call_errors import StateUnavailable
from mcproxy.store.interface import StoreBounds
from mcproxy.store.shared_store import SharedStore
from tests.shared_state import NEEDED, StateServer, state_server
from tests.store.writing import one_more

TTL = 3600.0
BOUND_SECS = 30

pytestmark = NEEDED


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StateServer]:
    yield from state_server(tmp_path / "shared")


def opened(url: str, prefix: str = "test") -> SharedStore:
    return SharedStore(url, prefix, StoreBounds())


@pytest.mark.requirement("state.shared")
async def test_gateways_see_what_each_other_keeps(server: StateServer) -> None:
    async with opened(server.url) as one, opened(server.url) as two:
        await one.put("a", "k", b"\0\xff", TTL)
        assert await two.get("a", "k") == b"\0\xff"
        await two.append("a", "j", b"1", TTL)
        await one.append("a", "j", b"2", TTL)
        assert await two.entries("a", "j") == [b"1", b"2"]
        assert await two.remove("a", "k")
        assert await one.keys("a", "") == ["j"]
        async with opened(server.url, "another") as other:
            assert await other.keys("a", "") == []


@pytest.mark.requirement("state.shared")
async def test_changes_of_several_gateways_all_count(server: StateServer) -> None:
    async with opened(server.url) as one, opened(server.url) as two, opened(server.url) as three:
        stores = (one, two, three)
        await asyncio.gather(
            *(store.update("a", "n", one_more, TTL) for store in stores for _ in range(100))
        )
        assert await one.get("a", "n") == b"300"


@pytest.mark.requirement("state.limits_together")
async def test_a_bucket_is_one_for_all_gateways(server: StateServer) -> None:
    per_minute = 1  # a token a minute: none comes back while this runs
    async with opened(server.url) as one, opened(server.url) as two:
        waits = await asyncio.gather(
            *(store.take("b", 10, per_minute) for store in (one, two) for _ in range(15))
        )
        assert waits.count(None) == 10
        assert all(0 < wait <= 60 for wait in waits if wait is not None)
        assert await two.take("another", 10, per_minute) is None


@pytest.mark.requirement("state.no_loss")
@pytest.mark.parametrize("kill", [False, True], ids=["restart", "crash"])
async def test_what_was_acknowledged_outlives_the_store(server: StateServer, *, kill: bool) -> None:
    """And what was asked for meanwhile is done once: the writer goes on through the restarts."""
    acknowledged = 0
    wanted = asyncio.Event()

    async def write(store: SharedStore) -> None:
        nonlocal acknowledged
        while acknowledged < 400:
            await store.append("a", "j", str(acknowledged).encode(), TTL)
            await store.update("a", "n", one_more, TTL)
            acknowledged += 1
            if acknowledged % 100 == 50:
                wanted.set()

    async with opened(server.url) as store, asyncio.TaskGroup() as tasks:
        tasks.create_task(write(store))
        for _ in range(4):
            await wanted.wait()
            wanted.clear()
            await asyncio.to_thread(lambda: server.stop(kill=kill))
            await asyncio.to_thread(server.start)
    async with opened(server.url) as store:
        assert [int(entry) for entry in await store.entries("a", "j")] == list(range(400))
        assert await store.get("a", "n") == b"400"


@asynccontextmanager
async def forgetful(server: StateServer, lost: int) -> AsyncIterator[str]:
    """A way to the store on which the answers of so many connections are lost."""
    left = lost

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        inner, outer = await asyncio.open_connection("127.0.0.1", server.port)

        async def down() -> None:
            nonlocal left
            while data := await inner.read(65536):
                if left and not data.startswith((b"+OK", b"%", b"*")):
                    left -= 1
                    break
                writer.write(data)
            writer.close()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(down())
            while data := await reader.read(65536):
                outer.write(data)
            outer.close()

    listener = await asyncio.start_server(carry, "127.0.0.1", 0)
    async with listener:
        yield f"valkey://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"


@pytest.mark.requirement("state.no_loss")
async def test_what_is_sent_again_is_not_done_twice(server: StateServer) -> None:
    async with opened(server.url) as direct:
        await direct.keys("a", "")  # the script is known to the store from now on
        for operation in range(4):
            async with forgetful(server, 1) as url, opened(url) as store:
                if operation == 0:
                    await store.append("a", "j", b"once", TTL)
                elif operation == 1:
                    await store.update("a", "n", one_more, TTL)
                elif operation == 2:
                    await direct.put("a", "gone", b"", TTL)
                    assert await store.remove("a", "gone")
                else:
                    assert await store.take("b", 2, 1) is None
        assert await direct.entries("a", "j") == [b"once"]
        assert await direct.get("a", "n") == b"1"
        assert await direct.take("b", 2, 1) is None
        assert await direct.take("b", 2, 1) is not None


@pytest.mark.requirement("state.fails_closed")
async def test_a_store_that_stays_away_is_said_once_and_comes_back(
    server: StateServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcproxy.store.shared_store.PATIENCE_SECS", 0.1)
    caplog.set_level(logging.INFO)
    async with opened(server.url) as store:
        await store.put("a", "k", b"v", TTL)
        await asyncio.to_thread(server.stop)
        for _ in range(3):
            with pytest.raises(StateUnavailable, match=str(server.port)):
                await store.put("a", "k", b"w", TTL)
        store.append_later("a", "j", b"lost", TTL)
        with pytest.raises(StateUnavailable):
            await store.take("b", 1, 1)
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(BOUND_SECS):
            assert await store.get("a", "k") == b"v"
        assert await store.entries("a", "j") == []
    told = [record.levelno for record in caplog.records if record.name.startswith("mcproxy")]
    assert told == [logging.WARNING, logging.INFO]


@pytest.mark.requirement("state.fails_closed")
async def test_a_wrong_password_is_said_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    right, wrong = secrets.token_hex(8), secrets.token_hex(8)
    server = StateServer(tmp_path, "--requirepass", right).start()
    try:
        place = f"127.0.0.1:{server.port}/0"
        async with opened(f"valkey://:{right}@{place}") as store:
            await store.put("a", "k", b"v", TTL)
        async with opened(f"valkey://:{wrong}@{place}") as store:
            with pytest.raises(StateUnavailable, match="refuses this user or password") as fault:
                await store.get("a", "k")
    finally:
        server.stop()
    assert wrong not in caplog.text + str(fault.value)


async def test_a_full_store_says_what_to_do(tmp_path: Path) -> None:
    server = StateServer(tmp_path, "--maxmemory", "4mb").start()
    try:
        async with opened(server.url) as store:
            puts = (store.put("a", f"k{n}", bytes(1 << 20), TTL) for n in range(20))
            with pytest.raises(StateUnavailable, match="it is full: give it more maxmemory"):
                await asyncio.gather(*puts)
    finally:
        server.stop()


async def test_a_change_that_raises_is_its_callers_alone(server: StateServer) -> None:
    def raising(before: bytes | None) -> bytes:
        raise ValueError(before)

    async with opened(server.url) as store:
        kept = store.put("a", "k", b"v", TTL)
        changed = store.update("a", "k", raising, TTL)
        _, fault = await asyncio.gather(kept, changed, return_exceptions=True)
        assert isinstance(fault, ValueError)
        assert await store.get("a", "k") == b"v"


async def test_what_nobody_waits_for_is_written_in_order_and_on_leaving(
    server: StateServer,
) -> None:
    async with opened(server.url) as other:
        async with opened(server.url) as store:
            for entry in (b"one", b"two"):
                store.append_later("a", "j", entry, TTL)
            await store.append("a", "j", b"three", TTL)
            assert await other.entries("a", "j") == [b"one", b"two", b"three"]
            store.append_later("a", "j", b"four", TTL)
        assert (await other.entries("a", "j"))[3:] == [b"four"]


@pytest.mark.requirement("state.fails_closed")
async def test_who_waits_when_the_store_is_left_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcproxy.store.shared_store._CLOSE_SECS", 0.1)
    reached = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        reached.set()
        await reader.read()
        writer.close()

    async def told(store: SharedStore, key: str) -> None:
        with pytest.raises(StateUnavailable, match="ended before"):
            await store.put("a", key, b"1", TTL)

    async with (
        asyncio.timeout(BOUND_SECS),
        await asyncio.start_server(silent, "127.0.0.1", 0) as listening,
        asyncio.TaskGroup() as waiting,
    ):
        port = listening.sockets[0].getsockname()[1]
        async with opened(f"valkey://127.0.0.1:{port}") as store:
            waiting.create_task(told(store, "sent"))
            await reached.wait()
            waiting.create_task(told(store, "queued"))
            await asyncio.sleep(0)
