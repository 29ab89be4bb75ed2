"""Conversion between units of measurement, exact: fractions throughout, a float only at the end.

A unit is ``factor`` times the base unit of its quantity, after ``offset`` was added (temperatures).
Factors that are defined exactly (inch, pound, calorie, BTU, the US gallon …) are exact here: they
are decimals or quotients, in text. Sources: SI brochure (9th edition); NIST Special Publication
811, appendix B; IEC 80000-13 (data).
"""

from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction

from mcproxy.demo.protocol import DemoToolError


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: base units of ``quantity`` = (value + ``offset``) * ``factor``."""

    quantity: str
    name: str
    symbol: str
    factor: str
    also: tuple[str, ...] = ()
    offset: str = "0"

    def spellings(self) -> tuple[str, ...]:
        """Return every way to write this unit: symbol, name, plural and the rest."""
        return (self.symbol, self.name, f"{self.name}s", *self.also)


UNITS = (
    # Lengths, in meters.
    Unit("length", "nanometer", "nm", "1e-9", ("nanometre", "nanometres")),
    Unit("length", "micrometer", "µm", "1e-6", ("um", "micrometre", "micrometres", "micron")),
    Unit("length", "millimeter", "mm", "0.001", ("millimetre", "millimetres")),
    Unit("length", "centimeter", "cm", "0.01", ("centimetre", "centimetres")),
    Unit("length", "meter", "m", "1", ("metre", "metres")),
    Unit("length", "kilometer", "km", "1000", ("kilometre", "kilometres")),
    Unit("length", "inch", "in", "0.0254", ("inches", '"')),
    Unit("length", "foot", "ft", "0.3048", ("feet", "'")),
    Unit("length", "yard", "yd", "0.9144"),
    Unit("length", "mile", "mi", "1609.344"),
    Unit("length", "nautical mile", "nmi", "1852"),
    Unit("length", "astronomical unit", "au", "149597870700"),
    Unit("length", "light-year", "ly", "9460730472580800", ("lightyear", "light year")),
    # Masses, in kilograms.
    Unit("mass", "milligram", "mg", "1e-6"),
    Unit("mass", "gram", "g", "0.001", ("gramme", "grammes")),
    Unit("mass", "kilogram", "kg", "1", ("kilo", "kilos")),
    Unit("mass", "tonne", "t", "1000", ("metric ton", "metric tons")),
    Unit("mass", "ounce", "oz", "0.028349523125"),
    Unit("mass", "pound", "lb", "0.45359237", ("lbs",)),
    Unit("mass", "stone", "st", "6.35029318"),
    Unit("mass", "short ton", "ton", "907.18474", ("US ton",)),
    # Temperatures, in kelvins.
    Unit("temperature", "kelvin", "K", "1"),
    Unit("temperature", "celsius", "°C", "1", ("C", "degC", "centigrade"), "273.15"),
    Unit("temperature", "fahrenheit", "°F", "5/9", ("F", "degF"), "459.67"),
    Unit("temperature", "rankine", "°R", "5/9", ("R", "degR")),
    # Areas, in square meters.
    Unit("area", "square centimeter", "cm²", "0.0001", ("cm2", "sq cm")),
    Unit("area", "square meter", "m²", "1", ("m2", "sq m", "square metre", "square metres")),
    Unit("area", "hectare", "ha", "10000"),
    Unit("area", "square kilometer", "km²", "1000000", ("km2", "sq km")),
    Unit("area", "square inch", "in²", "0.00064516", ("in2", "sq in", "square inches")),
    Unit("area", "square foot", "ft²", "0.09290304", ("ft2", "sq ft", "square feet")),
    Unit("area", "acre", "ac", "4046.8564224"),
    Unit("area", "square mile", "mi²", "2589988.110336", ("mi2", "sq mi")),
    # Volumes, in liters.
    Unit("volume", "milliliter", "mL", "0.001", ("ml", "millilitre", "millilitres", "cm³", "cm3")),
    Unit("volume", "liter", "L", "1", ("l", "litre", "litres")),
    Unit("volume", "cubic meter", "m³", "1000", ("m3", "cubic metre", "cubic metres")),
    Unit("volume", "US teaspoon", "tsp", "0.00492892159375", ("teaspoon", "teaspoons")),
    Unit("volume", "US tablespoon", "tbsp", "0.01478676478125", ("tablespoon", "tablespoons")),
    Unit("volume", "US fluid ounce", "fl oz", "0.0295735295625", ("floz", "fluid ounce")),
    Unit("volume", "US cup", "cup", "0.2365882365", ("cups",)),
    Unit("volume", "US pint", "pt", "0.473176473", ("pint", "pints")),
    Unit("volume", "US quart", "qt", "0.946352946", ("quart", "quarts")),
    Unit("volume", "US gallon", "gal", "3.785411784", ("gallon", "gallons")),
    Unit("volume", "imperial pint", "imp pt", "0.56826125", ("UK pint",)),
    Unit("volume", "imperial gallon", "imp gal", "4.54609", ("UK gallon",)),
    # Times, in seconds.
    Unit("time", "nanosecond", "ns", "1e-9"),
    Unit("time", "microsecond", "µs", "1e-6", ("us",)),
    Unit("time", "millisecond", "ms", "0.001"),
    Unit("time", "second", "s", "1", ("sec", "secs")),
    Unit("time", "minute", "min", "60", ("mins",)),
    Unit("time", "hour", "h", "3600", ("hr", "hrs")),
    Unit("time", "day", "d", "86400"),
    Unit("time", "week", "wk", "604800"),
    Unit("time", "Julian year", "yr", "31557600", ("year", "years", "a")),
    # Speeds, in meters per second.
    Unit("speed", "meter per second", "m/s", "1", ("mps", "meters per second")),
    Unit("speed", "kilometer per hour", "km/h", "5/18", ("kmh", "kph", "kilometers per hour")),
    Unit("speed", "mile per hour", "mph", "0.44704", ("mi/h", "miles per hour")),
    Unit("speed", "knot", "kn", "1852/3600", ("kt",)),
    Unit("speed", "foot per second", "ft/s", "0.3048", ("fps", "feet per second")),
    # Pressures, in pascals.
    Unit("pressure", "pascal", "Pa", "1"),
    Unit("pressure", "hectopascal", "hPa", "100", ("mbar", "millibar")),
    Unit("pressure", "kilopascal", "kPa", "1000"),
    Unit("pressure", "bar", "bar", "100000"),
    Unit("pressure", "standard atmosphere", "atm", "101325", ("atmosphere", "atmospheres")),
    Unit("pressure", "torr", "Torr", "101325/760", ("mmHg",)),
    Unit("pressure", "pound per square inch", "psi", "6894.757293168361"),
    # Energies, in joules.
    Unit("energy", "joule", "J", "1"),
    Unit("energy", "kilojoule", "kJ", "1000"),
    Unit("energy", "calorie", "cal", "4.184"),
    Unit("energy", "kilocalorie", "kcal", "4184", ("Cal",)),
    Unit("energy", "watt-hour", "Wh", "3600", ("watt hour",)),
    Unit("energy", "kilowatt-hour", "kWh", "3600000", ("kilowatt hour", "kilowatt hours")),
    Unit("energy", "British thermal unit", "BTU", "1055.05585262", ("Btu",)),
    Unit("energy", "electronvolt", "eV", "1.602176634e-19"),
    # Powers, in watts.
    Unit("power", "watt", "W", "1"),
    Unit("power", "kilowatt", "kW", "1000"),
    Unit("power", "megawatt", "MW", "1000000"),
    Unit("power", "horsepower", "hp", "745.6998715822702"),
    Unit("power", "metric horsepower", "PS", "735.49875"),
    # Amounts of data, in bytes.
    Unit("data", "bit", "bit", "1/8"),
    Unit("data", "byte", "B", "1"),
    Unit("data", "kilobit", "kb", "125", ("kbit",)),
    Unit("data", "megabit", "Mb", "125000", ("Mbit",)),
    Unit("data", "gigabit", "Gb", "125000000", ("Gbit",)),
    Unit("data", "kilobyte", "kB", "1000", ("KB",)),
    Unit("data", "megabyte", "MB", "1000000"),
    Unit("data", "gigabyte", "GB", "1000000000"),
    Unit("data", "terabyte", "TB", "1000000000000"),
    Unit("data", "kibibyte", "KiB", "1024"),
    Unit("data", "mebibyte", "MiB", "1048576"),
    Unit("data", "gibibyte", "GiB", "1073741824"),
    Unit("data", "tebibyte", "TiB", "1099511627776"),
    # Angles, in turns.
    Unit("angle", "degree", "°", "1/360", ("deg",)),
    Unit("angle", "arcminute", "arcmin", "1/21600"),
    Unit("angle", "arcsecond", "arcsec", "1/1296000"),
    Unit("angle", "radian", "rad", "0.15915494309189535"),
    Unit("angle", "gradian", "gon", "1/400", ("grad",)),
    Unit("angle", "turn", "rev", "1", ("revolution", "revolutions")),
)


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
