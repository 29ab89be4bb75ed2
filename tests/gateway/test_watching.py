"""Subscriptions of several clients at once: what a server is asked last is what is wanted."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine

import pytest

from mcproxy.call_errors import ServerDown
from mcproxy.errors import RpcError
from mcproxy.exchange import NOBODY, ClientSession, Exchange, Tenant, Upstream
from mcproxy.gateway import listeners
from mcproxy.gateway.listeners import Watching
from mcproxy.types import JsonObject, ToolRef

URI = "memo://one"


class Server:
    """Carries out what it is asked once the test lets it; ``tells`` has what it tells of."""

    def __init__(self) -> None:
        self.tells: set[str] = set()
        self.down = False
        self.ready = asyncio.Event()

    @property
    def upstream(self) -> Upstream:
        async def no(*given: object) -> bytes:
            raise AssertionError(given)

        async def lists(*given: object) -> list[JsonObject]:
            raise AssertionError(given)

        return Upstream(no, lists, lambda server, tenant: None, self._watch, self._unwatch)

    async def _watch(self, exchange: Exchange, server: str, uri: str, whose: Tenant | None) -> None:
        await self._answers(server, uri)
        self.tells.add(uri)

    async def _unwatch(self, server: str, uri: str, whose: Tenant | None) -> None:
        await self._answers(server, uri)
        self.tells.discard(uri)

    async def _answers(self, server: str, uri: str) -> None:
        await self.ready.wait()
        if self.down:
            raise ServerDown(ToolRef(server, uri), "it is down")


class Listener:
    """A client that subscribes."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self.heard = 0
        self.session = ClientSession(self._notify)

    def _notify(self, method: str, params: JsonObject) -> None:
        self.heard += 1

    async def subscribe(self, uri: str = URI) -> None:
        await self._watching.add("it", uri, self.session, NOBODY)

    async def unsubscribe(self) -> None:
        await self._watching.remove(URI, self.session)


STEPS: dict[str, Callable[[Listener], Coroutine[None, None, None]]] = {
    "on": Listener.subscribe,
    "off": Listener.unsubscribe,
}


@pytest.mark.requirement("pass.subscriptions")
@pytest.mark.parametrize("steps", [*itertools.product(STEPS, repeat=4)], ids="-".join)
@pytest.mark.parametrize("cancelled", [None, 0, 1, 2, 3])
async def test_however_requests_overlap_the_server_tells_while_somebody_listens(
    steps: tuple[str, ...], cancelled: int | None
) -> None:
    """Two clients take turns; all requests are under way at once, and one may be cancelled."""
    server = Server()
    watched = Watching(server.upstream)
    clients = [Listener(watched), Listener(watched)]
    async with asyncio.TaskGroup() as tasks:
        running = []
        for number, step in enumerate(steps):
            running.append(tasks.create_task(STEPS[step](clients[number % 2])))
            await asyncio.sleep(0)
        if cancelled is not None:
            running[cancelled].cancel()
        server.ready.set()
    await Listener(watched).subscribe("memo://other")  # whoever is next turns off what is unheard
    watched.updated("it", {"uri": URI}, None)
    listening = [bool(client.heard) for client in clients]
    assert (URI in server.tells) == any(listening)
    if cancelled is None:
        assert listening == [step == "on" for step in steps[2:]]


async def test_a_server_that_is_down_is_asked_again_by_the_next_client() -> None:
    server = Server()
    server.ready.set()
    watched = Watching(server.upstream)
    ada, bob = Listener(watched), Listener(watched)
    server.down = True
    with pytest.raises(ServerDown):
        await ada.subscribe()
    server.down = False
    await bob.subscribe()
    watched.updated("it", {"uri": URI}, None)
    assert (ada.heard, bob.heard, server.tells) == (0, 1, {URI})


async def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "MAX_WATCHED", 1)
    server = Server()
    server.ready.set()
    watched = Watching(server.upstream)
    ada, bob = Listener(watched), Listener(watched)
    await ada.subscribe()
    await bob.subscribe()
    with pytest.raises(RpcError, match="unsubscribe from some first"):
        await bob.subscribe("memo://two")
    await ada.unsubscribe()
    await bob.unsubscribe()
    await bob.subscribe("memo://two")
