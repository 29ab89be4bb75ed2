"""The supervisors that run, whatever for: each started once, and ended after its last calls.

Owns their tasks. Which ones there are to be is for ``server_table`` and ``instances``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextvars import Context

from mcproxy.upstream.supervision.supervisor import Supervisor

RETIRE_SECS = 10.0  # calls of a server that is replaced or removed may end within this time


def _unheeded() -> None:
    """For those who need not hear of the end."""


class SupervisorTasks:
    """Supervisors; they live while ``running``."""

    def __init__(self) -> None:
        self._tasks = asyncio.TaskGroup()
        self._lives: dict[Supervisor, asyncio.Task[None]] = {}
        self.open = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let supervisors be started; on leaving, stop them all."""
        async with self._tasks:
            self.open = True
            try:
                yield
            finally:
                self.open = False  # who came later would be waited for without end
                for task in self._lives.values():
                    task.cancel()

    def all(self) -> Sequence[Supervisor]:
        """Those that live, or end their last calls."""
        return list(self._lives)

    def begin(
        self,
        supervisor: Supervisor,
        until: asyncio.Event | None = None,
        ended: Callable[[], None] = _unheeded,
    ) -> None:
        """Let a supervisor run, until the event where one is given; then ``ended`` is called.

        Only while ``open``. What lives longer than the request that began it must not inherit its
        context.
        """
        life = supervisor.run() if until is None else _run_until(supervisor, until)
        name = f"server {supervisor.name}"
        task = self._tasks.create_task(life, name=name, context=Context())
        self._lives[supervisor] = task

        def left(_: asyncio.Task[None]) -> None:
            del self._lives[supervisor]
            ended()

        task.add_done_callback(left, context=Context())

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Do what concerns supervisors, bounded in time by itself, in a task of its own."""
        self._tasks.create_task(work, context=Context())

    async def end(self, supervisors: Sequence[Supervisor]) -> None:
        """Let supervisors end their calls, bounded, then stop them."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETIRE_SECS):
                for supervisor in supervisors:
                    await supervisor.drained()
        tasks = [self._lives[one] for one in supervisors if one in self._lives]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _run_until(supervisor: Supervisor, end: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await end.wait()
        running.cancel()
