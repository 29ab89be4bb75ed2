"""What goes out to a peer: in order, at once while it reads, bounded while it does not. After so
much of one peer's it is the others' turn; nothing is lost, and the order stays."""

import asyncio

import pytest

from mcproxy.wire.peer import TURN_BYTES, TURN_MESSAGES, Outbox, Pace, Paced, UnreadLimits


class Pipe:
    """Takes ``room`` messages, then has its outbox pause."""

    def __init__(self, room: int = 10**6, bounds: UnreadLimits | None = None) -> None:
        self.taken: list[bytes] = []
        self.ended: list[str] = []
        self.left = room
        self.outbox = Outbox(self._write, self.ended.append, bounds)

    def _write(self, data: bytes) -> None:
        self.taken.append(data)
        self.left -= 1
        if self.left <= 0:
            self.outbox.pause()

    def read(self, room: int) -> None:
        self.left = room
        self.outbox.resume()

    async def call(self, data: bytes) -> None:
        await self.outbox.room()
        self.outbox.post(data)


@pytest.mark.requirement("wire.unread")
async def test_what_cannot_wait_is_kept_in_order_and_goes_first() -> None:
    pipe = Pipe(room=1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        pipe.outbox.post(b"1")
        calls = [tasks.create_task(pipe.call(each)) for each in (b"4", b"5", b"6")]
        await asyncio.sleep(0)
        for each in (b"2", b"3"):
            pipe.outbox.post(each)
        assert pipe.taken == [b"1"]
        pipe.read(1)
        assert pipe.taken == [b"1", b"2"]
        pipe.read(1)
        for call in calls:  # one at a time: each fills the pipe again
            pipe.read(1)
            await call
    assert pipe.taken == [b"1", b"2", b"3", b"4", b"5", b"6"]


@pytest.mark.requirement("wire.unread")
@pytest.mark.parametrize(
    ("bounds", "message", "kept"),
    [(UnreadLimits(messages=3), b"", 3), (UnreadLimits(bytes=10), b"1234", 2)],
    ids=["messages", "bytes"],
)
async def test_beyond_its_bounds_a_peer_is_ended(
    bounds: UnreadLimits, message: bytes, kept: int
) -> None:
    pipe = Pipe(bounds=bounds)
    pipe.outbox.pause()
    for _ in range(kept):
        pipe.outbox.post(message)
    assert pipe.ended == []
    for _ in range(3):
        pipe.outbox.post(message)
    (reason,) = pipe.ended
    assert "does not read" in reason
    pipe.outbox.resume()
    assert pipe.taken == []


async def test_who_waits_for_room_is_let_go_at_the_end_and_may_give_up_before() -> None:
    pipe = Pipe()
    pipe.outbox.pause()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        gives_up, waits = (tasks.create_task(pipe.outbox.room()) for _ in range(2))
        await asyncio.sleep(0)
        gives_up.cancel()
        await asyncio.sleep(0)
        assert not waits.done()
        pipe.outbox.close()
        await waits


@pytest.mark.requirement("wire.pace")
def test_a_turn_ends_after_so_many_messages_or_bytes() -> None:
    pace = Pace()
    small = [pace.spend(0) for _ in range(2 * TURN_MESSAGES)]
    assert [number for number, over in enumerate(small, 1) if over] == [
        TURN_MESSAGES,
        2 * TURN_MESSAGES,
    ]
    assert [pace.spend(TURN_BYTES // 2) for _ in range(4)] == [False, True, False, True]


class Taker:
    """Takes numbers, and counts what is asked of the source."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.asked: list[str] = []
        self.resumed = asyncio.Event()
        self.paced: Paced[int] = Paced(
            self.taken.append,
            lambda: self.asked.append("pause"),
            self._resume,
        )

    def _resume(self) -> None:
        self.asked.append("resume")
        self.resumed.set()


@pytest.mark.requirement("wire.pace")
async def test_a_chunk_of_many_messages_takes_several_turns() -> None:
    taker = Taker()
    taker.paced.feed(iter(range(TURN_MESSAGES - 1)))
    assert (len(taker.taken), taker.asked) == (TURN_MESSAGES - 1, [])
    taker.taken.clear()
    taker.paced.feed(iter(range(2 * TURN_MESSAGES + 5)))
    assert (len(taker.taken), taker.asked) == (TURN_MESSAGES, ["pause"])
    await asyncio.sleep(0)
    assert len(taker.taken) == 2 * TURN_MESSAGES
    taker.paced.feed(iter((-1,)))  # a source that could not be paused in time
    async with asyncio.timeout(5):
        await taker.resumed.wait()
    assert taker.taken == [*range(2 * TURN_MESSAGES + 5), -1]


async def test_what_has_arrived_is_taken_before_the_end() -> None:
    taker = Taker()
    taker.paced.feed(iter(range(TURN_MESSAGES + 1)))
    ended = asyncio.Event()
    taker.paced.close(ended.set)
    assert not ended.is_set()
    await ended.wait()
    assert (len(taker.taken), taker.asked) == (TURN_MESSAGES + 1, ["pause"])
