"""A gateway with something to see, and a browser to look at it with."""

import shutil
import sys
from pathlib import Path

from mcproxy.types import JsonObject
from tests.e2e.gateways import SERVERS, echo

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
TOKEN, OTHER_TOKEN = "token-of-alice-1234567890", "token-of-bob-1234567890"  # of tests


def hostile() -> JsonObject:
    """The definition of a server whose texts would like to be markup."""
    return {"command": sys.executable, "args": [str(SERVERS / "markup.py")]}


OPEN: JsonObject = {
    "servers": {"echo": echo(), "markup": hostile(), "gone": {"command": "no-such-command"}}
}
ASKING: JsonObject = {"servers": {"echo": {**echo(), "tools": {"add": "ask"}}}}
GUARDED: JsonObject = {
    "servers": {
        "echo": {**echo(), "tools": {"add": "ask"}},
        "secret": {**echo(), "namespace": "private"},
    },
    "namespaces": {"private": {"extends": None, "require_auth": True}},
    "auth": {
        "tokens": [
            {"name": "alice", "token": TOKEN, "namespaces": ["*"]},
            {"name": "bob", "token": OTHER_TOKEN, "namespaces": ["public"]},
        ]
    },
}
SCREENS = Path(__file__).parent / "screens"
