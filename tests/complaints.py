"""What asyncio says where tasks, coroutines or the loop's time are handled carelessly."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

SLOW_SECS = 2.0  # asyncio's own 0.1 s is what a busy machine makes of anything; only with debug
_SLOW = re.compile(r"Executing .* took (\d+\.\d+) seconds")
_CARELESS = re.compile(
    r"was never awaited|never retrieved|was destroyed but it is pending|Non-thread-safe operation"
)


def complaints(text: str) -> list[str]:
    """The lines of a log that tell of a fault."""
    return [line for line in text.splitlines() if _is_complaint(line)]


@contextmanager
def heard() -> Iterator[None]:
    """Within, asyncio has nothing to complain of in this process."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    told = complaints("\n".join(lines))
    assert not told, told


def _is_complaint(line: str) -> bool:
    slow = _SLOW.search(line)
    return float(slow[1]) >= SLOW_SECS if slow else bool(_CARELESS.search(line))
