"""Clearing away under cancellation: to its end, bounded, and without hiding the cancellation."""

import asyncio
import logging

import pytest

from mcproxy import cancellation
from mcproxy.cancellation import checkpoint, finish

BOUND_SECS = 10.0


@pytest.mark.requirement("cancellation.finish")
@pytest.mark.parametrize("cancels", [0, 1, 2, 5])
async def test_what_is_begun_is_done_whatever_is_cancelled(cancels: int) -> None:
    begun, go, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go.wait()
        done.set()

    task = asyncio.get_running_loop().create_task(finish(work(), BOUND_SECS))
    await begun.wait()
    for _ in range(cancels):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go.set()
    await asyncio.wait([task], timeout=BOUND_SECS)
    assert done.is_set()
    assert task.cancelled() == bool(cancels)


@pytest.mark.requirement("cancellation.finish")
async def test_a_failing_cleanup_does_not_replace_the_cancellation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        raise OSError("no disk")

    async def clearing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await finish(work(), BOUND_SECS)

    task = asyncio.get_running_loop().create_task(clearing())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "no disk" in caplog.text


@pytest.mark.requirement("cancellation.finish")
@pytest.mark.parametrize("deaf", [False, True])
async def test_a_cleanup_that_does_not_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, deaf: bool
) -> None:
    monkeypatch.setattr(cancellation, "GRACE_SECS", 0.05)
    go = asyncio.Event()

    async def work() -> None:
        try:
            await go.wait()
        except asyncio.CancelledError:
            if deaf:
                await go.wait()
            raise

    caplog.set_level(logging.WARNING)
    async with asyncio.timeout(BOUND_SECS):
        await finish(work(), 0.05)
    assert "given up" in caplog.text
    assert ("cannot be cancelled" in caplog.text) is deaf
    go.set()
    await asyncio.sleep(0)


@pytest.mark.requirement("cancellation.checkpoint")
async def test_nothing_goes_on_in_a_task_that_is_cancelled() -> None:
    rounds = 0

    async def loop() -> None:
        nonlocal rounds
        while True:
            checkpoint()
            rounds += 1
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue  # as a cleanup that raises would have it

    task = asyncio.get_running_loop().create_task(loop())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rounds == 1
