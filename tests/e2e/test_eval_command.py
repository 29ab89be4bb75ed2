"""``eval``: search measured on the tools of a gateway that runs, and of one started for it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcproxy.types import Json, JsonObject
from tests.commands.processes import typed
from tests.e2e.gateways import Running, gateway
from tests.e2e.test_catalogues import serving

INVOICES: list[Json] = [
    {"name": f"invoice_{name}", "description": "Weekly paper statement of a customer."}
    for name in ("a", "b", "c", "d", "e", "f")
]
PLACES: list[Json] = [
    {"name": "geocode", "description": "Turn a street address into coordinates on the map."},
    {"name": "route/by car", "description": "Way from one street address to coordinates."},
    {"name": "mute"},
    {"name": "pages", "description": "<b>Weekly</b> map of every statement."},
]
CLOCK: list[Json] = [
    {"name": f"clock{number}", "description": f"Tell hour{number} of zone{number} as text."}
    for number in range(100)
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[Running]:
    catalogues = {"shop": INVOICES, "places": PLACES, "bare.clock": CLOCK}
    config = serving(home, catalogues)
    servers = config["servers"]
    assert isinstance(servers, dict)
    clock = servers["bare.clock"]
    assert isinstance(clock, dict)
    servers["bare.clock"] = {**clock, "prefix": False}
    with gateway(home, config) as found:
        yield found


def told(home: Path, *options: str) -> JsonObject:
    done = typed(home, "eval", "--json", *options)
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return {**document, "exit": done.returncode}


@pytest.mark.requirement("cli.eval_command")
def test_each_tool_is_counted_with_its_server(home: Path, running: Running) -> None:
    document = told(home)
    assert document["url"] == str(running.http.base_url)
    assert (document["tools"], document["rank"], document["exit"]) == (110, 5, 0)
    servers = {one["server"]: one["tools"] for one in objects(document["servers"])}
    assert servers == {"shop": 6, "places": 4, "bare.clock": 100}
    missed = {(one["server"], one["tool"]): one for one in objects(document["missed"])}
    assert missed["places", "mute"]["reason"] == "no description"
    assert missed["shop", "invoice_f"]["reason"] == "collides with shop.invoice_a"
    assert missed["shop", "invoice_f"]["request"] == "weekly paper statement customer"
    assert ("places", "geocode") not in missed


@pytest.mark.requirement("cli.eval_command")
def test_below_the_least_recall_its_status_is_one(home: Path, running: Running) -> None:
    del running
    recall = told(home)["recall"]
    assert isinstance(recall, float)
    assert 0.9 < recall < 1
    assert [told(home, "--min", least)["exit"] for least in ("0.9", "1")] == [0, 1]
    assert typed(home, "eval", "--min", "95").returncode == 2


@pytest.mark.requirement("cli.eval_command")
def test_the_report_is_for_people_too(home: Path, running: Running) -> None:
    del running
    done = typed(home, "eval", "--html", "report.html", anew=True)
    assert done.returncode == 0, done.stderr
    assert "collides with shop.invoice_a" in done.stdout
    page = (home / "report.html").read_text()
    assert "collides with shop.invoice_a" in page
    assert page.count("<tr>") >= 5
    assert "<script" not in page
    assert typed(home, "eval", "--html", "none/report.html").returncode == 1


@pytest.mark.requirement("cli.eval_command")
def test_without_a_gateway_one_is_started(tmp_path: Path) -> None:
    document = told(tmp_path, "--min", "0.5")
    assert document["exit"] == 0
    assert {one["server"] for one in objects(document["servers"])} == {"notes", "calc"}


def objects(value: Json) -> list[JsonObject]:
    assert isinstance(value, list)
    return [one for one in value if isinstance(one, dict)]
