"""asyncio as a script expects it: functions that also take promises and plain values.

``gather`` and its like accept whatever a call in either style gives; ``asyncio.run`` and
``run_until_complete`` work although the script itself may be running in a loop, and let the tasks
that were started and never awaited finish. ``befriend`` changes it once for a process, which runs
one script: methods that are set anew for each would not be found fast in any.
"""

import asyncio
import contextlib
import functools
import selectors
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Coroutine, Generator, Iterable

from mcproxy.sandbox.jail.script.styles import awaited

Function = Callable[..., object]


class Tasks:
    """Every task of the script, so that no failure is lost. Also the loops' task factory.

    ``loop`` is the script's, made before a fork: all that the kernel has of it is the pair of
    descriptors ``pipe``, which has to be another under the same numbers after one.
    """

    def __init__(self) -> None:
        self._all: list[asyncio.Task[object]] = []
        self.loop = asyncio.SelectorEventLoop(selectors.PollSelector())
        self.loop.set_task_factory(self)  # type: ignore[arg-type]

    @property
    def pipe(self) -> tuple[int, int]:
        """The two ends of what wakes the loop."""
        return self.loop._ssock.fileno(), self.loop._csock.fileno()  # type: ignore[attr-defined]

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coroutine: object, **kwargs: object
    ) -> "asyncio.Task[object]":
        task: asyncio.Task[object] = asyncio.Task(_coroutine(coroutine), loop=loop, **kwargs)  # type: ignore[arg-type]
        self._all.append(task)
        return task

    def begin(self) -> None:
        """A script begins. From Python 3.12 on asyncio forgets in a fork which loop was set."""
        self._all.clear()
        asyncio.set_event_loop(self.loop)

    def failure(self) -> BaseException | None:
        """The first failure that the script has not seen."""
        for task in self._all:
            if task.done() and not task.cancelled() and _unseen(task):
                return task.exception()
        return None


def _unseen(task: "asyncio.Task[object]") -> bool:
    return bool(getattr(task, "_log_traceback", False))  # what asyncio's own warning looks at


async def rest() -> None:
    """Wait for every other task of the running loop."""
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(tasks)


async def _awaiting(value: object) -> object:
    return await awaited(value)


def _coroutine(value: object) -> Coroutine[object, object, object]:
    return value if asyncio.iscoroutine(value) else _awaiting(value)


def _lifted(value: object) -> object:
    """What asyncio's functions take: futures and coroutines as they are, the rest wrapped."""
    if asyncio.isfuture(value) or asyncio.iscoroutine(value):
        return value
    return _awaiting(value)


def _future(value: object) -> "asyncio.Future[object]":
    lifted = _lifted(value)
    if asyncio.isfuture(lifted):
        return lifted
    return asyncio.get_running_loop().create_task(_coroutine(lifted))


def _each(function: Function) -> Function:
    @functools.wraps(function)
    def lifting(*args: object, **kwargs: object) -> object:
        return function(*map(_lifted, args), **kwargs)

    return lifting


def _first(function: Function) -> Function:
    @functools.wraps(function)
    def lifting(first: object, *args: object, **kwargs: object) -> object:
        return function(_lifted(first), *args, **kwargs)

    return lifting


def _all_of_first(function: Function) -> Function:
    @functools.wraps(function)
    def lifting(first: Iterable[object], *args: object, **kwargs: object) -> object:
        return function([_future(item) for item in first], *args, **kwargs)

    return lifting


@contextlib.contextmanager
def _outside() -> Generator[None, None, None]:
    """Let another loop run inside the running one, which stands still meanwhile."""
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(running)
        if running is not None:
            asyncio.set_event_loop(running)


async def _finishing(main: object, tasks: Tasks) -> object:
    asyncio.get_running_loop().set_task_factory(tasks)  # type: ignore[arg-type]
    value = await awaited(main)
    await rest()
    return value


def _run(original: Callable[..., object], tasks: Tasks) -> Function:
    """For ``asyncio.run`` and ``Runner.run``: the coroutine is the last positional argument."""

    @functools.wraps(original)
    def run(*args: object, **kwargs: object) -> object:
        *before, main = args
        with _outside():
            return original(*before, _finishing(main, tasks), **kwargs)

    return run


def _run_until_complete(original: Callable[..., object], tasks: Tasks) -> Function:
    @functools.wraps(original)
    def run_until_complete(loop: asyncio.AbstractEventLoop, future: object) -> object:
        with _outside():
            if loop.is_running() and not asyncio.isfuture(future):
                return asyncio.run(_coroutine(future))
            loop.set_task_factory(tasks)  # type: ignore[arg-type]
            return original(loop, _lifted(future))

    return run_until_complete


def befriend(tasks: Tasks) -> None:
    """Change asyncio in this process. ``tasks`` gets to know those of every loop."""
    loop_runs = _run_until_complete(BaseEventLoop.run_until_complete, tasks)
    changes: list[tuple[object, str, Function]] = [
        (asyncio, "gather", _each(asyncio.gather)),
        (asyncio, "wait_for", _first(asyncio.wait_for)),  # noqa: TID251  # scripts use it
        (asyncio, "shield", _first(asyncio.shield)),
        (asyncio, "ensure_future", _first(asyncio.ensure_future)),
        (asyncio, "wait", _all_of_first(asyncio.wait)),
        (asyncio, "as_completed", _all_of_first(asyncio.as_completed)),
        (asyncio, "run", _run(asyncio.run, tasks)),
        (asyncio.Runner, "run", _run(asyncio.Runner.run, tasks)),
        (BaseEventLoop, "run_until_complete", loop_runs),
    ]
    for owner, name, changed in changes:
        setattr(owner, name, changed)
