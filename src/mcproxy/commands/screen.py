"""Where a command's output goes: lines, tables and JSON, with colour on a terminal, else plain.

Names and values that others wrote act on no terminal: every text is cleaned before it is styled.
``rich`` draws on a terminal only, and is imported when the first table or colour is needed.
"""

# ruff: noqa: PLC0415

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mcproxy.commands.report import CommandReport, columns
from mcproxy.foreign_text import clean
from mcproxy.types import Json, JsonObject

if TYPE_CHECKING:
    from rich.console import RenderableType

OWN_NAME = "`mcproxy "  # how texts name a command of ours
SCHEMA = 1  # of every document that ``--json`` prints
CLEAR = "\x1b[H\x1b[2J"
_ERASE_LINE = "\r\x1b[2K"

# The words that commands use for how something is, with the colour that says the same.
STYLES: Mapping[str, str] = {
    "good": "green",
    "ok": "green",
    "ready": "green",
    "idle": "cyan",
    "note": "cyan",
    "starting": "yellow",
    "restarting": "yellow",
    "warning": "yellow",
    "degraded": "yellow",
    "error": "bold red",
    "failed": "bold red",
    "unconfigured": "bold red",
    "stopping": "red",
    "disabled": "dim",
}


class Screen:
    """``write`` is given text that is printed as it is, line ends included; ``called`` is what the
    reader types to start this program, and what lines name its commands by."""

    def __init__(
        self,
        write: Callable[[str], object],
        *,
        styled: bool = False,
        width: int = 80,
        called: str = "mcproxy",
    ) -> None:
        self.styled = styled
        self._write, self._width, self._own_name = write, width, f"`{called} "
        self._passing = False

    def report(self, report: CommandReport, *, as_json: bool) -> int:
        """Print a report, its lines or its facts; its exit status."""
        if as_json:
            self.json(report.facts)
        else:
            self.line(report.text)
        return report.status

    def line(self, text: str = "", style: str = "") -> None:
        """Print a line, or several."""
        self._erase()
        text = text.replace(OWN_NAME, self._own_name)
        if self.styled and style:
            from rich.text import Text

            self._draw(Text(clean(text), style=style), soft_wrap=True)  # terminals wrap lines
        else:
            self._write(f"{clean(text)}\n")

    def raw(self, text: str) -> None:
        """Print text that others wrote, without a line end of ours."""
        self._write(clean(text))

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print rows; a cell that is a word of ``STYLES`` has its colour."""
        self._erase()
        if self.styled:
            self._draw(_table(headers, rows))
            return
        for text in columns([headers, *rows]) if rows else ():
            self._write(f"{clean(text)}\n")

    def json(self, document: Mapping[str, Json]) -> None:
        """Print a document, with the version of its form."""
        shown: JsonObject = {"schema": SCHEMA, **document}
        self._write(json.dumps(shown, ensure_ascii=False, indent=2) + "\n")

    def passing(self, text: str) -> None:
        """Show what is waited for, until the next line; on a terminal only."""
        if self.styled:
            self._passing = True
            first = clean(text).partition("\n")[0]
            self._write(f"{_ERASE_LINE}{first[: self._width - 1]}")

    def clear(self) -> None:
        """Begin anew at the top of a terminal."""
        if self.styled:
            self._write(CLEAR)

    def _erase(self) -> None:
        if self._passing:
            self._passing = False
            self._write(_ERASE_LINE)

    def _draw(self, what: "RenderableType", *, soft_wrap: bool = False) -> None:
        from rich.console import Console

        drawn = io.StringIO()
        Console(
            file=drawn, force_terminal=True, width=self._width, highlight=False, emoji=False
        ).print(what, soft_wrap=soft_wrap)
        self._write(drawn.getvalue())


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> "RenderableType":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell), style=STYLES.get(cell, "")) for cell in row))
    return table
