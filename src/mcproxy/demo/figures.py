"""Arithmetic on plain numbers: statistics of a list, percentages, number bases. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from string import ascii_lowercase, digits

from mcproxy.demo.protocol import DemoToolError

_DIGITS = digits + ascii_lowercase


@dataclass(frozen=True, slots=True)
class Summary:
    """A list of numbers in brief; ``stdev`` and ``variance`` are of a sample, so they need two."""

    count: int
    sum: float
    mean: float
    median: float
    min: float
    max: float
    q1: float
    q3: float
    stdev: float | None
    variance: float | None


def describe(numbers: Sequence[float]) -> Summary:
    """Summarise at least one number. Quartiles lie between neighbours, as in spreadsheets."""
    several = len(numbers) > 1
    q1, median, q3 = (
        statistics.quantiles(numbers, n=4, method="inclusive") if several else [numbers[0]] * 3
    )
    return Summary(
        count=len(numbers),
        sum=fsum(numbers),
        mean=statistics.fmean(numbers),
        median=median,
        min=min(numbers),
        max=max(numbers),
        q1=q1,
        q3=q3,
        stdev=statistics.stdev(numbers) if several else None,
        variance=statistics.variance(numbers) if several else None,
    )


def percentage(operation: str, a: float, b: float) -> float:
    """Return ``a`` per cent of ``b``, ``a`` in per cent of ``b``, or the change from a to b."""
    if operation == "percent_of":
        return a / 100 * b
    base = b if operation == "what_percent" else a
    if base == 0:
        raise DemoToolError(
            f"{operation} divides by {'b' if operation == 'what_percent' else 'a'}, which is 0."
        )
    answer = a / b * 100 if operation == "what_percent" else (b - a) / abs(a) * 100
    if not isfinite(answer):
        raise DemoToolError("The result is too large a number.")
    return answer


def rebase(text: str, from_base: int, to_base: int) -> tuple[int, str]:
    """Return the whole number written in ``text``, and how it is written in ``to_base``."""
    try:
        value = int(text, from_base)
    except ValueError:
        raise DemoToolError(
            f"{text!r} is not a whole number in base {from_base}; "
            f"its digits are {_DIGITS[:from_base]}."
        ) from None
    return value, _written(value, to_base)


def _written(value: int, base: int) -> str:
    if value < 0:
        return f"-{_written(-value, base)}"
    figures = ""
    while value >= base:
        value, digit = divmod(value, base)
        figures = _DIGITS[digit] + figures
    return _DIGITS[value] + figures
