"""The manifest in force follows the servers, in bursts, with hooks around what they are for."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from mcproxy.config.hooks import HookSpec, RefreshHooks
from mcproxy.hooks import HookFailed, Hooks, Occasion
from mcproxy.manifest import live
from mcproxy.manifest.live import DEBOUNCE_SECS, Live
from mcproxy.manifest.model import Manifest
from mcproxy.manifest.refreshes import Refreshes, event_of
from mcproxy.types import Event, Json, ServerView, Tool, ToolRef

WAIT_SECS = 10.0
BOTH = (HookSpec(name="before"),), (HookSpec(name="after"),)


class Followed:
    """A ``Live`` that runs, with hooks ``before`` and ``after`` that can be seen and stopped.

    ``done`` has what happened in order: hooks with their events, and the servers of each manifest.
    """

    def __init__(self, *events: Event) -> None:
        settings = RefreshHooks(pre_refresh=BOTH[0], post_refresh=BOTH[1], events=events)
        self.done: list[str] = []
        self.published: list[Manifest] = []
        self.views: list[ServerView] = []
        self.refuses = self.fails = False
        self.let_go = asyncio.Event()
        self.let_go.set()
        self._told = asyncio.Event()
        hooks = Hooks({"before": self._before, "after": self._after}, {})
        refreshes = Refreshes(hooks, lambda: settings)
        self.live = Live(lambda: self.views, self._publish, refreshes)

    def change(self, cause: Event, *servers: str) -> None:
        """Let servers come in and say so."""
        self.views += [ServerView(name, "ready") for name in servers]
        self.live.changed(cause)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, bounded, until something that happened has made the condition true."""
        async with asyncio.timeout(WAIT_SECS):
            while not condition():
                self._told.clear()
                await self._told.wait()

    async def _before(self, occasion: Occasion) -> None:
        self._note(f"before {occasion.event}")
        await self.let_go.wait()
        if self.refuses:
            raise HookFailed("not now")

    async def _after(self, occasion: Occasion) -> None:
        self._note(f"after {occasion.event}")

    def _publish(self, manifest: Manifest) -> None:
        if self.fails:
            self._note("fault")
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no")
        self.published.append(manifest)
        self._note(" ".join(manifest.servers) or "none")

    def _note(self, what: str) -> None:
        self.done.append(what)
        self._told.set()


@asynccontextmanager
async def following(*events: Event) -> AsyncIterator[Followed]:
    """Run a ``Live`` with hooks around these events; it has begun."""
    followed = Followed(*events)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(followed.live.run())
        async with asyncio.timeout(WAIT_SECS):
            await followed.live.begun()
        yield followed
        task.cancel()


async def test_a_burst_of_changes_is_answered_with_one_rebuild() -> None:
    async with following() as followed:
        for number in range(20):
            followed.change("server_health", f"s{number}")
        await followed.until(lambda: len(followed.published) == 2)
        assert len(followed.published[1].servers) == 20
        followed.live.changed("tools_changed")
        followed.live.refresh()
        assert len(followed.published) == 3


async def test_servers_that_did_not_change_are_not_indexed_anew() -> None:
    async with following() as followed:
        followed.views = [ServerView("a", "ready"), ServerView("b", "starting")]
        followed.live.refresh()
        followed.views[1] = ServerView("b", "ready", "described")
        followed.live.refresh()
        _, first, second = followed.published
        assert second.parts["a"].index is first.parts["a"].index
        assert second.parts["b"].index is not first.parts["b"].index


class NotingReaders(dict[str, Json]):
    """A definition that notes which threads read it."""

    def __init__(self, threads: set[int], definition: Mapping[str, Json]) -> None:
        super().__init__(definition)
        self._threads = threads

    def __getitem__(self, key: str) -> Json:
        self._threads.add(threading.get_ident())
        return super().__getitem__(key)

    def get(self, key: str, default: Json = None) -> Json:  # type: ignore[override]
        self._threads.add(threading.get_ident())
        return super().get(key, default)


@pytest.mark.requirement("search.off_the_loop")
async def test_tools_are_indexed_outside_the_loop() -> None:
    threads: set[int] = set()
    definition = NotingReaders(threads, {"name": "t", "description": "Tell the time."})
    async with following() as followed:
        followed.published[-1].make_searchable()
        followed.views = [ServerView("a", "ready", "", (Tool(ToolRef("a", "t"), definition),))]
        followed.live.changed("tools_changed")
        await followed.until(lambda: len(followed.published) == 2)
        assert followed.published[1].searchable
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.requirement("hooks.events")
@pytest.mark.parametrize(
    ("listed", "causes", "event"),
    [
        (("startup", "manual"), ("manual",), "manual"),
        (("startup", "manual"), ("tools_changed",), None),
        ((), ("startup", "manual"), None),
        (("server_health", "tools_changed"), ("server_health", "tools_changed"), "tools_changed"),
        (("server_health",), ("server_health", "tools_changed"), "server_health"),
        (("config_change", "manual"), ("config_change", "manual"), "manual"),
        (("tools_changed", "config_change"), ("tools_changed", "config_change"), "config_change"),
        (("startup", "manual"), ("manual", "startup"), "startup"),
    ],
)
def test_the_strongest_cause_that_is_listed_is_the_event(
    listed: tuple[Event, ...], causes: tuple[Event, ...], event: Event | None
) -> None:
    before, after = BOTH
    assert event_of(RefreshHooks(pre_refresh=before, events=listed), causes) == event
    assert event_of(RefreshHooks(post_refresh=after, events=listed), causes) == event
    assert event_of(RefreshHooks(events=listed), causes) is None


@pytest.mark.requirement("hooks.events")
async def test_listed_events_have_hooks_around_them_and_others_are_answered_at_once() -> None:
    async with following("tools_changed") as followed:
        followed.change("tools_changed", "a")
        await followed.until(lambda: "after tools_changed" in followed.done)
        followed.change("server_health", "b")
        await followed.until(lambda: "a b" in followed.done)
    hooked = ["before tools_changed", "a", "after tools_changed"]
    assert followed.done == ["none", *hooked, "a b"]


@pytest.mark.requirement("hooks.held_back")
async def test_what_a_hook_refuses_is_held_back_until_the_next_event() -> None:
    async with following("tools_changed") as followed:
        followed.refuses = True
        followed.change("tools_changed", "a")
        await followed.until(lambda: followed.live.error is not None)
        assert followed.live.error == "not now"
        assert followed.done == ["none", "before tools_changed"]
        followed.refuses = False
        followed.change("server_health", "b")
        await followed.until(lambda: "after tools_changed" in followed.done)
        assert followed.live.error is None
    assert followed.done[2:] == ["before tools_changed", "a b", "after tools_changed"]


@pytest.mark.requirement("hooks.one_at_a_time")
async def test_events_during_a_run_are_gathered_for_one_more() -> None:
    async with following("tools_changed", "server_health") as followed:
        followed.let_go.clear()
        followed.change("server_health", "a")
        await followed.until(lambda: "before server_health" in followed.done)
        for cause in ("server_health", "tools_changed", "server_health"):
            followed.change(cause)
        followed.let_go.set()
        await followed.until(lambda: "after tools_changed" in followed.done)
    first = ["before server_health", "a", "after server_health"]
    assert followed.done == ["none", *first, "before tools_changed", "a", "after tools_changed"]


@pytest.mark.requirement("hooks.startup")
async def test_a_refused_start_is_told_and_serves() -> None:
    followed = Followed("startup")
    followed.refuses = True
    followed.let_go.clear()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(followed.live.run())
        await followed.until(lambda: "before startup" in followed.done)
        followed.change("server_health", "a")  # its burst is over before the hook ends
        asyncio.get_running_loop().call_later(DEBOUNCE_SECS * 2, followed.let_go.set)
        async with asyncio.timeout(WAIT_SECS):
            await followed.live.begun()
        assert followed.done[:2] == ["before startup", "a"]
        followed.change("server_health", "b")
        await followed.until(lambda: "a b" in followed.done)
        assert followed.live.error == "not now"
        followed.live.refresh()
        assert followed.live.error is None
        task.cancel()


@pytest.mark.requirement("hooks.startup")
async def test_a_start_does_not_wait_for_hooks_without_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live, "BEGIN_SECS", 0.05)
    followed = Followed("startup")
    followed.let_go.clear()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(followed.live.run())
        async with asyncio.timeout(WAIT_SECS):
            await followed.live.begun()
        assert "still run" in caplog.text
        assert not followed.published
        followed.let_go.set()
        await followed.until(lambda: len(followed.published) == 1)
        task.cancel()


async def test_a_run_that_is_under_way_holds_up_no_end() -> None:
    async with following("tools_changed") as followed:
        followed.let_go.clear()
        followed.change("tools_changed", "a")
        await followed.until(lambda: "before tools_changed" in followed.done)


@pytest.mark.requirement("hooks.fault")
@pytest.mark.parametrize(
    "events", [(), ("startup", "tools_changed")], ids=["at once", "with hooks"]
)
async def test_a_fault_ends_nothing_and_the_next_change_is_another_chance(
    events: tuple[Event, ...],
) -> None:
    followed = Followed(*events)
    followed.fails = True
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(followed.live.run())
        async with asyncio.timeout(WAIT_SECS):
            await followed.live.begun()
        assert "a fault of the gateway" in str(followed.live.error)
        followed.done.clear()
        followed.change("tools_changed", "one")
        await followed.until(lambda: "fault" in followed.done)
        followed.fails = False
        followed.change("tools_changed", "two")
        await followed.until(lambda: "one two" in followed.done)
        assert followed.live.error is None
        running.cancel()
