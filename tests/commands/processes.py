"""Commands as a user types them, with a home and a state directory of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.gateways import MAIN
from tests.preloaded.program import command


def typed(
    directory: Path,
    *arguments: str,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    anew: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run the program in the directory, which is the user's home too. ``anew``, it has an
    interpreter of its own, and imports what it needs."""
    own = {"HOME": str(directory), "XDG_STATE_HOME": str(directory / "state")}
    return subprocess.run(
        [*([sys.executable, str(MAIN)] if anew else command()), *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=directory,
        input=stdin,
        env={**os.environ, **own, **(env or {})},
        check=False,
    )
