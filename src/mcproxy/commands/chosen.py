"""Which configuration, and which state directory, a command works with; how we are started again.

Imports what it needs when it runs: the command line stays quick that way.
"""

# ruff: noqa: PLC0415

import argparse
import json
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

DISTRIBUTION = "mcproxy-gateway"
_CACHE_TAG = "CACHEDIR.TAG"  # Cache Directory Tagging Specification
_RUN_BY_PIPX = "pipx_metadata.json"

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcproxy.config.load import Loaded


def config_path(arguments: argparse.Namespace) -> Path | None:
    """The configuration that was named, else the first default that exists, else None."""
    from mcproxy.config.load import default_path

    named: Path | None = getattr(arguments, "config", None)
    return named or default_path(Path.cwd())


def load_chosen(path: Path | None) -> "Loaded":
    """Load a configuration, or the bundled demo. Raises ConfigError."""
    from mcproxy.config.load import load, load_document
    from mcproxy.demo.config import demo_config

    return load(path) if path else load_document(demo_config(sys.executable))


def environment() -> "Mapping[str, str]":
    """The variables of this process."""
    from mcproxy.config.load import load_document

    return load_document({}).environment


def state() -> Path:
    """Where what is kept between runs lies."""
    from mcproxy.config.state import state_directory

    return state_directory(environment())


def lasting_command() -> tuple[str, ...]:
    """What a client starts this program with from now on.

    The environment of ``uvx`` and ``pipx run`` lies in a cache, and may be gone tomorrow: their own
    command makes it anew, of the same package.
    """
    home = Path(sys.prefix)
    if not any((folder / _CACHE_TAG).exists() for folder in home.parents):
        script = Path(sys.executable).with_name("mcproxy")
        return (str(script),) if script.is_file() else (sys.executable, "-m", "mcproxy")
    origin = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    url = json.loads(origin)["url"] if origin else ""
    if (home / _RUN_BY_PIPX).exists():
        return ("pipx", "run", *(["--spec", url] if url else []), DISTRIBUTION)
    uvx = "uvx" if shutil.which("uvx") else str(Path(environment()["UV"]).with_name("uvx"))
    return (uvx, *(["--from", url] if url else []), DISTRIBUTION)
