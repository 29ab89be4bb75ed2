"""Where what is kept between runs lies. Pure."""

from collections.abc import Mapping
from pathlib import Path


def state_directory(environment: Mapping[str, str]) -> Path:
    """The directory of this program's state (XDG Base Directory Specification: a relative
    XDG_STATE_HOME is ignored)."""
    home = Path(environment.get("HOME", "/"))
    named = Path(environment.get("XDG_STATE_HOME", ""))
    return (named if named.is_absolute() else home / ".local/state") / "mcproxy"
