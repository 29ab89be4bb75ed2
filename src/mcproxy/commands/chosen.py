"""Which configuration, and which state directory, a command works with.

Imports what it needs when it runs: the command line stays quick that way.
"""

# ruff: noqa: PLC0415

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

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
