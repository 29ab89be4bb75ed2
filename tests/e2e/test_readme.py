"""The README is true: its commands are run against the demo, and give what it shows."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from mcproxy.config.load import load_document
from mcproxy.types import Json
from tests.e2e.gateways import ROOT, Running, gateway

README = (ROOT / "README.md").read_text()
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
_VOLATILE = {"ms", "execution_time_ms", "score"}


def blocks() -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in _BLOCK.findall(README)]


def curls() -> list[tuple[Any, Any]]:
    """The body of each curl line, and the JSON that the README shows as its reply."""
    found = blocks()
    return [
        (json.loads(shlex.split(text)[-1]), json.loads(found[place + 1][1]))
        for place, (_, text) in enumerate(found)
        if text.startswith("curl")
    ]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway(tmp_path_factory.mktemp("demo"), None) as running:
        yield running


@pytest.mark.requirement("readme.curl")
@pytest.mark.parametrize(("body", "shown"), curls(), ids=["list", "search", "execute"])
def test_the_curl_lines_answer_what_is_shown(demo: Running, body: Any, shown: Any) -> None:
    reply = demo.post(body).json()["result"]
    if "tools" in reply:
        real = {tool["name"]: tool["description"] for tool in reply["tools"]}
        assert [tool["name"] for tool in shown] == list(real)
        for tool in shown:
            assert real[tool["name"]].startswith(tool["description"].removesuffix("…").rstrip())
    else:
        assert steady(reply["structuredContent"]) == steady(shown)


def steady(value: Json) -> Json:
    """The value without what differs from run to run."""
    if isinstance(value, list):
        return [steady(item) for item in value]
    if isinstance(value, dict):
        return {key: steady(item) for key, item in value.items() if key not in _VOLATILE}
    return value


@pytest.mark.requirement("readme.configuration")
def test_the_configuration_shown_loads() -> None:
    shown = [json.loads(text) for kind, text in blocks() if kind == "json" and '"servers"' in text]
    assert shown
    for document in shown:
        assert load_document(document).config.servers


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200
