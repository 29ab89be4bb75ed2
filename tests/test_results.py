"""What README and documentation say in figures is what was measured; benches measure rightly."""

import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from bench import client, data, plots, results
from bench.client import Place, load
from bench.data import Part, Table
from bench.figures import FIGURES
from bench.flows import Turns
from bench.measure import PLANS
from bench.processes import ECHO, our_gateway, tools_there
from mcproxy.types import Json, JsonObject
from tests.e2e.ledgers import until
from tests.pages import ROOT, TOLD

PARTS = {path.stem: data.read(path.stem) for path in data.FOLDER.glob("*.json")}
BOUND_SECS = 60.0
_BLOCKS = re.compile(r"<!-- figures: (\w+) -->\n(.*?)<!-- end of figures -->", re.DOTALL)
_COMMAND = re.compile(r"`make bench PART=(\w+)(?: CRASHES=\d+)?`, \d{4}-\d\d-\d\d$")


@pytest.mark.requirement("docs.figures")
def test_report_plots_and_figures_are_those_of_the_data() -> None:
    """Mended by ``python -m bench results``."""
    for name, content in results.rendered(PARTS, ROOT).items():
        assert (ROOT / name).read_text(encoding="utf-8") == content, name


@pytest.mark.requirement("docs.figures")
def test_every_part_has_been_measured() -> None:
    assert set(PARTS) == set(PLANS) == set(results.ORDER)


@pytest.mark.requirement("docs.figures")
def test_each_claim_of_the_readme_names_its_command() -> None:
    [claims] = [
        found[2]
        for found in _BLOCKS.finditer((ROOT / "README.md").read_text(encoding="utf-8"))
        if found[1] == "readme"
    ]
    for claim in claims.strip().splitlines():
        [part] = _COMMAND.findall(claim)
        assert part in PLANS


@pytest.mark.requirement("docs.figures")
def test_blocks_of_figures_are_known_and_rendered() -> None:
    for page in TOLD:
        for found in _BLOCKS.finditer(page.read_text(encoding="utf-8")):
            assert found[1] in FIGURES
            assert str(page.relative_to(ROOT)) in results.PAGES


@pytest.mark.requirement("docs.figures")
def test_every_number_has_a_mark() -> None:
    assert all(
        table.mark in ("measured", "computed", "estimated")
        for part in PARTS.values()
        for table in part.tables
    )


def test_a_part_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = Table("t", "A table", "measured", ("name", "b"), (("x", 1), ("y", None)), "a | note")
    part = Part("some", "make bench", "2026-11-29", "a machine", 0.5, 1.25, (table, table))
    data.write(part, tmp_path)
    assert data.read("some", tmp_path) == part


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (None, "-"),
        (1916, "1,916"),
        (0.283, "0.283"),
        (7390.0, "7,390"),
        (12.5, "12.5"),
        ("a|b", "a\\|b"),
    ],
)
def test_cells_are_shown_with_the_digits_that_they_have(cell: data.Cell, shown: str) -> None:
    assert data.words(cell) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.123456, 0.123), (12345.6, 12300.0), (99.96, 100.0), (0, 0.0)]
)
def test_figures_have_three_digits(value: float, shown: float) -> None:
    assert data.rounded(value) == shown


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("docs/images/bench-*.svg")), ids=lambda path: path.stem
)
def test_plots_are_well_formed_light_and_say_where_they_are_from(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "make bench" in "".join(ElementTree.fromstring(text).itertext())  # noqa: S314  # ours
    assert len(text) < 10_000


def test_bars_are_as_long_as_their_values_and_texts_are_escaped() -> None:
    drawn = plots.bars("<a>", "&", {"x": 10.0, "y": 5.0}, "x")
    long, short = (float(width) for width in re.findall(r'width="([\d.]+)" height="20"', drawn))
    assert long == pytest.approx(2 * short)
    assert "&lt;a&gt;" in drawn
    assert ElementTree.fromstring(drawn).tag.endswith("svg")  # noqa: S314  # ours


def test_equal_ratios_are_equal_ways_on_a_line() -> None:
    drawn = plots.lines("t", "n", {"a": [(1, 10), (10, 100), (100, 1000)]}, "x")
    [path] = re.findall(r'points="([^"]+)"', drawn)
    (x0, y0), (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in path.split())
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)


def test_numbers_below_an_axis_do_not_lie_on_each_other() -> None:
    drawn = plots.lines("t", "n", {"a": [(1, 1), (98, 2), (100, 3)]}, "x")
    places = [float(x) for x in re.findall(r'class="small" x="([\d.]+)" y="312.0"', drawn)]
    assert len(places) == 2


@pytest.mark.parametrize(
    ("turns", "context", "read"), [((), 100, 100), ((10,), 110, 210), ((10, 20), 130, 340)]
)
def test_each_turn_reads_all_before_it(turns: Sequence[int], context: int, read: int) -> None:
    one = Turns(100, tuple(turns))
    assert (one.context, one.read) == (context, read)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "text"),
        ({"type": "integer", "minimum": 5}, 5),
        ({"enum": ["b", "c"]}, "b"),
        ({"type": "array"}, []),
        (True, "text"),
    ],
)
def test_a_plain_argument_is_of_its_kind(schema: Json, value: Json) -> None:
    assert client.argument(schema) == value


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":1,"result":{"a":1}}',
        b'event: message\r\ndata: {"jsonrpc":"2.0","id":1,"result":{"a":1}}\r\n\r\n',
        b'data: {"jsonrpc":"2.0","method":"x"}\n\ndata: {"id":1,"result":{"a":1}}\n\n',
    ],
)
def test_a_reply_is_read_in_both_forms(body: bytes) -> None:
    assert client.result(body) == {"a": 1}


async def test_wrong_answers_count_as_failed_and_nothing_is_left_behind() -> None:
    servers: JsonObject = {"echo": ECHO}
    async with our_gateway({"servers": servers}) as program:
        place = Place(program.place.port, "/mcp?mode=direct")
        await tools_there(place, 18)
        good = await load(
            place.connect, lambda one: one.call("echo__add", {"a": 1, "b": 2}), 2, 0.1, b"sum"
        )
        bad = await load(place.connect, lambda one: one.call("echo__none", {}), 2, 0.1, b"sum")
        used = program.used()
        family = psutil.Process(program.pid).children(recursive=True)
    assert (good.failed, bad.failed) == (0, len(bad.ms))
    assert used.own_mib > used.servers_mib > 0
    assert not any(process.is_running() for process in family)


@pytest.mark.requirement("bench.ends")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_measurement_that_is_ended_leaves_no_process(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "bench", "measure", "--quick", "start"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        top = psutil.Process(process.pid)
        until(lambda: has_gateway(top))
        family = top.children(recursive=True)
        process.send_signal(number)
        process.wait(BOUND_SECS)
        until(lambda: not any(map(lives, family)))


def has_gateway(top: psutil.Process) -> bool:
    """Whether a gateway with its sandbox is among its descendants."""
    with suppress(psutil.Error):
        family = top.children(recursive=True)
        lines = [process.cmdline() for process in family]
        return sum(str(ROOT / "main.py") in line for line in lines) > 1
    return False


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
