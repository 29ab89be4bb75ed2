"""One child process by itself: what is known of its end."""

import asyncio
import os
import sys

import pytest

from mcproxy.errors import PeerClosed
from mcproxy.upstream.child.stdio import Child, Command

BOUND_SECS = 20
LAST_WORDS = "import sys; sys.exit('no login')"


@pytest.mark.requirement("upstream.last_words")
async def test_a_child_that_died_before_it_was_asked_has_its_last_words() -> None:
    """A busy program finds it dead, and what it wrote still in the pipe."""
    child = Child(lambda: None)
    refused: list[str] = []
    async with asyncio.timeout(BOUND_SECS):
        child.start(Command([sys.executable, "-c", LAST_WORDS], {}), lambda line: None)
        busy_until_dead(child)
        while not child.exited.is_set():
            try:
                child.post(b"{}")
            except PeerClosed as closed:
                refused.append(closed.reason)
            await asyncio.sleep(0)
    assert all("no login" in reason for reason in (*refused, child.obituary))
    with pytest.raises(PeerClosed, match="no login"):
        child.post(b"{}")
    await child.stop()


def busy_until_dead(child: Child) -> None:
    """Hold the event loop up until the process is gone; it is left to be waited for."""
    assert child.pid
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
