"""Signs of life of the gateway's own long scripts, where a client asked for progress.

MCP, basic/utilities/progress: the value grows with each notification; none follows the reply. Many
clients extend their time limit when one arrives.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar

from mcproxy import mcp
from mcproxy.frontends.params import glance
from mcproxy.types import JsonObject
from mcproxy.wire.message import Request

PROGRESS_SECS = 3.0  # clients that wait for progress give up after 10 s and more without it

_SCRIPTS = ("execute", "mcproxy_execute")  # some clients put the server's name before the tool's

T = TypeVar("T")


def wants_signs(request: Request) -> int | str | None:
    """The progress token of a script; tools of servers tell of their progress themselves."""
    if request.method != mcp.CALL_TOOL:
        return None
    seen = glance(request.params)
    return seen.progress_token if seen.name in _SCRIPTS else None


async def with_signs(
    work: Coroutine[None, None, T],
    notify: Callable[[str, JsonObject], None],
    token: int | str,
    every_secs: float = PROGRESS_SECS,
) -> T:
    """Do the work, and notify of progress at intervals while it lasts."""
    async with asyncio.TaskGroup() as tasks:
        signs = tasks.create_task(_signs(notify, token, every_secs))
        try:
            return await work
        finally:
            signs.cancel()


async def _signs(
    notify: Callable[[str, JsonObject], None], token: int | str, every_secs: float
) -> None:
    started = time.monotonic()
    while True:
        await asyncio.sleep(every_secs)
        secs = round(time.monotonic() - started, 3)
        text = f"the script has been running for {secs:.0f} s"
        notify(mcp.PROGRESS, {mcp.META_PROGRESS_TOKEN: token, "progress": secs, "message": text})
