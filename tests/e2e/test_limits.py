"""What a namespace allows, over HTTP: calls of a script, calls a minute, and how many at once."""

from collections.abc import Iterator

import pytest

from mcproxy.types import JsonObject
from tests.e2e.gateways import Running, echo, gateway

PUBLIC: JsonObject = {"sandbox": {"max_calls": 210}}
CONFIG: JsonObject = {
    "servers": {"echo": echo()},
    "namespaces": {
        "public": PUBLIC,
        "few": {"extends": "public", "sandbox": {"max_calls": 2}},
    },
    "groups": {"both": ["public", "few"]},
}
CALLS = """
codes = []
for number in range({}):
    try:
        api.server("echo").add(a=1, b=number)
        codes.append("ok")
    except ToolError as error:
        codes.append(error.code)
        said = error.message
result = [codes.count("ok"), codes[-1], said]
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway whose namespaces have limits."""
    with gateway(tmp_path_factory.mktemp("limited"), CONFIG) as running:
        yield running


@pytest.mark.requirement("api.call_limit")
@pytest.mark.parametrize(("namespace", "limit"), [("public", 210), ("few", 2), ("both", 2)])
def test_a_script_makes_as_many_calls_as_its_namespace_allows(
    limited: Running, namespace: str, limit: int
) -> None:
    done = limited.run(CALLS.format(limit + 1), namespace=namespace)
    result = done["result"]
    assert isinstance(result, list)
    assert result[:2] == [limit, "call_limit"]
    assert f"may make {limit} calls (sandbox.max_calls" in str(result[2])


def test_a_result_lists_so_many_calls_and_says_how_many_there_were(limited: Running) -> None:
    done = limited.run("for n in range(205):\n    api.server('echo').add(a=1, b=n)")
    assert isinstance(done["calls"], list)
    assert len(done["calls"]) == 200
    assert done["notes"] == ["calls lists the first 200 of the script's 205 calls"]
