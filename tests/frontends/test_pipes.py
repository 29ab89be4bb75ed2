"""Descriptors of standard input and output are closed once."""

import asyncio
import os
import threading

import pytest

from mcproxy.frontends.pipes import reading

TIMES = 1000


@pytest.mark.requirement("cancellation.leaves_nothing")
async def test_no_descriptor_of_another_thread_is_closed() -> None:
    over, lost = threading.Event(), []

    def opens_files() -> None:
        while not over.is_set():
            for number in [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]:
                try:
                    os.close(number)
                except OSError as error:
                    lost.append(error)

    other = threading.Thread(target=opens_files, daemon=True)
    other.start()
    try:
        for _ in range(TIMES):
            ours, theirs = os.pipe()
            os.close(theirs)
            async with reading(ours) as chunks:
                assert [chunk async for chunk in chunks] == []
            await asyncio.sleep(0)
    finally:
        over.set()
        other.join()
    assert not lost
