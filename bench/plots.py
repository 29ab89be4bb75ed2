"""Plots as light SVG: bars and lines, each on a card of its own that is legible by day and by
night.

Nothing but text comes out, the same for the same numbers, so that a test can hold the files against
the data.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, MARGIN = 720, 24
TITLE, LINE = 44, 30  # heights
LABELS = 200  # the width of bars' names
PLOT_HEIGHT = 230
LABEL_ROOM = 36  # for a number below the axis
AXIS_LEFT, AXIS_RIGHT = 70, 130
SERIES = ("a", "b", "c")  # classes of colour

_STYLE = """<style>
.card{fill:#fff;stroke:#d5d9e2}text{font:13px system-ui,sans-serif;fill:#20283a}
.title{font-weight:600;font-size:15px}.small{font-size:12px;fill:#5a6478}.grid{stroke:#e4e7ee}
.a{fill:#2f6fdb}.b{fill:#d97706}.c{fill:#0f8a5f}.other{fill:#a9b2c3}
polyline{fill:none;stroke-width:2.5}.la{stroke:#2f6fdb}.lb{stroke:#d97706}.lc{stroke:#0f8a5f}
@media (prefers-color-scheme:dark){.card{fill:#161b24;stroke:#333c4d}text{fill:#e4e8f0}
.small{fill:#a3adbf}.grid{stroke:#2a3241}.a{fill:#6ea3ff}.b{fill:#f0a63c}.c{fill:#44c496}
.other{fill:#5d6880}.la{stroke:#6ea3ff}.lb{stroke:#f0a63c}.lc{stroke:#44c496}}
</style>"""

Point = tuple[float, float]


def bars(title: str, note: str, values: Mapping[str, float], ours: str) -> str:
    """A bar for each value, as long as it is large; ours stands out."""
    room = WIDTH - 2 * MARGIN - LABELS - 80
    most = max(values.values())
    drawn = []
    for number, (name, value) in enumerate(values.items()):
        top = TITLE + 18 + number * LINE
        long = max(2.0, room * value / most)
        colour = "a" if name == ours else "other"
        left = MARGIN + LABELS
        drawn += [
            _text(left - 10, top + 15, name, "end"),
            f'<rect class="{colour}" x="{left}" y="{top}" width="{long:.1f}" height="20" rx="3"/>',
            _text(left + long + 8, top + 15, number_text(value)),
        ]
    return _card(title, note, TITLE + 18 + len(values) * LINE + MARGIN, drawn)


def lines(title: str, note: str, series: Mapping[str, Sequence[Point]], x_name: str) -> str:
    """A line for each series, both axes logarithmic: equal ways are equal ratios."""
    points = [point for line in series.values() for point in line]
    across = _Axis([x for x, _ in points], AXIS_LEFT, WIDTH - AXIS_RIGHT)
    bottom = TITLE + 20 + PLOT_HEIGHT
    up = _Axis([y for _, y in points], bottom, TITLE + 20)
    drawn = []
    for tick in up.ticks():
        at = up.at(tick)
        ends = f'x1="{AXIS_LEFT}" x2="{WIDTH - AXIS_RIGHT}" y1="{at:.1f}" y2="{at:.1f}"'
        drawn.append(f'<line class="grid" {ends}/>')
        drawn.append(_text(AXIS_LEFT - 8, at + 4, number_text(tick), "end", "small"))
    free = -math.inf
    for x in sorted({x for x, _ in points}):
        if across.at(x) >= free:  # where two would lie on each other the first is written
            drawn.append(_text(across.at(x), bottom + 18, number_text(x), "middle", "small"))
            free = across.at(x) + LABEL_ROOM
    drawn.append(
        _text((AXIS_LEFT + WIDTH - AXIS_RIGHT) / 2, bottom + 36, x_name, "middle", "small")
    )
    names_at = _apart([up.at(line[-1][1]) for line in series.values()])
    for (name, line), colour, end in zip(series.items(), SERIES, names_at, strict=False):
        path = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in line)
        drawn.append(f'<polyline class="l{colour}" points="{path}"/>')
        drawn += [
            f'<circle class="{colour}" cx="{across.at(x):.1f}" cy="{up.at(y):.1f}" r="3.5"/>'
            for x, y in line
        ]
        drawn.append(_text(WIDTH - AXIS_RIGHT + 10, end + 4, name))
    return _card(title, note, bottom + 48 + MARGIN, drawn)


def number_text(value: float) -> str:
    """As people write it; large ones are cut to thousands."""
    if value >= 10_000:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


class _Axis:
    """Where values lie on a logarithmic axis."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low, self._high = math.log10(min(values)), math.log10(max(values))
        if self._high - self._low < 0.5:  # a flat line is flat, not a mountain of noise
            middle = (self._low + self._high) / 2
            self._low, self._high = middle - 0.25, middle + 0.25
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """The place of a value."""
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round numbers on the axis: powers of ten, where these are few others too."""
        powers = range(math.floor(self._low), math.ceil(self._high) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
            found = [step * 10.0**power for power in powers for step in steps]
            inside = [one for one in found if self._low <= math.log10(one) <= self._high]
            if len(inside) > 2:
                break
        return inside


def _apart(places: Sequence[float], least: float = 16) -> list[float]:
    """The same places, moved down where two texts would lie on each other."""
    moved: dict[int, float] = {}
    last = -math.inf
    for number, place in sorted(enumerate(places), key=lambda one: one[1]):
        last = max(place, last + least)
        moved[number] = last
    return [moved[number] for number in range(len(places))]


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _card(title: str, note: str, height: float, drawn: Sequence[str]) -> str:
    whole = height + 20
    box = f'viewBox="0 0 {WIDTH} {whole:.0f}" role="img" aria-labelledby="t"'
    card = f'x="0.5" y="0.5" width="{WIDTH - 1}" height="{whole - 1:.0f}" rx="10"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
            f'<title id="t">{escape(title)}</title>',
            _STYLE,
            f'<rect class="card" {card}/>',
            _text(MARGIN, 32, title, kind="title"),
            *drawn,
            _text(MARGIN, height + 4, note, kind="small"),
            "</svg>",
            "",
        )
    )
