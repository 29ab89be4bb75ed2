"""What goes out to a peer: in order, at once while it reads, bounded while it does not."""

import asyncio

import pytest

from mcproxy.wire.outbox import Outbox, UnreadLimits


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
