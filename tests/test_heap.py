"""What lives long is set aside from garbage collection, and comes back to be freed."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from mcproxy.heap import Heap

BOUND_SECS = 60.0


class Swapped:
    """Something that lives long, and forms a cycle, so that no reference count frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _what_is_loaded_is_set_aside_again() -> Iterator[None]:
    """As it was since all tests were imported: later ones would have it walked, too."""
    yield
    gc.freeze()


@pytest.fixture
def collections() -> Iterator[asyncio.Queue[None]]:
    """The full collections as they end."""
    ended: asyncio.Queue[None] = asyncio.Queue()

    def note(phase: str, facts: dict[str, int]) -> None:
        if phase == "stop" and facts["generation"] == 2:
            ended.put_nowait(None)

    gc.callbacks.append(note)
    yield ended
    gc.callbacks.remove(note)


@pytest.mark.requirement("speed.long_lived_set_aside")
async def test_what_was_set_aside_is_freed_once_it_is_swapped_out(
    collections: asyncio.Queue[None],
) -> None:
    heap = Heap(quiet_secs=0.0, pause_secs=0.0)
    kept = [Swapped()]
    gone = asyncio.Event()
    watched = weakref.ref(kept[0], lambda _: gone.set())
    async with heap.running(), asyncio.timeout(BOUND_SECS):
        heap.swapped()
        await collections.get()
        kept[0] = Swapped()
        gc.collect()
        assert watched(), "it is set aside: no collection looks at it"
        heap.swapped()
        await gone.wait()
    assert not gc.get_freeze_count(), "afterwards nothing is set aside"


async def test_a_burst_of_swaps_costs_one_collection(collections: asyncio.Queue[None]) -> None:
    heap = Heap(quiet_secs=0.0, pause_secs=BOUND_SECS)
    async with heap.running(), asyncio.timeout(BOUND_SECS):
        for _ in range(10):
            heap.swapped()
        await collections.get()
        heap.swapped()  # too early after the first
        await asyncio.sleep(0)
    assert collections.empty()
