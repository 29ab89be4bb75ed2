"""What each tool of ``calc`` answers, as JSON. The arithmetic itself is in its own modules.

The parameters are the properties of the tool's input schema, with the same defaults. Pure but for
the date ``today``.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

from mcproxy.demo import dates, figures, units
from mcproxy.demo.schema import JsonObject


def convert_units(value: float, from_unit: str, to_unit: str) -> JsonObject:
    """Answer the tool of this name."""
    answer = units.convert(value, from_unit, to_unit)
    source, target = units.find(from_unit), units.find(to_unit)
    return {
        "value": answer,
        "unit": target.symbol,
        "quantity": target.quantity,
        "text": f"{value:.12g} {source.symbol} = {answer:.12g} {target.symbol}",
    }


def list_units(quantity: str | None = None) -> JsonObject:
    """Answer the tool of this name."""
    chosen = units.quantities() if quantity is None else (quantity,)
    return {
        "units": [
            {"quantity": unit.quantity, "name": unit.name, "symbol": unit.symbol}
            for name in chosen
            for unit in units.units_of(name)
        ]
    }


def add_to_date(
    date: str, years: int = 0, months: int = 0, weeks: int = 0, days: int = 0
) -> JsonObject:
    """Answer the tool of this name."""
    start = dates.parse(date)
    return _described(dates.shift(start, months=years * 12 + months, days=weeks * 7 + days))


def date_difference(start: str, end: str) -> JsonObject:
    """Answer the tool of this name."""
    first, last = dates.parse(start), dates.parse(end)
    span = dates.span(min(first, last), max(first, last))
    return {
        "total_days": span.total_days if first <= last else -span.total_days,
        "weekdays": span.weekdays,
        "years": span.years,
        "months": span.months,
        "days": span.days,
        "backwards": first > last,
    }


def describe_numbers(numbers: Sequence[float]) -> JsonObject:
    """Answer the tool of this name."""
    return asdict(figures.describe(numbers))


def percentage(operation: str, a: float, b: float) -> JsonObject:
    """Answer the tool of this name."""
    return {"value": figures.percentage(operation, a, b)}


def convert_base(number: str, from_base: int = 10, to_base: int = 16) -> JsonObject:
    """Answer the tool of this name."""
    value, written = figures.rebase(number, from_base, to_base)
    return {"number": written, "base": to_base, "decimal": str(value)}


def _described(day: date) -> JsonObject:
    year, week, weekday = day.isocalendar()
    return {
        "date": day.isoformat(),
        "weekday": dates.WEEKDAYS[weekday - 1],
        "iso_week": f"{year:04}-W{week:02}",
    }
