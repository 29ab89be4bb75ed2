"""What the signals that stop the gateway or reload it do, from its first step to its last.

Before there is an event loop a stop ends the program; while there is one, whoever hears it is
called, at once or as soon as it begins to listen: to raise within the loop's own code would leave
that half done. Once the loop has ended nothing happens any more. At no time is it the signal's
default, which would kill a gateway that is told to stop a second time: a loop's own handlers leave
it behind as the loop is closed, and the interpreter puts it in the place of ours as it ends.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPS = (signal.SIGTERM, signal.SIGINT)
_ALL = (*STOPS, signal.SIGHUP)

_kept: set[int] = set()  # that came before anybody heard them


def stop_at_once() -> None:
    """From now on a stop ends the program with status 0, and a hangup says nothing.

    At once: nothing is there to be cleared away yet but by the guardian, and what is raised while
    modules are loaded may be swallowed.
    """
    for number in STOPS:
        signal.signal(number, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, _nothing)


def keep() -> None:
    """From now on they are kept for whoever hears them in the loop that is about to run."""
    for number in _ALL:
        signal.signal(number, lambda came, _: _kept.add(came))


@contextmanager
def heard(call: Callable[[], object], *numbers: signal.Signals) -> Iterator[None]:
    """Within, each of these signals calls ``call`` in the running loop; after that, nothing."""
    loop = asyncio.get_running_loop()
    for number in numbers:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(call))
    if _kept.intersection(numbers):
        loop.call_soon(call)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, _nothing)


def hear_no_more() -> None:
    """From now on, when all has ended and no process is started any more, none says anything.

    They are blocked, which is how it stays to the very end. What is blocked is not ignored as well:
    the interpreter complains of a signal that came while its handler was being changed for that.
    """
    for number in _ALL:
        signal.signal(number, _nothing)
    signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)


def _nothing(*_: object) -> None:
    pass
