"""The gateway whose access model the tests of this folder hold against the table."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.e2e.access.model import KEEPERS, configuration, counter
from tests.e2e.gateways import NO_TLS, Running, gateway

BOUND_SECS = 60


@dataclass(frozen=True, slots=True)
class Site:
    """The gateway, and how much its servers were asked."""

    running: Running
    directory: Path

    def client(self) -> httpx.AsyncClient:
        """A client with nothing but the address."""
        address = self.running.http.base_url
        return httpx.AsyncClient(
            base_url=address, timeout=BOUND_SECS, trust_env=False, verify=NO_TLS
        )

    @contextmanager
    def untouched(self, reached: Iterable[frozenset[str]]) -> Iterator[None]:
        """Within, no server is asked anything but the ``reached`` ones."""
        others = set(KEEPERS).difference(*reached)
        before = {name: self._asked(name) for name in others}
        yield
        assert {name: self._asked(name) for name in others} == before

    def _asked(self, server: str) -> list[str]:
        """What was asked on somebody's behalf.

        The gateway ends a subscription that nobody holds any more when the next one begins.
        """
        lines = counter(self.directory, server).read_text().splitlines()
        return [line for line in lines if line != "resources/unsubscribe"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One gateway in front of all the servers of the table."""
    directory = tmp_path_factory.mktemp("access")
    with gateway(directory, configuration(directory)) as running:
        yield Site(running, directory)
