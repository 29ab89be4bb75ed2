"""What a client that asked for progress hears while its request is answered: what servers tell, and
signs of life while they are silent.

Many clients extend their time limit when progress arrives, whatever it says. The value grows with
each notification, and none follows the reply (MCP, basic/utilities/progress); so a server's own
values go through as they are, but for one that is not above what was told before it. A script's
progress is its time, since each of its calls counts from a beginning of its own.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.exchange import Exchange
from mcproxy.types import Json, JsonObject

QUIET_SECS = 3.0  # clients that wait for progress give up after 10 s and more without it
LEAST = 0.001  # by which the value grows


@contextmanager
def told_of_progress(exchange: Exchange, quiet_secs: float, *, script: bool) -> Iterator[Exchange]:
    """The exchange of a request with signs of life: one each time it was quiet for so long, until
    the block is left; the client asked for it."""
    token = exchange.meta[mcp.META_PROGRESS_TOKEN]
    progress = _Progress(exchange, token, quiet_secs, script=script)
    try:
        yield replace(exchange, notify=progress.pass_on)
    finally:
        progress.end()


class _Progress:
    """The progress of one request."""

    def __init__(self, exchange: Exchange, token: Json, quiet_secs: float, *, script: bool) -> None:
        self._notify, self._token = exchange.notify, token
        self._quiet_secs, self._script = quiet_secs, script
        self._began = self._told = time.monotonic()
        self._last = -math.inf
        self._of: JsonObject = {}  # the total, where the server has told one
        self._timer = asyncio.get_running_loop().call_later(quiet_secs, self._sign)

    def end(self) -> None:
        """Say no more."""
        self._timer.cancel()

    def pass_on(self, method: str, params: JsonObject) -> None:
        """Notify; progress of a script's call is told as progress of the script."""
        if method != mcp.PROGRESS:
            self._notify(method, params)
        elif self._script:
            message = params.get("message")
            self._tell(self._secs(), {"message": message} if message else {})
        else:
            self._of = {"total": params["total"]} if "total" in params else {}
            value = params.get("progress")
            self._tell(value if isinstance(value, int | float) else 0, params)

    def _sign(self) -> None:
        quiet = time.monotonic() - self._told
        if quiet >= self._quiet_secs:
            quiet = 0.0
            secs = f"{time.monotonic() - self._began:.0f} s"
            if self._script:
                self._tell(self._secs(), {"message": f"the script has been running for {secs}"})
            else:
                self._tell(0, {**self._of, "message": f"no answer yet after {secs}"})
        later = asyncio.get_running_loop().call_later
        self._timer = later(self._quiet_secs - quiet, self._sign)

    def _secs(self) -> float:
        return max(LEAST, round(time.monotonic() - self._began, 3))

    def _tell(self, wanted: float, params: JsonObject) -> None:
        if wanted <= self._last:
            least = round(self._last + LEAST, 3)
            wanted = max(least, math.nextafter(self._last, math.inf))
        self._last, self._told = wanted, time.monotonic()
        self._notify(mcp.PROGRESS, {**params, "progress": wanted, "progressToken": self._token})
