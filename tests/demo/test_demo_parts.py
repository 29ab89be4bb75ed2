"""The pure parts of the demo: units, dates, number bases, the argument check, the configuration."""

import subprocess
import sys
from datetime import date, timedelta
from math import isfinite
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.demo import dates, figures, units
from mcproxy.demo.config import demo_config
from mcproxy.demo.schema import (
    BadArguments,
    JsonObject,
    accept,
    array,
    integer,
    number,
    record,
    text,
)
from mcproxy.demo.units import UNITS, Unit

NUMBERS = st.floats(min_value=-1e100, max_value=1e100)
DAYS = st.dates(min_value=date(1600, 1, 1), max_value=date(2400, 1, 1))


@pytest.mark.parametrize(
    ("value", "source", "target", "wanted"),
    [
        (1, "in", "cm", 2.54),
        (0.1, "km", "m", 100.0),
        (-40, "°F", "°C", -40.0),
        (100, "celsius", "Fahrenheit", 212.0),
        (0, "K", "C", -273.15),
        (1, "GiB", "MB", 1073.741824),
        (90, "km/h", "m/s", 25.0),
        (1, "Feet", "inches", 12.0),
        (180, "deg", "turn", 0.5),
        (1, "atm", "mmHg", 760.0),
        (1, "lb", "oz", 16.0),
        (1, "gal", "fl oz", 128.0),
        (1, "sq mi", "acre", 640.0),
    ],
)
def test_conversion(value: float, source: str, target: str, wanted: float) -> None:
    assert units.convert(value, source, target) == wanted


@given(value=st.floats(min_value=0, max_value=1e12), unit=st.sampled_from(UNITS))
def test_conversion_and_back_gives_the_same(value: float, unit: Unit) -> None:
    for other in units.units_of(unit.quantity):
        there = units.convert(value, unit.symbol, other.symbol)
        back = units.convert(there, other.symbol, unit.symbol)
        assert back == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_every_spelling_means_one_unit() -> None:
    for unit in UNITS:
        assert {units.find(spelling) for spelling in unit.spellings()} == {unit}


@given(start=DAYS, end=DAYS)
def test_span_adds_up(start: date, end: date) -> None:
    start, end = min(start, end), max(start, end)
    span = dates.span(start, end)
    shifted = dates.shift(start, months=span.years * 12 + span.months, days=span.days)
    assert shifted == end
    assert start + timedelta(days=span.total_days) == end


@given(start=DAYS, length=st.integers(min_value=0, max_value=60))
def test_weekdays_are_counted_one_by_one(start: date, length: int) -> None:
    days = [start + timedelta(days=offset) for offset in range(length)]
    counted = sum(day.weekday() < 5 for day in days)
    assert dates.span(start, start + timedelta(days=length)).weekdays == counted


@given(value=st.integers(), base=st.integers(min_value=2, max_value=36))
def test_number_in_another_base_reads_back(value: int, base: int) -> None:
    written = figures.rebase(str(value), 10, base)[1]
    assert int(written, base) == value


@given(numbers=st.lists(NUMBERS, min_size=1, max_size=20))
def test_statistics_are_finite_and_in_order(numbers: list[float]) -> None:
    found = figures.describe(numbers)
    assert found.min <= found.q1 <= found.median <= found.q3 <= found.max
    assert isfinite(found.sum + found.mean + (found.variance or 0))


SCHEMA = record(
    {
        "name": text("A name.", minLength=1, maxLength=3),
        "count": integer("A count.", minimum=0),
        "sizes": array("Sizes.", number("A size."), maxItems=2),
        "nested": record({"deep": text("Deep.")}, ("deep",)),
    },
    required=("name",),
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@given(
    arguments=st.dictionaries(st.sampled_from(["name", "count", "sizes", "nested", "nmae"]), VALUES)
)
def test_the_check_agrees_with_json_schema(arguments: JsonObject) -> None:
    if jsonschema_rs.is_valid(SCHEMA, arguments):
        assert accept(SCHEMA, arguments) == arguments
    else:
        with pytest.raises(BadArguments):
            accept(SCHEMA, arguments)


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ({}, ("name is missing (A name.)",)),
        ({"name": "a", "nmae": 1}, ("nmae is not an argument; did you mean name?",)),
        ({"name": "a", "nested": {}}, ("nested.deep is missing (Deep.)",)),
        ({"name": None}, ("name must be a string, not null",)),
        ({"name": "\ud800"}, ("name must be valid Unicode, without unpaired surrogates",)),
        ({"name": "a", "count": [1]}, ("count must be an integer, not [1]",)),
        (
            {"name": "a", "sizes": [float("inf")]},
            ("sizes[0] must be a finite number, not Infinity",),
        ),
    ],
)
def test_problems_in_words(arguments: JsonObject, problems: tuple[str, ...]) -> None:
    with pytest.raises(BadArguments) as refused:
        accept(SCHEMA, arguments)
    assert refused.value.problems == problems


@pytest.mark.requirement("demo.any_directory")
@pytest.mark.parametrize("server", ["notes", "calc"])
def test_configured_commands_start_in_a_hostile_directory(server: str, tmp_path: Path) -> None:
    """The working directory has modules of the names that the servers import."""
    for name in ("json", "mcproxy", "sqlite3", "calendar"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)", "utf-8")
    config = demo_config(sys.executable)
    servers = config["servers"]
    assert isinstance(servers, dict)
    entry = servers[server]
    assert isinstance(entry, dict)
    command, args = entry["command"], entry["args"]
    assert isinstance(args, list)
    done = subprocess.run(
        [str(command), *map(str, args)],
        cwd=tmp_path,
        env={"MCPROXY_NOTES_DB": str(tmp_path / "notes.sqlite3")},
        input=b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n',
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b'{"jsonrpc":"2.0","id":1,"result":{}}\n'
    assert config["namespaces"] == {"public": ["notes", "calc"]}
