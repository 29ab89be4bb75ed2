"""After so much of one peer's it is the others' turn; nothing is lost, and the order stays."""

import asyncio

import pytest

from mcproxy.wire.pace import TURN_BYTES, TURN_MESSAGES, Pace, Paced


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
