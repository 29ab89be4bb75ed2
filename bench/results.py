"""Renders what was measured: ``bench/RESULTS.md``, the plots, and the figures in README and docs.

    python -m bench results

All of it is made of ``bench/data`` alone, and a test holds the files against it. In a page, what
stands between ``<!-- figures: NAME -->`` and ``<!-- end of figures -->`` is written here.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from bench import data, plots
from bench.data import Part, Parts, Table, grid
from bench.figures import FIGURES

ROOT = Path(__file__).parents[1]
REPORT = "bench/RESULTS.md"
IMAGES = "docs/images"
ORDER = ("tokens", "search", "peers", "start", "growth", "soak")
PAGES = ("README.md", "docs/index.md", "docs/reliability.md", "docs/search.md")
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)

TITLES = {
    "tokens": "Tokens",
    "search": "Search",
    "peers": "Beside others",
    "start": "Start and memory",
    "growth": "How cost grows",
    "soak": "Soak",
}
HEAD = """# Results

Every number here is made by `make bench` (about a quarter of an hour; `make bench-peers` before it
installs the programs of others), each part alone by the command that stands with it. The data are
in [`bench/data`](data); the figures of README and documentation are rendered of the same. Each
table says whether its numbers are *measured*, or *computed* from measured ones. Times on a machine
that does other work too are worth little; the ratios between programs that were asked in turns
within one run are worth more.
"""


def main() -> int:
    """Write all of it."""
    parts = {name: data.read(name) for name in ORDER if (data.FOLDER / f"{name}.json").is_file()}
    for name, content in rendered(parts, ROOT).items():
        (ROOT / name).write_text(content, encoding="utf-8")
    print(f"written: {REPORT}, plots and figures of {', '.join(parts)}")
    return 0


def rendered(parts: Parts, root: Path) -> dict[str, str]:
    """Each file that is made of the data, by its path from the root of the project."""
    pages = {name: (root / name).read_text(encoding="utf-8") for name in PAGES}
    return {
        REPORT: report(parts),
        **{
            f"{IMAGES}/{name}.svg": draw(parts)
            for name, (draw, need) in PLOTS.items()
            if need in parts
        },
        **{name: _with_figures(text, parts) for name, text in pages.items()},
    }


def report(parts: Parts) -> str:
    """The whole report."""
    return "\n".join((HEAD, *(_chapter(parts[name]) for name in ORDER if name in parts)))


def _chapter(part: Part) -> str:
    ran = f"`{part.command}`, {part.date}, {part.secs:.0f} s"
    where = f"{ran}; {part.machine}. Load of the machine before: {part.load:g}."
    drawn = [
        f"![{name}](../{IMAGES}/{name}.svg)\n"
        for name, (_, need) in PLOTS.items()
        if need == part.part
    ]
    return "\n".join(
        (f"## {TITLES[part.part]}\n", f"{where}\n", *drawn, *map(as_markdown, part.tables))
    )


def as_markdown(table: Table) -> str:
    """A table with its title and mark."""
    return f"**{table.title}** ({table.mark})\n\n{grid(table)}\n\n{table.note}\n"


def _with_figures(text: str, parts: Parts) -> str:
    def figures(found: re.Match[str]) -> str:
        told, needs = FIGURES[found[2]]
        return f"{found[1]}{told(parts)}\n{found[3]}" if needs <= parts.keys() else found[0]

    return _BLOCK.sub(figures, text)


def _tokens_plot(parts: Parts) -> str:
    lists = parts["tokens"].table("lists")
    series = {
        name: list(zip(_numbers(lists, "tools"), _numbers(lists, f"{name}, tokens"), strict=True))
        for name in ("direct MCP", "MCProxy")
    }
    return plots.lines(
        "Tokens before any work, by number of tools",
        f"Real catalogues, o200k, both axes logarithmic. {_from(parts['tokens'])}",
        series,
        "tools",
    )


def _calls_plot(parts: Parts) -> str:
    calls = parts["peers"].table("calls")
    [column] = [name for name in calls.columns if name.startswith("calls a second")]
    values = {
        str(row[0]): cast("float", calls.cell(str(row[0]), column))
        for row in calls.rows
        if calls.cell(str(row[0]), column) is not None
    }
    return plots.bars(
        "Tool calls a second through each, 16 clients",
        f"One server behind all; more is better. {_from(parts['peers'])}",
        values,
        "MCProxy",
    )


def _growth_plot(
    table: str, x: str, title: str, columns: Mapping[str, str]
) -> Callable[[Parts], str]:
    def draw(parts: Parts) -> str:
        grown = parts["growth"].table(table)
        series = {
            name: list(zip(_numbers(grown, x), _numbers(grown, column), strict=True))
            for name, column in columns.items()
        }
        return plots.lines(title, f"Both axes logarithmic. {_from(parts['growth'])}", series, x)

    return draw


PLOTS: Mapping[str, tuple[Callable[[Parts], str], str]] = {
    "bench-tokens": (_tokens_plot, "tokens"),
    "bench-calls": (_calls_plot, "peers"),
    "bench-tools": (
        _growth_plot(
            *("tools", "tools", "Time by number of tools, ms, p50"),
            {"search": "search, ms", "execute": "execute, ms", "call": "call, ms"},
        ),
        "growth",
    ),
    "bench-sessions": (
        _growth_plot(
            *("sessions", "sessions open", "By number of open sessions"),
            {"memory, MiB": "memory, MiB", "call, ms": "call, p50 ms"},
        ),
        "growth",
    ),
    "bench-servers": (
        _growth_plot(
            *("servers", "servers", "By number of servers"),
            {
                "memory, MiB": "memory, MiB",
                "start, s": "start to all tools, s",
                "call, ms": "call, p50 ms",
            },
        ),
        "growth",
    ),
}
"""Each plot by its file's name, with the part that it is made of."""


def _from(part: Part) -> str:
    return f"{part.command}, {part.date}"


def _numbers(table: Table, column: str) -> list[float]:
    return [value for value in table.column(column) if isinstance(value, int | float)]
