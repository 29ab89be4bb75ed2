"""Cancels one task of a running part of the program at each of its awaits in turn.

A task factory of the event loop sees every task that is begun, and wraps those of one function, the
target. A first run, which is left alone, records where such a task waits: the functions and lines
under its ``await``. Then there are two runs for each of these places: the task is cancelled as it
waits there, in the second run again in its next wait. Each time all must end
within a bound, and leave no task, no process and no descriptor behind.
"""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias

from tests.sandbox.walls import descendants

BOUND_SECS = 20.0  # for what was cancelled to end: more than any cleanup takes
LOOK_SECS = 0.02
MOST_PLACES = 10  # of one target: each has a run of its own

Place: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the program: ``run`` is its main coroutine; ``use`` makes it do something, and
    returns once it has. ``left`` tells what is still kept of it in its tables when it has ended."""

    run: Callable[[], Coroutine[Any, Any, object]]
    use: Callable[[], Awaitable[object]]
    left: Callable[[], object] = lambda: None


Scenario: TypeAlias = Callable[[], AbstractAsyncContextManager[Part]]


@dataclass(slots=True)
class Plan:
    """Where the target is cancelled, how often, and what came of it."""

    target: str
    place: Place | None = None
    times: int = 1
    places: list[Place] = field(default_factory=list)
    task: "asyncio.Task[Any] | None" = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Watched(Coroutine[Any, Any, Any]):
    """A coroutine of the target; it notes its places, and has its task cancelled at one of them."""

    def __init__(self, inner: Coroutine[Any, Any, Any], plan: Plan) -> None:
        self._inner, self._plan = inner, plan
        self._left = plan.times
        self.__qualname__ = getattr(inner, "__qualname__", "")
        self.__name__ = self.__qualname__

    def send(self, value: Any) -> Any:
        """Go on to the next wait."""
        return self._waits(self._inner.send(value))

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None) -> Any:
        """Likewise."""
        return self._waits(self._inner.throw(kind))

    def close(self) -> None:
        """Nobody will go on."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError

    def _waits(self, on: Any) -> Any:
        plan, place = self._plan, _place(self._inner)
        if place not in plan.places:
            plan.places.append(place)
        begins = plan.task is None and place == plan.place
        task = asyncio.current_task()
        if begins and task:
            plan.task = task
            task.add_done_callback(lambda _: plan.ended.set())
        if plan.task is task and task and self._left:
            self._left -= 1
            asyncio.get_running_loop().call_soon(task.cancel)
        return on


async def check(scenario: Scenario, target: str) -> int:
    """Drive the target through its places, or through some of the many, cancelled once and twice;
    how many there were.

    Fails by assertion.
    """
    try:
        return await _driven(scenario, target)
    finally:  # a whole program that ends has garbage looked for in all that is loaded, ever after
        gc.collect()
        gc.freeze()


async def _driven(scenario: Scenario, target: str) -> int:
    first = Plan(target)
    await _run(scenario, first)
    assert first.places, f"no task of {target} was begun"
    for times in (1, 2):
        for place in sample(first.places, times):
            plan = Plan(target, place, times)
            await _run(scenario, plan)
            if plan.task:
                assert plan.task.cancelled(), f"{target} went on at {place}: {plan.task!r}"
    return len(first.places)


def sample(places: Sequence[Place], first: int) -> Sequence[Place]:
    """At most MOST_PLACES of them, spread evenly; others for another ``first``."""
    step = -(-len(places) // MOST_PLACES)
    return places[first % step :: step]


async def _run(scenario: Scenario, plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    async with scenario() as part:
        before = _held()
        loop.set_task_factory(_factory(plan))
        try:
            await _lived(part, plan)
        finally:
            loop.set_task_factory(None)
        if plan.place:  # the first run of all fills caches
            assert not part.left(), f"{plan.place}: still kept: {part.left()}"
            await _nothing_left(before, plan)


async def _lived(part: Part, plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    main = loop.create_task(part.run(), name="main")
    use = loop.create_task(_used(part), name="use")
    over = loop.create_task(plan.ended.wait(), name="over")
    await asyncio.wait([main, use, over], timeout=BOUND_SECS, return_when=asyncio.FIRST_COMPLETED)
    over.cancel()
    use.cancel()
    main.cancel()
    _, late = await asyncio.wait([main, use, over], timeout=BOUND_SECS)
    assert not late, f"{plan.target} cancelled at {plan.place}: does not end: {late}"
    with suppress(asyncio.CancelledError):
        if main.exception():
            raise AssertionError(f"cancelled at {plan.place}") from main.exception()
    if use.done() and not use.cancelled() and plan.place is None:
        use.result()


async def _used(part: Part) -> None:
    await part.use()


def _factory(plan: Plan) -> Any:
    def create(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **more: Any
    ) -> asyncio.Task[Any]:
        wanted = getattr(coro, "__qualname__", "") == plan.target
        return asyncio.Task(Watched(coro, plan) if wanted else coro, loop=loop, **more)

    return create


def _place(coro: object) -> Place:
    """Where a coroutine waits: functions and lines, from the outside to the inside."""
    found: list[str] = []
    while coro is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(coro, f"{kind}_frame", None)
            if frame is not None:
                found.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
                coro = getattr(coro, f"{kind}_await", None) or getattr(coro, "gi_yieldfrom", None)
                break
        else:
            break
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds."""

    tasks: frozenset["asyncio.Task[Any]"]
    children: frozenset[int]
    descriptors: frozenset[str]


def _held() -> Held:
    return Held(
        frozenset(asyncio.all_tasks()),
        frozenset(descendants(dead=True)),
        frozenset(_descriptors()),
    )


def _descriptors() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208  names are all that is wanted
        with suppress(OSError):
            found.append(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")  # noqa: PTH115
    return [one for one in found if "/proc/" not in one]


async def _nothing_left(before: Held, plan: Plan) -> None:
    """The kernel and the event loop need a moment; what nothing refers to any more is no leak."""
    until = asyncio.get_running_loop().time() + BOUND_SECS
    while True:
        now = _held()
        more = (
            now.tasks - before.tasks,
            now.children - before.children,
            now.descriptors - before.descriptors,
        )
        if not any(more):
            return
        assert asyncio.get_running_loop().time() < until, f"{plan.place}: left behind: {more}"
        gc.collect()
        await asyncio.sleep(LOOK_SECS)
