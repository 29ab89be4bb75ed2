"""Modules that a zygote imports once, so that no worker has to.

An ordinary import in a worker still works where files can be opened; where they cannot (level
``seccomp``) only what is imported here exists, so there it is the whole standard library.
"""

import contextlib
import importlib
import io
import pkgutil
import random
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

# What scripts often use. The rest takes a script that wants it a millisecond or two; here it would
# take every other one the time to fork and end with it.
_COMMON = """
asyncio json re datetime _strptime zoneinfo calendar decimal statistics math random collections
itertools functools operator dataclasses typing enum copy heapq bisect array string textwrap pprint
base64 binascii hashlib struct zlib csv io urllib.parse pathlib glob fnmatch contextlib inspect
warnings traceback ast types time threading queue concurrent.futures.thread logging
encodings.ascii encodings.latin_1 encodings.utf_16
"""
COMMON = tuple(_COMMON.split())
NETWORK = ("ssl", "http.client", "urllib.request", "urllib.error", "encodings.idna")
NETWORK_IF_INSTALLED = ("requests", "httpx")

# They open windows, talk, install, start work on import, or are somebody's tests.
_NOT_BLINDLY = frozenset(
    [
        *("antigravity", "distutils", "ensurepip", "idlelib", "lib2to3", "test", "tests", "this"),
        *("tkinter", "turtle", "turtledemo", "venv"),
    ]
)


def preload(names: Iterable[str]) -> list[str]:
    """Import each name; the names that could not be imported are given back."""
    return [name for name in names if not _import(name)]


def whole_library() -> list[str]:
    """Every public module of the standard library, submodules too."""
    tops = sorted(sys.stdlib_module_names - _NOT_BLINDLY)
    public = [top for top in tops if not top.startswith("_")]
    return [*COMMON, *(name for top in public for name in _with_submodules(top))]


def extra_threads() -> int:
    """Threads besides this one; a process with threads cannot be forked safely."""
    return len(list(Path("/proc/self/task").iterdir())) - 1


def package_path(folders: Sequence[str]) -> None:
    """Let packages be imported from ``folders``, after the standard library."""
    sys.path += [folder for folder in folders if folder not in sys.path]


def reseed() -> None:
    """After a fork: new random numbers. What asks the system each time needs none."""
    random.seed()
    if numbers := sys.modules.get("numpy.random"):
        numbers.seed()


def _with_submodules(name: str) -> Iterator[str]:
    yield name
    if not _import(name):
        return
    for found in pkgutil.iter_modules(getattr(sys.modules[name], "__path__", ())):
        if not found.name.startswith("__") and found.name not in _NOT_BLINDLY:
            yield from _with_submodules(f"{name}.{found.name}")


def _import(name: str) -> bool:
    """Silently: deprecated modules warn, some print."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - whatever a foreign module raises, it is not there
            return False
    return True
