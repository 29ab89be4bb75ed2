"""The friendly check: exactly the list of the contract, each with its alternative."""

import warnings

import pytest

from mcproxy.manifest.model import build
from tests.sandbox.jail.reading import read

EMPTY = build(())

REFUSED = {
    "import subprocess": (1, "import of subprocess"),
    "import os, socket": (1, "import of socket"),
    "x = 1\nimport pickle as p": (2, "import of pickle"),
    "import marshal": (1, "import of marshal"),
    "from importlib import import_module": (1, "import of importlib"),
    "import importlib.util": (1, "import of importlib"),
    "from ctypes import *": (1, "import of ctypes"),
    "def f():\n    import ctypes.util": (2, "import of ctypes"),
    "import os\nos.system('ls')": (2, "os.system"),
    "import os\nos.popen('ls').read()": (2, "os.popen"),
    "import os\nos.fork()": (2, "os.fork"),
    "import os\nos.execv('/bin/sh', [])": (2, "os.execv"),
    "import os as o\no.spawnlp(0, 'ls')": (2, "os.spawnlp"),
    "import os\nrun = os.system": (2, "os.system"),
    "from os import system, path": (1, "os.system"),
    "import os.path\nos.fork()": (2, "os.fork"),
}


@pytest.mark.requirement("check.refuses")
@pytest.mark.parametrize("source", REFUSED)
def test_refused_with_an_alternative(source: str) -> None:
    line, what = REFUSED[source]
    error = read(source, EMPTY).error
    assert error is not None
    assert error.line == line
    assert error.message == f"{what} is not available in scripts."
    assert error.advice


PASSES = [
    "",
    "import json, os, sys, asyncio, urllib.request, tempfile",
    "from os import path, getcwd",
    "import os\nos.getpid(), os.environ, os.kill",
    "exec('x = 1')\neval('1')\nopen('f')\ngetattr(1, 'real')\n__import__('subprocess')",
    "os = what\nos.system(command='ls')",
    "what.os.system()",
    "subprocess = 1\nsubprocess",
    "# import subprocess\n'import socket'",
    "from .subprocess import x",
    "import socketserver, pickletools",
    "def f(:",
    "\0",
    "(" * 5000,
    'import re\nre.findall("\\d", "a1")',  # no such escape
    "1 is 1\n1or 2",
]


@pytest.mark.requirement("check.refuses_nothing_else")
@pytest.mark.parametrize("source", PASSES)
def test_everything_else_passes(source: str) -> None:
    with warnings.catch_warnings(record=True, action="always") as shown:
        assert read(source, EMPTY).error is None
    assert not shown
