"""The gateway in direct mode passes what the official conformance suite asks of a server."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from mcproxy.types import JsonObject
from tests.conformance.expected import GATEWAY, SERVER
from tests.conformance.suite import failures
from tests.conformance.upstream import fixture_server
from tests.e2e.gateways import Running, gateway
from tests.upstream.fleets import server

REVISIONS = [
    pytest.param("2025-11-25", marks=pytest.mark.requirement("conformance.2025-11-25")),
    pytest.param("2026-07-28", marks=pytest.mark.requirement("conformance.2026-07-28")),
]


@pytest.fixture(scope="module")
def fixtures() -> Iterator[str]:
    """The URL of a server with all that the suite looks for."""
    with fixture_server() as url:
        yield url


@pytest.fixture(scope="module")
def front(fixtures: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway in front of that server, and of one whose tools become tasks."""
    jobs = server("conformance_tasks.py", prefix=False)
    config: JsonObject = {
        "servers": {"fixtures": {"url": fixtures, "prefix": False}, "jobs": jobs},
        "namespaces": {"public": {"servers": ["fixtures", "jobs"], "mode": "direct"}},
        "sandbox": {"min_level": "none"},
        "manifests": {"startup_dwell_secs": 10},
    }
    with gateway(tmp_path_factory.mktemp("conformance"), config) as running:
        yield running


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_gateway_conforms(front: Running, revision: str, tmp_path: Path) -> None:
    _compare(failures(str(front.http.base_url.join("/mcp")), revision, tmp_path), GATEWAY[revision])


@pytest.mark.parametrize("revision", SERVER)
def test_the_server_behind_conforms(fixtures: str, revision: str, tmp_path: Path) -> None:
    """What the server itself fails is known, so that nothing is expected of the gateway less."""
    _compare(failures(fixtures, revision, tmp_path), SERVER[revision])


def test_nothing_fails_through_the_gateway_alone() -> None:
    for revision, expected in GATEWAY.items():
        assert expected.keys() <= SERVER[revision].keys()


def _compare(failed: Mapping[str, str], expected: Mapping[str, str]) -> None:
    new = {name: said for name, said in failed.items() if name not in expected}
    assert not new, "these fail, and are not in tests/conformance/expected.py"
    assert not expected.keys() - failed.keys(), "these pass: take them out of expected.py"
