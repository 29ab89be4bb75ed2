"""Conversion between units of measurement, exact: fractions throughout, a float only at the end.

A unit is ``factor`` times the base unit of its quantity, after ``offset`` was added (temperatures).
Factors that are defined exactly (inch, pound, calorie, BTU, the US gallon …) are exact here.
"""

from difflib import get_close_matches
from fractions import Fraction

from mcproxy.demo.protocol import DemoToolError
from mcproxy.demo.unit_table import UNITS, Unit


def convert(value: float, from_name: str, to_name: str) -> float:
    """Return ``value`` in another unit of the same quantity.

    Raises DemoToolError for unknown units, for units of different quantities, and below absolute
    zero.
    """
    source, target = find(from_name), find(to_name)
    if source.quantity != target.quantity:
        raise DemoToolError(
            f"{source.name} is a unit of {source.quantity} and {target.name} one of "
            f"{target.quantity}; both must measure the same. "
            f"Units of {source.quantity}: {_symbols(source.quantity)}."
        )
    # The shortest decimal form of a float is what the caller wrote: 0.1 means one tenth.
    base = (Fraction(repr(value)) + Fraction(source.offset)) * Fraction(source.factor)
    if source.quantity == "temperature" and base < 0:
        raise DemoToolError(f"{value:g} {source.symbol} is below absolute zero.")
    try:
        return float(base / Fraction(target.factor) - Fraction(target.offset))
    except OverflowError:
        raise DemoToolError(
            f"{value:g} {source.symbol} is too large a number in {target.name}."
        ) from None


def find(name: str) -> Unit:
    """Return the unit of this symbol, name or plural; raise DemoToolError with a did-you-mean.

    Symbols count as written first (``Mb`` is not ``MB``), then in any case when only one fits.
    """
    wanted = name.strip()
    if exact := [unit for unit in UNITS if wanted in unit.spellings()]:
        return exact[0]
    folded = wanted.casefold()
    near = [unit for unit in UNITS if folded in {text.casefold() for text in unit.spellings()}]
    if len(near) == 1:
        return near[0]
    if near:
        choices = " or ".join(f"{unit.symbol} ({unit.name})" for unit in near)
        raise DemoToolError(f"{name!r} is ambiguous: write {choices}.")
    close = get_close_matches(folded, [unit.name for unit in UNITS], n=2, cutoff=0.75)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise DemoToolError(f"There is no unit {name!r}.{hint} list_units names them all.")


def quantities() -> tuple[str, ...]:
    """Return the names of what can be measured, in the order of the table."""
    return tuple(dict.fromkeys(unit.quantity for unit in UNITS))


def units_of(quantity: str) -> tuple[Unit, ...]:
    """Return the units of one quantity."""
    return tuple(unit for unit in UNITS if unit.quantity == quantity)


def _symbols(quantity: str) -> str:
    return ", ".join(unit.symbol for unit in units_of(quantity))
