"""Date arithmetic on the Gregorian calendar, years 1 to 9999. Pure but for ``today``."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from mcproxy.demo.protocol import DemoToolError

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Span:
    """From one date to a later one; ``years``, ``months``, ``days`` add up, and so do the rest."""

    total_days: int
    weekdays: int  # Monday to Friday, the first day counted and the last not
    years: int
    months: int
    days: int


def parse(text: str) -> date:
    """Read ``YYYY-MM-DD`` or ``today`` (in UTC); raise DemoToolError for anything else."""
    if text.strip().casefold() == "today":
        return datetime.now(tz=UTC).date()
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        raise DemoToolError(
            f"{text!r} is not a date: {error}. Write it as YYYY-MM-DD, or 'today'."
        ) from None


def shift(start: date, *, months: int = 0, days: int = 0) -> date:
    """Add calendar months, then days. A day that the month lacks becomes its last (Jan 31 + 1)."""
    try:
        return _add_months(start, months) + timedelta(days=days)
    except (ValueError, OverflowError):
        raise DemoToolError("The result lies outside the years 1 to 9999.") from None


def span(start: date, end: date) -> Span:
    """Measure from ``start`` to ``end``, which must not be earlier."""
    months = (end.year - start.year) * 12 + end.month - start.month
    if _add_months(start, months) > end:
        months -= 1
    total = (end - start).days
    whole_weeks, rest = divmod(total, 7)
    extra = sum((start.weekday() + offset) % 7 < 5 for offset in range(rest))
    return Span(
        total_days=total,
        weekdays=whole_weeks * 5 + extra,
        years=months // 12,
        months=months % 12,
        days=(end - _add_months(start, months)).days,
    )


def _add_months(start: date, months: int) -> date:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise ValueError(year)
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))
