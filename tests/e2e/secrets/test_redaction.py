"""No secret comes out of any channel, whatever servers tell; the words around it do."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from mcproxy.types import Json
from tests.e2e.gateways import gateway
from tests.e2e.secrets.canaries import CORES, KNOWN, configuration, repeating
from tests.e2e.secrets.channels import Said, of_commands, of_gateway

pytestmark = pytest.mark.timeout(240)  # the first test pays for two gateways and six commands

CHANNELS = (
    *("search", "api.search and the manifest", "tools/list", "instructions", "JSON-RPC errors"),
    *("ToolError", "tracebacks", "/health", "/metrics", "audit"),
    *("the log", "the readable log"),
    *("doctor", "doctor --json", "check", "namespaces"),
    *("check of a faulty file", "doctor of a faulty file"),
)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Said]:
    """What the program says on each channel."""
    told: dict[str, Said] = {}
    words = ("cannot log in with ***", "exited with status 3")
    with repeating() as remote:
        for title, options in {"the log": (), "the readable log": ("--log",)}.items():
            directory = tmp_path_factory.mktemp("secrets")
            config = configuration(directory, remote)
            with gateway(directory, config, *options, environment=KNOWN) as running:
                told |= of_gateway(running, directory)
            told[title] = Said(running.logged.text, words)
        return {**told, **of_commands(directory)}


@pytest.mark.requirement("observe.channels")
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("channel", CHANNELS)
def test_no_secret_comes_out(said: Mapping[str, Said], channel: str, core: str) -> None:
    text = said[channel].text
    assert core not in text, text[max(0, text.index(core) - 200) : text.index(core) + 60]


@pytest.mark.requirement("observe.channels")
@pytest.mark.parametrize("channel", CHANNELS)
def test_the_words_stay(said: Mapping[str, Said], channel: str) -> None:
    missing = [words for words in said[channel].words if words not in said[channel].text]
    assert not missing, said[channel].text


@pytest.mark.requirement("observe.results_pass")
def test_what_a_client_asked_for_passes_unchanged(tmp_path: Path) -> None:
    """A tool's result is data; and direct mode shows servers as they are."""
    with (
        repeating() as remote,
        gateway(tmp_path, configuration(tmp_path, remote), environment=KNOWN) as running,
    ):
        secrets: Json = json.loads((tmp_path / "everything.json").read_text("utf-8"))
        assert running.run('api.server("leaky").fine()')["result"] == secrets
        shown = str(running.call("tools/list", path="/mcp?mode=direct"))
        said = str(running.call("tools/call", {"name": "leaky__no"}, path="/mcp?mode=direct"))
    for core in CORES:
        assert core in shown
        assert core in said
