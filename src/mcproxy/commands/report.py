"""What a command has to say, and how rows become columns. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from mcproxy.errors import McproxyError
from mcproxy.types import JsonObject

GOOD, PROBLEMS, USAGE = 0, 1, 2
_GAP = "  "


class WrongUsage(McproxyError):
    """What was typed makes no sense; the exit status is ``USAGE``."""


class CommandReport(msgspec.Struct, frozen=True):
    """Lines for people, the same as facts for ``--json``, and the exit status."""

    lines: tuple[str, ...]
    status: int = GOOD
    facts: JsonObject = msgspec.field(default_factory=dict)

    @property
    def text(self) -> str:
        """All lines as one text."""
        return "\n".join(self.lines)


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> Iterable[str]:
    """The rows as lines whose cells stand below one another; the last cell is as long as it is."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)][:-1]
    for row in rows:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield f"{indent}{_GAP.join([*padded, row[-1]])}".rstrip()
