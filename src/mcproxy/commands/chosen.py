"""Which configuration, and which state directory, a command works with; how we are started again.

Imports what it needs when it runs: the command line stays quick that way.
"""

# ruff: noqa: PLC0415

import argparse
import json
import shutil
import sys
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
    if not _in_cache(home):
        script = Path(sys.executable).with_name("mcproxy")
        return (str(script),) if script.is_file() else (sys.executable, "-m", "mcproxy")
    from importlib import metadata

    origin = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    url = json.loads(origin)["url"] if origin else ""
    if (home / _RUN_BY_PIPX).exists():
        return ("pipx", "run", *(["--spec", url] if url else []), DISTRIBUTION)
    uvx = "uvx" if shutil.which("uvx") else str(Path(environment()["UV"]).with_name("uvx"))
    return (uvx, *(["--from", url] if url else []), DISTRIBUTION)


def typed_command() -> str:
    """What was typed to start this program, to be typed again: ``mcproxy`` where it is found by
    that name, else a path, ``python main.py``, or the command of ``uvx``."""
    script = Path(sys.argv[0])
    if script.suffix == ".py":
        python, module = sys.orig_argv[0], script.name == "__main__.py"
        return f"{python} -m mcproxy" if module else f"{python} {script}"
    if _in_cache(Path(sys.prefix)):
        return " ".join(lasting_command())
    found = shutil.which(script.name)
    if found and Path(found).resolve() == script.resolve():
        return script.name
    here = Path.cwd()
    return str(script.relative_to(here) if script.is_relative_to(here) else script)


def _in_cache(home: Path) -> bool:
    return any((folder / _CACHE_TAG).exists() for folder in home.parents)
