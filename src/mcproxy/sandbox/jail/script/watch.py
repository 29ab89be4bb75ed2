"""Where a script is shortly before its time is up, told to the gateway, which will then end it.

The gateway's clock decides and may stand still, so this is told again and again until the end. A
signal's handler does it, the one thing that runs while a script is in an endless loop. It runs
between any two steps of the script, and therefore waits for no lock that the script may hold.
"""

import contextlib
import json
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Self

from mcproxy.sandbox.jail.channel import Channel
from mcproxy.sandbox.jail.script.promise import SCRIPT, Calls
from mcproxy.sandbox.jail.script.report import shape

_EARLY_SECS, _EARLY_SHARE = 0.5, 0.2  # before the end, whichever is less
_AGAIN_SECS = 0.25
_MAX_VALUES = 5
_MAX_CHARS = 40  # of a number


class Watch:
    """Tells where the one script is that is watched over. Made once for a process: to set a
    handler costs more than to set its timer."""

    def __init__(self) -> None:
        self._of: tuple[Calls, Channel] | None = None
        signal.signal(signal.SIGALRM, self._tell)

    def over(self, calls: Calls, channel: Channel, limit_secs: float) -> Self:
        """Within it, tell the gateway where the script is once ``limit_secs`` are nearly over."""
        self._of = calls, channel
        first = limit_secs - min(_EARLY_SECS, limit_secs * _EARLY_SHARE)
        signal.setitimer(signal.ITIMER_REAL, first, _AGAIN_SECS)
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._of = None

    def _tell(self, _: int, frame: FrameType | None) -> None:
        if self._of is None:
            return
        calls, channel = self._of
        with contextlib.suppress(Exception):  # a script's values, which others may be changing
            channel.try_send(json.dumps(_place(frame, calls.oldest_line)).encode())


def _place(frame: FrameType | None, waits_in: Callable[[], int | None]) -> dict[str, object]:
    while frame is not None and frame.f_code.co_filename != SCRIPT:
        frame = frame.f_back
    if frame is None:
        return {"t": "where", "line": waits_in()}
    values = _values({**frame.f_locals, **frame.f_globals})
    return {"t": "where", "line": frame.f_lineno, "values": values}


def _values(names: Mapping[str, object]) -> str:
    told = [f"{name} is {_shown(value)}" for name, value in names.items() if _is_told(name, value)]
    return "; ".join(told[:_MAX_VALUES])


def _is_told(name: str, value: object) -> bool:
    return not name.startswith("_") and type(value) in (dict, list, str, int, float, bool)


def _shown(value: object) -> str:
    return repr(value)[:_MAX_CHARS] if isinstance(value, int | float) else shape(value)
