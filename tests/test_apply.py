"""A changed configuration is followed by every part of the gateway, or by none."""

import pytest

from mcproxy.app import App
from mcproxy.config.load import load_document
from mcproxy.errors import ConfigError
from mcproxy.observe.redact import Redactor
from mcproxy.types import Caller, Json, JsonObject

OPEN: JsonObject = {"sandbox": {"level": "none", "min_level": "none"}}


class Mask:
    """What is given a redactor; it fails where it is told to."""

    fails = False

    def __call__(self, redactor: Redactor) -> None:
        if self.fails:
            raise OSError("the log is gone")


def servers(app: App) -> Json:
    """The servers that ``/health`` shows."""
    health = app.health(Caller())
    assert isinstance(health, dict)
    return health["servers"]


@pytest.mark.requirement("reload.whole")
async def test_what_one_part_fails_at_keeps_no_other_from_following() -> None:
    mask = Mask()
    app = App(load_document(OPEN), mask, watch=False)
    async with app.running():
        mask.fails = True
        named: JsonObject = {"new": {"command": "x", "enabled": False}}
        with pytest.raises(OSError, match="the log is gone"):
            app.apply(load_document({**OPEN, "servers": named}), frozenset())
        assert isinstance(shown := servers(app), dict)
        assert list(shown) == ["new"]


@pytest.mark.requirement("reload.whole")
async def test_what_this_machine_cannot_enforce_changes_nothing() -> None:
    app = App(load_document(OPEN), Mask(), watch=False)
    async with app.running():
        walled: JsonObject = {
            "sandbox": {"filesystem": {"read_only": ["/"]}, **dict(OPEN["sandbox"])},  # type: ignore[arg-type]
            "servers": {"new": {"command": "x", "enabled": False}},
        }
        with pytest.raises(ConfigError):
            app.apply(load_document(walled), frozenset())
        assert servers(app) == {}
