"""The server ``calc`` as the official SDK's client sees it, in every way to connect."""

import sys

import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import TextContent

from mcproxy.demo.calc import MAX_NUMBERS, TOOLS
from mcproxy.demo.schema import JsonObject

MODES = {"auto": "2026-07-28", "legacy": "2025-11-25", "2026-07-28": "2026-07-28"}


def connect(mode: str) -> Client:
    command = StdioServerParameters(command=sys.executable, args=["-P", "-m", "mcproxy.demo.calc"])
    return Client(command, mode=mode)


@pytest.mark.requirement("demo.both_eras")
@pytest.mark.parametrize(("mode", "version"), MODES.items())
async def test_sdk_client_lists_and_calls_in_each_mode(mode: str, version: str) -> None:
    async with connect(mode) as client:
        assert client.protocol_version == version
        listed = (await client.list_tools()).tools
        result = await client.call_tool("percentage", {"operation": "change", "a": 50, "b": 60})
    assert [tool.name for tool in listed] == [tool.name for tool in TOOLS]
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in listed)
    assert result.structured_content == {"value": 20.0}
    assert result.content == [TextContent(text='{"value":20.0}')]


ANSWERS: list[tuple[str, JsonObject, JsonObject]] = [
    (
        "convert_units",
        {"value": 26.2, "from_unit": "miles", "to_unit": "km"},
        {"value": 42.1648128, "unit": "km", "text": "26.2 mi = 42.1648128 km"},
    ),
    (
        "add_to_date",
        {"date": "2024-01-31", "months": 1},
        {"date": "2024-02-29", "weekday": "Thursday", "iso_week": "2024-W09"},
    ),
    ("add_to_date", {"date": "2024-03-01", "weeks": 1.0, "days": -8}, {"date": "2024-02-29"}),
    (
        "date_difference",
        {"start": "2024-01-31", "end": "2025-03-01"},
        {"total_days": 395, "years": 1, "months": 1, "days": 1, "backwards": False},
    ),
    (
        "date_difference",
        {"start": "2026-07-10", "end": "2026-07-03"},
        {"total_days": -7, "weekdays": 5, "days": 7, "backwards": True},
    ),
    (
        "describe_numbers",
        {"numbers": [4, 1, 3, 2]},
        {"count": 4, "sum": 10.0, "mean": 2.5, "median": 2.5, "q1": 1.75, "q3": 3.25, "min": 1},
    ),
    ("describe_numbers", {"numbers": [7]}, {"median": 7, "stdev": None, "variance": None}),
    ("percentage", {"operation": "percent_of", "a": 20, "b": 50}, {"value": 10.0}),
    ("percentage", {"operation": "what_percent", "a": 10, "b": 50}, {"value": 20.0}),
    ("convert_base", {"number": "-255"}, {"number": "-ff", "base": 16, "decimal": "-255"}),
    ("convert_base", {"number": "0x1F", "from_base": 16, "to_base": 2}, {"number": "11111"}),
]

REFUSALS: list[tuple[str, JsonObject, str]] = [
    (
        "convert_units",
        {"value": 1, "from_unit": "km", "to_unit": "kg"},
        "kilometer is a unit of length and kilogram one of mass; both must measure the same. "
        "Units of length: nm, µm, mm, cm, m, km, in, ft, yd, mi, nmi, au, ly.",
    ),
    (
        "convert_units",
        {"value": 1, "from_unit": "kilometrs", "to_unit": "m"},
        "There is no unit 'kilometrs'. Did you mean kilometer? list_units names them all.",
    ),
    (
        "convert_units",
        {"value": 1, "from_unit": "mB", "to_unit": "B"},
        "'mB' is ambiguous: write Mb (megabit) or MB (megabyte).",
    ),
    (
        "convert_units",
        {"value": -1, "from_unit": "K", "to_unit": "C"},
        "-1 K is below absolute zero.",
    ),
    (
        "convert_units",
        {"value": "5", "from_unit": "km"},
        "to_unit is missing (The unit wanted; it must measure the same quantity.); "
        'value must be a finite number, not "5"',
    ),
    (
        "list_units",
        {"quantity": "luck"},
        'quantity must be one of "length", "mass", "temperature", "area", "volume", "time", '
        '"speed", "pressure", "energy", "power", "data", "angle", not "luck"',
    ),
    (
        "add_to_date",
        {"date": "31.01.2024"},
        "'31.01.2024' is not a date: Invalid isoformat string: '31.01.2024'. "
        "Write it as YYYY-MM-DD, or 'today'.",
    ),
    (
        "add_to_date",
        {"date": "2024-01-31", "years": 9000},
        "The result lies outside the years 1 to 9999.",
    ),
    (
        "add_to_date",
        {"date": "2024-01-31", "month": 1, "days": 1.5},
        "month is not an argument; did you mean months?; days must be an integer, not 1.5",
    ),
    (
        "date_difference",
        {"start": "today", "end": "soon"},
        "'soon' is not a date: Invalid isoformat string: 'soon'. "
        "Write it as YYYY-MM-DD, or 'today'.",
    ),
    ("describe_numbers", {"numbers": []}, "numbers must be at least 1 entries long, not 0"),
    (
        "describe_numbers",
        {"numbers": [1, True, 1e101]},
        "numbers[1] must be a finite number, not true; "
        "numbers[2] must be at most 1e+100, not 1e+101",
    ),
    (
        "percentage",
        {"operation": "change", "a": 0, "b": 1},
        "change divides by a, which is 0.",
    ),
    (
        "percentage",
        {"operation": "what_percent", "a": 1e100, "b": 1e-300},
        "The result is too large a number.",
    ),
    (
        "convert_base",
        {"number": "129", "from_base": 8},
        "'129' is not a whole number in base 8; its digits are 01234567.",
    ),
    ("convert_base", {"number": "1", "to_base": 37}, "to_base must be at most 36, not 37"),
]


async def test_every_tool_answers() -> None:
    async with connect("auto") as client:
        results = [await client.call_tool(tool, arguments) for tool, arguments, _ in ANSWERS]
        today = await client.call_tool("add_to_date", {"date": "today"})
        angles = await client.call_tool("list_units", {"quantity": "angle"})
        units = await client.call_tool("list_units")
    for result, (_, arguments, wanted) in zip(results, ANSWERS, strict=True):
        assert wanted.items() <= result.structured_content.items(), arguments
    assert not today.is_error
    assert len(angles.structured_content["units"]) == 6
    assert len(units.structured_content["units"]) > 90


async def test_every_refusal_says_what_to_do() -> None:
    async with connect("auto") as client:
        results = [await client.call_tool(tool, arguments) for tool, arguments, _ in REFUSALS]
        long = await client.call_tool("describe_numbers", {"numbers": [0] * (MAX_NUMBERS + 1)})
    assert [result.content for result in results] == [
        [TextContent(text=wanted)] for _, _, wanted in REFUSALS
    ]
    assert all(result.is_error for result in [*results, long])


async def test_unknown_tool_is_a_protocol_error_that_names_the_tools() -> None:
    async with connect("legacy") as client:
        with pytest.raises(MCPError, match=r"no tool 'evaluate'\. The tools are: convert_units,"):
            await client.call_tool("evaluate", {})
