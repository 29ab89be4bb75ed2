"""The example that users copy: it starts as it is, and shows every setting as a comment."""

import json
from pathlib import Path

import pytest

from mcproxy.config.fields import Section
from mcproxy.config.load import load_document
from mcproxy.config.model import Config
from mcproxy.types import Json, JsonObject
from tests.config.test_reference import fields, sections

EXAMPLE: JsonObject = json.loads(
    (Path(__file__).parents[2] / "mcp-servers.v2.example.json").read_text(encoding="utf-8")
)
SECRETS = ("GITHUB_TOKEN", "TICKETS_TOKEN", "SHOP_KEY", "ALICE_TOKEN", "STATE_SECRET")


def counting(value: Json) -> Json:
    """The value once every ``_`` is taken away; the key ``_`` alone is prose."""
    if isinstance(value, list):
        return [counting(item) for item in value]
    if isinstance(value, dict):
        return {key.removeprefix("_"): counting(item) for key, item in value.items() if key != "_"}
    return value


WHOLE = counting(EXAMPLE)


PLACES: dict[type[Section], list[str]] = {}
for _path, _section in sections(Config):
    PLACES.setdefault(_section, []).append(_path)


def keys_below(value: Json, steps: list[str]) -> set[str]:
    """The keys of all objects at a path of the model; ``NAME`` is every key, ``[]`` every item."""
    if isinstance(value, list):
        return {key for item in value for key in keys_below(item, steps)}
    if not isinstance(value, dict):
        return set()
    if not steps:
        return set(value)
    inner = value.values() if steps[0] == "NAME" else [value.get(steps[0])]
    return {key for item in inner for key in keys_below(item, steps[1:])}


@pytest.mark.requirement("example.starts")
def test_it_loads_as_it_is_without_any_variable() -> None:
    loaded = load_document(EXAMPLE)
    assert set(loaded.config.servers) == {"calc", "notes"}
    assert not loaded.unconfigured
    assert all(server.url is None for server in loaded.config.servers.values())


@pytest.mark.requirement("example.complete")
def test_every_comment_is_a_setting_that_would_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "a-value-of-some-length-that-nobody-guesses")
    assert isinstance(WHOLE, dict)
    assert set(load_document(WHOLE).config.servers) == {
        "calc",
        "notes",
        "github",
        "tickets",
        "shop",
    }


@pytest.mark.requirement("example.complete")
@pytest.mark.parametrize("section", PLACES, ids=lambda section: section.__name__)
def test_every_key_is_shown(section: type[Section]) -> None:
    """In one of the places that a section may stand in."""
    paths = [path.replace("[]", "").split(".") if path else [] for path in PLACES[section]]
    shown = {key for steps in paths for key in keys_below(WHOLE, steps)}
    assert set(fields(section)) - shown == set()
