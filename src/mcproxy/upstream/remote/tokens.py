"""Where the tokens for a remote server are kept between runs: one file a server, mode 0600.

Knows nothing of OAuth and needs no SDK, so that every start can look whether there is a login. What
was stored for another URL is not given away: a token is a secret of the server that it came from.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from mcproxy.config.state import replace_private, state_directory
from mcproxy.types import JsonObject
from mcproxy.wire.message import UNREADABLE


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A login at the server of ``url``; the objects are as the SDK writes them, ``expires_at`` is
    in seconds since the epoch, 0 where it is not known."""

    url: str
    tokens: JsonObject = {}
    client: JsonObject = {}
    metadata: JsonObject = {}
    expires_at: float = 0.0


class LoginFile:
    """The login of one server; read anew each time, since ``mcproxy login`` may write meanwhile."""

    def __init__(self, path: Path, url: str) -> None:
        self._path = path
        self._url = url

    def read(self) -> Login:
        """The login; an empty one where there is none that can be used."""
        try:
            login = msgspec.json.decode(self._path.read_bytes(), type=Login)
        except (OSError, *UNREADABLE):
            return Login(url=self._url)
        return login if login.url == self._url else Login(url=self._url)

    def write(self, login: Login) -> None:
        """Keep a login, readable by nobody else. Raises OSError."""
        replace_private(self._path, msgspec.json.encode(login))


def login_path(environment: Mapping[str, str], server: str) -> Path:
    """Where the login of a server lies."""
    return state_directory(environment) / "oauth" / f"{server}.json"
