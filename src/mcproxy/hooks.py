"""Does what an operator wants done on some occasion: named actions, commands, webhooks.

Used around a refresh and before a server starts. The named actions are handed in, so that nothing
here knows servers. Each hook is bounded in time; a failure is told with its reason, and what
follows from it is for the caller.
"""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mcproxy.config.hooks import HookSpec
from mcproxy.errors import McproxyError
from mcproxy.types import Event
from mcproxy.wire.lines import tail

HOOK_SECS = 30.0  # a refresh, or a start, waits no longer for one hook
_SHOWN_BYTES = 500
_PASSED = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Occasion:
    """What hooks are told: what happens, and to which server where it is one."""

    event: Event | Literal["pre_start"]
    server: str | None = None


Action: TypeAlias = Callable[[Occasion], Awaitable[None]]


class HookFailed(McproxyError):
    """A hook did not do what it should; the text says which and why."""


class Hooks:
    """Runs hooks. ``actions`` are those with a name; any other name does nothing. ``environment``
    is the gateway's own, of which commands get a few variables beside the occasion's."""

    def __init__(self, actions: Mapping[str, Action], environment: Mapping[str, str]) -> None:
        self._actions = actions
        self._passed = {name: environment[name] for name in _PASSED if name in environment}

    async def run(self, hooks: Sequence[HookSpec], occasion: Occasion) -> None:
        """Run hooks one after another, up to the first that fails, each for at most HOOK_SECS.

        Raises HookFailed. Cancelled, it leaves no process of a hook's own session behind.
        """
        for hook in hooks:
            try:
                async with asyncio.timeout(HOOK_SECS):
                    await self._do(hook, occasion)
            except TimeoutError as error:
                raise HookFailed(
                    f"{told(hook, occasion)}: not done after {HOOK_SECS:g} s"
                ) from error
            except OSError as error:
                raise HookFailed(f"{told(hook, occasion)}: {error}") from error

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


async def _command(hook: HookSpec, occasion: Occasion, environment: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(hook.command or ()),
        env=environment,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    finally:
        await _end(process)
    if process.returncode:
        last = tail(output, _SHOWN_BYTES).decode("utf-8", "replace").strip()
        said = f": {last}" if last else ""
        raise HookFailed(f"{told(hook, occasion)}: exit status {process.returncode}{said}")


async def _end(process: Process) -> None:
    """Leave nothing of a command behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _tell(hook: HookSpec, url: str, occasion: Occasion) -> None:
    import httpx  # noqa: PLC0415  a gateway without webhooks need not load it

    try:
        async with httpx.AsyncClient(timeout=HOOK_SECS) as client:
            response = await client.post(url, json=_facts(occasion))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise HookFailed(f"{told(hook, occasion)}: {type(error).__name__}") from error
    if not response.is_success:
        raise HookFailed(f"{told(hook, occasion)}: it answered {response.status_code}")
