"""Does what an operator wants done on some occasion: named actions, commands, webhooks.

Used around a refresh and before a server starts. The named actions are handed in, so that nothing
here knows servers. Each hook is bounded in time; a failure is told with its reason, and what
follows from it is for the caller.
"""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias

import msgspec

from mcproxy.cancellation import begin, finish
from mcproxy.config.environment import passed
from mcproxy.config.hooks import HookSpec
from mcproxy.errors import McproxyError
from mcproxy.shortage import Shortage, need_descriptors, when_possible
from mcproxy.types import Event
from mcproxy.wire.message import tail

HOOK_SECS = 30.0  # a refresh, or a start, waits no longer for one hook
LAST_WORDS_SECS = 0.5  # what a command wrote as it ended is still in the pipe
_SHOWN_BYTES = 500
_KEPT_BYTES = 4 << 10
LEAVE_SECS = 5.0  # SIGKILL works at once; this bounds a wait on a process in the kernel


class Occasion(msgspec.Struct, frozen=True):
    """What hooks are told: what happens, and to which server where it is one."""

    event: Event | Literal["pre_start"]
    server: str | None = None


Action: TypeAlias = Callable[[Occasion], Awaitable[None]]


class HookFailed(McproxyError):
    """A hook did not do what it should; the text says which and why. ``scarce``: this machine had
    no means to start it."""

    def __init__(self, text: str, *, scarce: bool = False) -> None:
        self.scarce = scarce
        super().__init__(text)


class Hooks:
    """Runs hooks. ``actions`` are those with a name; any other name does nothing. ``environment``
    is the gateway's own, of which commands get a few variables beside the occasion's."""

    def __init__(self, actions: Mapping[str, Action], environment: Mapping[str, str]) -> None:
        self._actions = actions
        self._passed = passed(environment)

    async def run(self, hooks: Sequence[HookSpec], occasion: Occasion) -> None:
        """Run hooks one after another, up to the first that fails, each for at most HOOK_SECS.

        Raises HookFailed. Cancelled, it leaves no process of a hook's own session behind.
        """
        for hook in hooks:
            try:
                async with asyncio.timeout(HOOK_SECS):
                    do = partial(self._do, hook, occasion)
                    await when_possible(do, told(hook, occasion), HOOK_SECS)
            except TimeoutError as error:
                raise HookFailed(
                    f"{told(hook, occasion)}: not done after {HOOK_SECS:g} s"
                ) from error
            except OSError as error:
                scarce = isinstance(error, Shortage)
                raise HookFailed(f"{told(hook, occasion)}: {error}", scarce=scarce) from error

    async def _do(self, hook: HookSpec, occasion: Occasion) -> None:
        if hook.command:
            facts = {f"MCPROXY_{name.upper()}": value for name, value in _facts(occasion).items()}
            await _command(hook, occasion, {**self._passed, **facts})
        elif hook.webhook:
            await _tell(hook, hook.webhook, occasion)
        elif hook.name and hook.name in self._actions:
            await self._actions[hook.name](occasion)


def told(hook: HookSpec, occasion: Occasion) -> str:
    """The hook in words. A webhook's URL may hold a secret, so it is not shown."""
    what = f"command {hook.command[0]!r}" if hook.command else repr(hook.name)
    return f"{occasion.event} hook {'webhook' if hook.webhook else what}"


def _facts(occasion: Occasion) -> Mapping[str, str]:
    server = {"server": occasion.server} if occasion.server else {}
    return {"event": occasion.event, **server}


class _Command(asyncio.SubprocessProtocol):
    """A command that runs; ``said`` is the end of its output: one that never stops talking must not
    fill our memory. ``silent`` is set at the end of the output, which others may hold open."""

    def __init__(self) -> None:
        self.exited, self.silent = asyncio.Event(), asyncio.Event()
        self.said = b""

    async def ended(self) -> None:
        """Return once it is gone and has said its last, or nobody can say when that will be."""
        await self.exited.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECS):
                await self.silent.wait()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Keep the end of what was said."""
        self.said = (self.said + data)[-_KEPT_BYTES:]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Nobody can say more."""
        self.silent.set()

    def process_exited(self) -> None:
        """The command has ended, if not what it left running."""
        self.exited.set()


async def _command(hook: HookSpec, occasion: Occasion, environment: Mapping[str, str]) -> None:
    need_descriptors()
    starting = asyncio.get_running_loop().subprocess_exec(
        _Command,
        *(hook.command or ()),
        env=environment,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,
    )
    transport, command = started = await begin(starting, _leave, LEAVE_SECS)
    try:
        await command.exited.wait()
    finally:
        await finish(_leave(started), LEAVE_SECS)
    if status := transport.get_returncode():
        last = tail(command.said, _SHOWN_BYTES).decode("utf-8", "replace").strip()
        said = f": {last}" if last else ""
        raise HookFailed(f"{told(hook, occasion)}: exit status {status}{said}")


async def _leave(started: tuple[asyncio.SubprocessTransport, _Command]) -> None:
    """End a command; nothing of its session stays behind."""
    transport, command = started
    try:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
        await command.ended()
    finally:
        transport.close()


async def _tell(hook: HookSpec, url: str, occasion: Occasion) -> None:
    import httpx  # noqa: PLC0415  a gateway without webhooks need not load it

    try:
        async with (
            httpx.AsyncClient(timeout=HOOK_SECS) as client,
            client.stream("POST", url, json=_facts(occasion)) as response,
        ):
            status, good = response.status_code, response.is_success  # the body is not read
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise HookFailed(f"{told(hook, occasion)}: {type(error).__name__}") from error
    if not good:
        raise HookFailed(f"{told(hook, occasion)}: it answered {status}")
