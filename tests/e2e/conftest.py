"""A gateway for all the tests of a module that do not change it.

Not for all modules: tests of the sandbox look at the processes below this one.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.gateways import Running, gateway, usual


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway in front of the usual servers."""
    with gateway(tmp_path_factory.mktemp("served"), usual()) as running:
        yield running
