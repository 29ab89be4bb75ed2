"""What is kept between runs: where it lies, how a file of it is written, and the section ``state``.

Knows nothing of what is kept. It may be a secret, so nobody else may read it.
"""

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from mcproxy.config.fields import Name, Section, refusal
from mcproxy.config.hosts import is_http_url

_SCHEMES: Final = ("valkey", "valkeys", "redis", "rediss", "unix")
_MIN_SECRET_CHARS: Final = 32  # nobody guesses 128 bits, however they are written

_FOLDER_MODE, _FILE_MODE = 0o700, 0o600

STORE_FILE = "store.db"  # in the state's directory


def _store_url(url: str) -> str:
    """The URL of a store; no message has it, for it may have a password."""
    try:
        parts = urlsplit(url)
        told = parts.path if parts.scheme == "unix" else parts.hostname
        known = parts.scheme in _SCHEMES and bool(told) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise refusal(
            "is not the URL of a Valkey or Redis store",
            "valkey://host:6379/0, rediss://user:${PASSWORD}@host:6379/0, unix:///path",
        )
    return url


def _peer_url(url: str) -> str:
    parts = urlsplit(url)
    if not is_http_url(url) or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise refusal("is not an http(s) URL without a path", "write http://HOST:PORT")
    return url.rstrip("/")


def _long_enough(secret: str) -> str:
    if len(secret) < _MIN_SECRET_CHARS:
        raise refusal(
            f"must have at least {_MIN_SECRET_CHARS} characters", "openssl rand -hex 32 makes one"
        )
    return secret


class SharedState(Section):
    """What several gateways share, and where."""

    url: Annotated[str, AfterValidator(_store_url)] | None = Field(
        default=None,
        description="A Valkey or Redis store that several gateways share, for instance "
        "'valkey://host:6379/0'; null: a file in the state directory.",
        repr=False,
    )
    peer_url: Annotated[str, AfterValidator(_peer_url)] | None = Field(
        default=None,
        description="Where the other gateways reach this one, such as 'http://10.0.0.7:12010'; "
        "null: at the address that it listens on, or by which it reaches the store.",
    )
    prefix: Name = Field(
        default="mcproxy", description="The store's keys begin so; that of other gateways differs."
    )
    secret: Annotated[str, AfterValidator(_long_enough)] | None = Field(
        default=None,
        description="What gateways sign with that carry on each other's requests; null: it is made "
        "once, and kept in the store.",
        repr=False,
    )

    @property
    def passwords(self) -> frozenset[str]:
        """What of it is secret."""
        password = urlsplit(self.url or "").password
        return frozenset(one for one in (password, self.secret) if one)


def state_directory(environment: Mapping[str, str]) -> Path:
    """The directory of this program's state (XDG Base Directory Specification: a relative
    XDG_STATE_HOME is ignored)."""
    home = Path(environment.get("HOME", "/"))
    named = Path(environment.get("XDG_STATE_HOME", ""))
    return (named if named.is_absolute() else home / ".local/state") / "mcproxy"


def replace_private(path: Path, data: bytes) -> None:
    """Write the file, readable by nobody else, so that a reader sees the old or the new one whole.

    Makes its folder where there is none. Raises OSError.
    """
    path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with os.fdopen(opened, "wb") as file:
            file.write(data)
        draft.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
