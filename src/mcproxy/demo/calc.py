"""The demo server ``calc``: what a language model gets wrong in its head. Nothing is evaluated.

Started as ``python -m mcproxy.demo.calc``. Here are the tools as a model sees them; what
they answer is in ``calculations``.
"""

from mcproxy.demo import calculations, dates, units
from mcproxy.demo.protocol import DemoTool, Server
from mcproxy.demo.schema import (
    Json,
    JsonObject,
    array,
    full_record,
    integer,
    number,
    record,
    text,
)
from mcproxy.demo.stdio_server import serve

MAX_NUMBERS = 10_000  # more belongs into a script, and would be slow to send
MAX_DIGITS = 1_000  # conversion takes quadratic time
LARGEST_NUMBER = 1e100  # the product of two such numbers is still a finite float
MAX_SHIFT = 4_000_000  # days in the calendar's 9999 years, rounded up

_DATE = "as YYYY-MM-DD, or 'today' (in UTC)"
_STATISTICS = {
    "sum": "Their sum.",
    "mean": "Arithmetic mean.",
    "median": "Median.",
    "min": "The smallest.",
    "max": "The largest.",
    "q1": "First quartile.",
    "q3": "Third quartile.",
}
_QUANTITIES: list[Json] = list(units.quantities())


def _given(description: str) -> JsonObject:
    return number(description, minimum=-LARGEST_NUMBER, maximum=LARGEST_NUMBER)


def _amount(unit: str) -> JsonObject:
    return integer(f"How many {unit} to add.", minimum=-MAX_SHIFT, maximum=MAX_SHIFT, default=0)


TOOLS = (
    DemoTool(
        name="convert_units",
        title="Convert units",
        description=(
            "Convert a value from one unit to another of the same quantity, exactly: length, mass, "
            "temperature, area, volume, time, speed, pressure, energy, power, data, angle. "
            "Example: value 26.2, from_unit 'mi', to_unit 'km'."
        ),
        arguments=record(
            {
                "value": _given("The value to convert."),
                "from_unit": text("Its unit: a symbol or name, such as 'km', 'mile', '°F', 'GiB'."),
                "to_unit": text("The unit wanted; it must measure the same quantity."),
            },
            required=("value", "from_unit", "to_unit"),
        ),
        result=full_record(
            value=number("The value in to_unit."),
            unit=text("Symbol of to_unit."),
            quantity=text("What both units measure.", enum=_QUANTITIES),
            text=text("The conversion in words, rounded to 12 digits."),
        ),
        run=calculations.convert_units,
    ),
    DemoTool(
        name="list_units",
        title="List units",
        description="List the units that convert_units knows, all of them or those of a quantity.",
        arguments=record(
            {"quantity": text("Only units that measure this.", enum=_QUANTITIES)},
        ),
        result=full_record(
            units=array(
                "The units.",
                full_record(
                    quantity=text("What it measures."),
                    name=text("Its name in the singular."),
                    symbol=text("Its symbol; upper and lower case matter."),
                ),
            )
        ),
        run=calculations.list_units,
    ),
    DemoTool(
        name="add_to_date",
        title="Add to a date",
        description=(
            "Add years, months, weeks and days (or less than none) to a date; tell its weekday. "
            "Months come first; a day that the month lacks becomes its last: Jan 31 + 1 month is "
            "the last of February. Without amounts it describes the date itself."
        ),
        arguments=record(
            {
                "date": text(f"The date to start from, {_DATE}."),
                "years": _amount("years"),
                "months": _amount("months"),
                "weeks": _amount("weeks"),
                "days": _amount("days"),
            },
            required=("date",),
        ),
        result=full_record(
            date=text("The date, as YYYY-MM-DD."),
            weekday=text("Its weekday in English.", enum=list(dates.WEEKDAYS)),
            iso_week=text("Its ISO 8601 week, such as 2026-W31."),
        ),
        run=calculations.add_to_date,
    ),
    DemoTool(
        name="date_difference",
        title="Difference of dates",
        description=(
            "Count the time between two dates: days in total, weekdays (Monday to Friday, the "
            "first day counted and the last not), and years + months + days."
        ),
        arguments=record(
            {"start": text(f"The one date, {_DATE}."), "end": text(f"The other date, {_DATE}.")},
            required=("start", "end"),
        ),
        result=full_record(
            total_days=integer("Days from start to end, negative when end is earlier."),
            weekdays=integer("Of these, how many are Monday to Friday."),
            years=integer("Whole years between them."),
            months=integer("Whole months after these years."),
            days=integer("Days after these months."),
            backwards={"type": "boolean", "description": "Whether end is before start."},
        ),
        run=calculations.date_difference,
    ),
    DemoTool(
        name="describe_numbers",
        title="Statistics",
        description=(
            "Describe a list of numbers: count, sum, mean, median, min, max, quartiles (inclusive "
            "method), sample standard deviation and variance (null for a single number)."
        ),
        arguments=record(
            {
                "numbers": array(
                    "The numbers, in any order.",
                    _given("A number."),
                    minItems=1,
                    maxItems=MAX_NUMBERS,
                )
            },
            required=("numbers",),
        ),
        result=full_record(
            count=integer("How many numbers there are."),
            **{name: number(meaning) for name, meaning in _STATISTICS.items()},
            stdev={"type": ["number", "null"], "description": "Sample standard deviation."},
            variance={"type": ["number", "null"], "description": "Sample variance."},
        ),
        run=calculations.describe_numbers,
    ),
    DemoTool(
        name="percentage",
        title="Percentages",
        description=(
            "Work with per cent. percent_of: a % of b (20, 50 gives 10). what_percent: how many "
            "per cent of b is a (10, 50 gives 20). change: by how many per cent b differs from a "
            "(50, 60 gives 20)."
        ),
        arguments=record(
            {
                "operation": text(
                    "What to work out.", enum=["percent_of", "what_percent", "change"]
                ),
                "a": _given("The first number."),
                "b": _given("The second number."),
            },
            required=("operation", "a", "b"),
        ),
        result=full_record(value=number("The answer.")),
        run=calculations.percentage,
    ),
    DemoTool(
        name="convert_base",
        title="Convert number base",
        description=(
            "Write a whole number in another base, from 2 (binary) to 36. The number may be "
            "negative, of any size up to 1,000 digits, with the prefix of its base (0x, 0o, 0b)."
        ),
        arguments=record(
            {
                "number": text(
                    "The number as text, such as 'ff' or '255'.", minLength=1, maxLength=MAX_DIGITS
                ),
                "from_base": integer("Its base.", minimum=2, maximum=36, default=10),
                "to_base": integer("The base wanted.", minimum=2, maximum=36, default=16),
            },
            required=("number",),
        ),
        result=full_record(
            number=text("The number in to_base, lower-case."),
            base=integer("to_base again."),
            decimal=text("The number in base 10."),
        ),
        run=calculations.convert_base,
    ),
)

SERVER = Server(
    name="mcproxy-demo-calc",
    version="1.0.0",
    instructions="Exact arithmetic: units, dates, statistics, percentages, number bases.",
    tools=TOOLS,
)

if __name__ == "__main__":
    serve(SERVER)
