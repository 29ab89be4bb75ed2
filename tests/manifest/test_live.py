"""The manifest in force follows the servers, in bursts."""

import asyncio

from mcproxy.manifest.live import Live
from mcproxy.manifest.model import Manifest
from mcproxy.types import ServerView

WAIT_SECS = 10.0


async def test_a_burst_of_changes_is_answered_with_one_rebuild() -> None:
    published: list[Manifest] = []
    told = asyncio.Event()
    views = [ServerView("a", "starting")]

    def publish(manifest: Manifest) -> None:
        published.append(manifest)
        told.set()

    live = Live(lambda: views, publish)
    for number in range(20):
        views.append(ServerView(f"s{number}", "ready"))
        live.changed()
    async with asyncio.timeout(WAIT_SECS):
        await told.wait()
    assert len(published) == 1
    assert len(published[0].servers) == 21
    live.changed()
    live.refresh()
    assert len(published) == 2


async def test_servers_that_did_not_change_are_not_indexed_anew() -> None:
    published: list[Manifest] = []
    views = [ServerView("a", "ready"), ServerView("b", "starting")]
    live = Live(lambda: views, published.append)
    live.refresh()
    views[1] = ServerView("b", "ready", "described")
    live.refresh()
    first, second = published
    assert second.parts["a"].index is first.parts["a"].index
    assert second.parts["b"].index is not first.parts["b"].index
