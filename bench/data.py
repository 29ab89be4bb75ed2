"""What was measured, kept: one small JSON file for each part, of which the report and plots are
made.

Each number stands in a table with a mark: ``measured`` (by the command, on the machine, on the day
that the file names), ``computed`` (from measured ones, by a rule that the table says), or
``estimated``.
"""

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass  # noqa: TID251  of its own
from pathlib import Path
from typing import Literal, TypeAlias, cast

import psutil

from mcproxy.types import JsonObject

FOLDER = Path(__file__).with_name("data")
SIGNIFICANT = 3  # digits of a number with a fraction: what is measured here holds no more

Cell: TypeAlias = "str | int | float | None"
Mark: TypeAlias = Literal["measured", "computed", "estimated"]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of numbers, the first cell of each being its name; ``None`` stands for what is not to be
    had."""

    name: str
    title: str
    mark: Mark
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def cell(self, row: str | int, column: str) -> Cell:
        """One number, by its row's first cell and its column's heading."""
        [found] = [each for each in self.rows if each[0] == row]
        return found[self.columns.index(column)]

    def number(self, row: str | int, column: str) -> float:
        """A cell that is a number."""
        value = self.cell(row, column)
        if isinstance(value, str) or value is None:
            raise TypeError(f"{self.name}: {row}, {column} is {value!r}")
        return value

    def column(self, name: str) -> list[Cell]:
        """The cells below a heading."""
        return [row[self.columns.index(name)] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Part:
    """What one run of one part gave, and where it came from."""

    part: str
    command: str
    date: str
    machine: str
    load: float  # of the machine before the run: other work than ours
    secs: float
    tables: tuple[Table, ...]

    def table(self, name: str) -> Table:
        """One of the tables."""
        [found] = [each for each in self.tables if each.name == name]
        return found


Parts: TypeAlias = Mapping[str, Part]
"""By their names."""


def rounded(value: float) -> float:
    """With as many digits as count."""
    return float(f"{value:.{SIGNIFICANT}g}")


def machine() -> str:
    """What it was measured on, in a line."""
    memory = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    cores = f"{os.cpu_count()} cores of {_processor()}"
    return f"{cores}, {memory:.0f} GiB, {system}, Python {platform.python_version()}"


def today() -> str:
    """The day, as ISO has it."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def write(part: Part, folder: Path = FOLDER) -> None:
    """Keep it, a row of a table on a line, so that a new run shows as a difference of lines."""
    folder.mkdir(exist_ok=True)
    document = {**asdict(part), "tables": []}
    head = json.dumps(document, indent=1, ensure_ascii=False).removesuffix("[]\n}")
    tables = ",\n".join(_written(table) for table in part.tables)
    (folder / f"{part.part}.json").write_text(f"{head}[\n{tables}\n]}}\n", encoding="utf-8")


def read(name: str, folder: Path = FOLDER) -> Part:
    """The last run of a part."""
    document = cast("JsonObject", json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
    tables = cast("Sequence[Mapping[str, object]]", document.pop("tables"))
    return Part(**document, tables=tuple(map(_table, tables)))  # type: ignore[arg-type]


def grid(table: Table) -> str:
    """The table alone."""
    shown = [table.columns, *(tuple(map(words, row)) for row in table.rows)]
    lines = [f"| {' | '.join(row)} |" for row in shown]
    return "\n".join((lines[0], "|---" * len(table.columns) + "|", *lines[1:]))


def words(cell: Cell) -> str:
    """A cell as people read it; numbers have as many digits as they were kept with."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell.replace("|", "\\|")
    if isinstance(cell, int) or cell >= 100:
        return f"{cell:,.0f}"
    return f"{cell:g}"


def _written(table: Table) -> str:
    head = json.dumps({**asdict(table), "rows": []}, ensure_ascii=False)
    rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in table.rows)
    return head.replace('"rows": []', f'"rows": [\n  {rows}\n]', 1)


def _table(document: Mapping[str, object]) -> Table:
    columns = tuple(cast("list[str]", document["columns"]))
    rows = tuple(tuple(row) for row in cast("list[list[Cell]]", document["rows"]))
    return Table(**{**document, "columns": columns, "rows": rows})  # type: ignore[arg-type]


def _processor() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()
