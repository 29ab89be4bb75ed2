"""The access model as a table: who may enter which endpoint, and what is reached there.

Written by hand and computed by nothing, so that whoever reads it sees that it is right. The
configuration stands beside it; no line here asks the program what it makes of that.
"""

import sys
from pathlib import Path

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import SERVERS

KEEPERS = ("alder", "birch", "cedar", "damson", "hazel", "juniper")

NAMESPACES: JsonObject = {
    # public: the default namespace; alder is in it because it is in no other
    "garden": {"extends": "public", "servers": ["birch"]},
    "vault": {"require_auth": True, "servers": ["cedar"]},
    "cellar": {"extends": "vault", "servers": ["damson"]},
    "attic": {"extends": ["garden", "cellar"], "mode": "direct"},
    "shop": {"servers": ["hazel"], "allowed_origins": ["https://shop.example"]},
    "kiosk": {"extends": "shop", "allowed_origins": ["localhost"]},
    "island": {"isolated": True, "mode": "both"},  # juniper names it as its namespace
}
GROUPS: JsonObject = {
    "everything": {"namespaces": ["public", "garden", "!island"]},
    "locked": {"namespaces": ["vault", "cellar"]},
    "market": {"namespaces": ["public", "kiosk"]},
}
TOKENS: dict[str, list[Json]] = {
    "ann": ["vault"],
    "ben": ["vault", "cellar"],
    "root": ["*"],
}

REACH: dict[str, frozenset[str]] = {
    "public": frozenset({"alder"}),
    "garden": frozenset({"alder", "birch"}),
    "vault": frozenset({"cedar"}),
    "cellar": frozenset({"cedar", "damson"}),
    "attic": frozenset({"alder", "birch", "cedar", "damson"}),
    "shop": frozenset({"hazel"}),
    "kiosk": frozenset({"hazel"}),
    "island": frozenset({"juniper"}),
    "everything": frozenset({"alder", "birch", "juniper"}),
    "locked": frozenset({"cedar", "damson"}),
    "market": frozenset({"alder", "hazel"}),
}
UNKNOWN = "nowhere"

# A name is the token; "@" says which Origin comes with it. 200: may enter; the others are HTTP's
# answer where the endpoint's name stands in the path. The gateway listens on 127.0.0.1.
_TABLE = """
               public garden vault cellar attic shop kiosk island everything locked market nowhere
nobody            200    200   401    401   401  403   200    200        200    401    200     401
wrong             401    401   401    401   401  401   401    401        401    401    401     401
ann               200    200   200    404   404  403   200    200        200    404    200     404
ben               200    200   200    200   404  403   200    200        200    200    200     404
root              200    200   200    200   200  403   200    200        200    200    200     404
nobody@shop       403    403   401    401   401  200   403    403        403    401    403     401
nobody@here       200    200   401    401   401  403   200    200        200    401    200     401
nobody@foreign    403    403   401    401   401  403   403    403        403    401    403     401
root@shop         403    403   403    403   403  200   403    403        403    403    403     404
root@foreign      403    403   403    403   403  403   403    403        403    403    403     404
"""
_ORIGINS = {
    "shop": "https://shop.example",
    "here": "http://localhost:3000",
    "foreign": "https://evil.example",
}


def _grid() -> dict[str, dict[str, int]]:
    heading, *rows = (line.split() for line in _TABLE.strip().splitlines())
    return {caller: dict(zip(heading, map(int, row), strict=True)) for caller, *row in rows}


STATUS = _grid()  # by caller and endpoint
ENDPOINTS = (*REACH, UNKNOWN)


def entered(caller: str) -> list[str]:
    """The endpoints that the caller may enter."""
    return [name for name, status in STATUS[caller].items() if status == 200]


def is_page(caller: str) -> bool:
    """Is it a web page that came from elsewhere? Where the path names no namespace that lists it,
    it is turned away before anything is read."""
    return caller.endswith(("@shop", "@foreign"))


def headers(caller: str) -> dict[str, str]:
    """The HTTP headers by which a caller is known."""
    name, _, origin = caller.partition("@")
    token = {} if name == "nobody" else {"Authorization": f"Bearer {_token(name)}"}
    return {**token, **({"Origin": _ORIGINS[origin]} if origin else {})}


def counter(directory: Path, server: str) -> Path:
    """Where a server writes down what it was asked."""
    return directory / f"{server}.asked"


def configuration(directory: Path) -> JsonObject:
    """The gateway's configuration; the servers count into files of ``directory``."""
    servers: dict[str, JsonObject] = {
        name: {
            "command": sys.executable,
            "args": [str(SERVERS / "keeper.py"), name, str(counter(directory, name))],
        }
        for name in KEEPERS
    }
    servers["juniper"]["namespace"] = "island"
    tokens: list[Json] = [
        {"name": name, "token": _token(name), "namespaces": opened}
        for name, opened in TOKENS.items()
    ]
    return {
        "servers": {**servers},
        "namespaces": NAMESPACES,
        "groups": GROUPS,
        "auth": {"tokens": tokens},
        "sandbox": {"min_level": "none"},
        "manifests": {"startup_dwell_secs": 20},
        "results": {"inline_kb": 256},  # scripts tell of all that they have tried
    }


def _token(name: str) -> str:
    return f"the-token-of-{name}"
