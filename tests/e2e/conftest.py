"""A gateway for all the tests of a module that do not change it.

Not for all modules: tests of the sandbox look at the processes below this one.
"""

from collections.abc import Iterator

import pytest

from mcproxy.types import JsonObject
from tests.e2e.gateways import TIME, Running, echo, gateway


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway in front of three servers; one of them cannot be started."""
    config: JsonObject = {
        "servers": {
            "echo": echo(),
            "time": TIME,
            "absent": {"command": "/no/such/command"},
            "vault": {**echo(), "namespace": "locked"},
        },
        "namespaces": {
            "locked": {"require_auth": True},
            "small": {"extends": "public", "sandbox": {"timeout_secs": 5}},
            "shop": {"extends": "public", "allowed_origins": ["https://shop.example"]},
            "lane": {"extends": "locked", "mode": "direct"},
        },
        "auth": {"tokens": [{"name": "ada", "token": "t0k3n", "namespaces": ["locked"]}]},
    }
    with gateway(tmp_path_factory.mktemp("served"), config) as running:
        yield running
