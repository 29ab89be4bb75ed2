"""What is kept between runs: where it lies, and how a file of it is written.

Knows nothing of what is kept. It may be a secret, so nobody else may read it.
"""

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

_FOLDER_MODE, _FILE_MODE = 0o700, 0o600

STORE_FILE = "store.db"  # in the state's directory


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
