"""What Python says of carelessness with tasks, coroutines, the loop's time or what is opened.

It says so in the process where it happens: in a test's own, or in one that a test has started.
"""

import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NOTES = "complaints"  # the file's name, in a folder of those who start programs
SLOW_SECS = 2.0  # asyncio's own 0.1 s is what a busy machine makes of anything; only with debug
_SLOW = re.compile(r"Executing .* took (\d+\.\d+) seconds")
# Python 3.11 says so of each connection of ``asyncio.start_server`` that is cancelled.
_STREAM = r"<function StreamReaderProtocol\."
_CARELESS = re.compile(
    r"was never awaited|never retrieved|was destroyed but it is pending|Non-thread-safe operation"
    rf"|Exception in callback (?!{_STREAM})|Unhandled exception|ResourceWarning"
)


def complaints(text: str) -> list[str]:
    """The lines of a log that tell of a fault."""
    return [line for line in text.splitlines() if _is_complaint(line)]


@contextmanager
def heard() -> Iterator[None]:
    """Within, asyncio has nothing to complain of in this process."""
    lines: list[str] = []
    logger, handler = logging.getLogger("asyncio"), _handler(lines.append)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    told = complaints("\n".join(lines))
    assert not told, told


def note_in(file: Path) -> None:
    """Write into a file what is complained of in this process, and in those forked of it.

    Of what is left open nothing is said elsewhere, as without this.
    """

    def note(text: str) -> None:
        if told := complaints(text):
            with file.open("a") as notes:
                notes.write(f"{sys.argv[1:]}: {' '.join(told)}\n")

    show = warnings.showwarning

    def noted(message: Warning | str, category: type[Warning], *where: object) -> None:
        note(f"{category.__name__}: {message}")
        if category is not ResourceWarning:
            show(message, category, *where)  # type: ignore[arg-type]

    logging.getLogger("asyncio").addHandler(_handler(note))
    warnings.showwarning = noted  # type: ignore[assignment]
    warnings.simplefilter("always", ResourceWarning)


def _handler(note: Callable[[str], None]) -> logging.Handler:
    handler = logging.Handler()
    handler.emit = lambda record: note(record.getMessage())  # type: ignore[method-assign]
    return handler


def _is_complaint(line: str) -> bool:
    slow = _SLOW.search(line)
    return float(slow[1]) >= SLOW_SECS if slow else bool(_CARELESS.search(line))
