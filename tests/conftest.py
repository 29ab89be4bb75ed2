"""What every test shares, and how the tests are dealt out to processes (``pytest -n``)."""

import os

import hypothesis
import pytest

PROCESSES_PER_CORE = 3  # most tests wait: for children, for time-outs
MOST_PROCESSES = 16

# How fast examples come is the machine's matter: a busy one must not fail a property.
hypothesis.settings.register_profile(
    "mcproxy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("mcproxy")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that the program runs on."""
    return "asyncio", {"use_uvloop": True}


def pytest_xdist_auto_num_workers() -> int:
    """How many processes ``-n auto`` means."""
    return min(PROCESSES_PER_CORE * len(os.sched_getaffinity(0)), MOST_PROCESSES)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share something of their module run in one process; all others in any."""
    for item in items:
        if isinstance(item, pytest.Function) and _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))


def _shares(item: pytest.Function) -> bool:
    definitions = item._fixtureinfo.name2fixturedefs.values()
    return any(fixture.scope == "module" for found in definitions for fixture in found)
