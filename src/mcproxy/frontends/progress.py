"""Progress of the gateway's own scripts, where a client asked for it.

MCP, basic/utilities/progress: the value grows with each notification; none follows the reply. Many
clients extend their time limit when one arrives.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar

from mcproxy import mcp
from mcproxy.frontends.params import glance
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import Request

PROGRESS_SECS = 3.0  # clients that wait for progress give up after 10 s and more without it
LEAST_SECS = 0.001  # by which the value grows; servers may tell more often

_SCRIPTS = ("execute", "mcproxy_execute")  # some clients put the server's name before the tool's

T = TypeVar("T")
Notify = Callable[[str, JsonObject], None]


def wants_signs(request: Request) -> int | str | None:
    """The progress token of a script; tools of servers tell of their progress themselves."""
    if request.method != mcp.CALL_TOOL:
        return None
    seen = glance(request.params)
    return seen.progress_token if seen.name in _SCRIPTS else None


class ScriptProgress:
    """What one script's client hears of its progress: what the servers behind its calls tell, and
    signs of life. All have one clock, since each call counts from its own beginning."""

    def __init__(self, notify: Notify, token: int | str, every_secs: float = PROGRESS_SECS) -> None:
        self._notify, self._token, self._every_secs = notify, token, every_secs
        self._began = time.monotonic()
        self._last_secs = 0.0

    async def during(self, work: Coroutine[None, None, T]) -> T:
        """Do the work, and give signs of life while it lasts."""
        async with asyncio.TaskGroup() as tasks:
            signs = tasks.create_task(self._signs())
            try:
                return await work
            finally:
                signs.cancel()

    def pass_on(self, method: str, params: JsonObject) -> None:
        """Notify; progress of a call is told as progress of the script."""
        if method == mcp.PROGRESS:
            self._tell(params.get("message"))
        else:
            self._notify(method, params)

    async def _signs(self) -> None:
        while True:
            await asyncio.sleep(self._every_secs)
            secs = time.monotonic() - self._began
            self._tell(f"the script has been running for {secs:.0f} s")

    def _tell(self, message: Json) -> None:
        secs = round(time.monotonic() - self._began, 3)
        self._last_secs = secs = max(secs, round(self._last_secs + LEAST_SECS, 3))
        told: JsonObject = {mcp.META_PROGRESS_TOKEN: self._token, "progress": secs}
        self._notify(mcp.PROGRESS, told | ({"message": message} if message else {}))
