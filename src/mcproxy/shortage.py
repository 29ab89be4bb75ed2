"""What this machine lacks when a process cannot be started: no fault of what was to be started, and
over soon, as a rule. So it is told in words, counts as no attempt, and is tried again.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

SCARCE_SECS = 5.0  # before a start is tried again for which this machine had no means
_PIPES = 8  # more than the event loop opens, at some moment, to start a process

_LACKING: Mapping[int, str] = {
    errno.EMFILE: "the gateway has as many files open as it may (`ulimit -n`)",
    errno.ENFILE: "this machine has as many files open as it can (fs.file-max)",
    errno.ENOMEM: "this machine has no memory left",
    errno.EAGAIN: "there are as many processes as there may be (`ulimit -u`, pids.max)",
}

log = logging.getLogger(__name__)

T = TypeVar("T")


class Shortage(OSError):
    """What was tried for as long as it might be; the text says what is lacking."""


def lacking(number: int | None) -> str | None:
    """What an ``errno`` says that the machine lacks; None for any other fault."""
    return _LACKING.get(number or 0)


def need_descriptors() -> None:
    """Raise OSError where there are too few for the event loop to start a process: uvloop, which
    finds out half-way, says "unknown error" then, and can never be closed."""
    held: list[int] = []
    try:
        for _ in range(_PIPES):
            held += os.pipe()
    finally:
        for one in held:
            os.close(one)


async def when_possible(start: Callable[[], Awaitable[T]], what: str, secs: float) -> T:
    """What ``start`` gives, tried again for ``secs`` while the machine lacks what it takes.

    Raises what it raises, and Shortage.
    """
    now = asyncio.get_running_loop().time
    until = now() + secs
    while True:
        try:
            return await start()
        except OSError as error:
            lack = lacking(error.errno)
            if lack is None:
                raise
            if now() + 2 * SCARCE_SECS > until:  # before the caller's own bound: it says less
                raise Shortage(f"it cannot be started: {lack}") from error
        log.warning("%s cannot be started: %s; tried again in %g s", what, lack, SCARCE_SECS)
        await asyncio.sleep(SCARCE_SECS)
