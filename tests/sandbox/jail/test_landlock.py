"""Landlock rules on a real process, as each version of the kernel's interface would take them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mcproxy.sandbox.jail.confine import landlock, libc

CONFINED = """
import json, os, sys
from mcproxy.sandbox.jail.confine import landlock, libc

folder, version = sys.argv[1], int(sys.argv[2])
libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
libc.perform(
    landlock.restrict([f"{folder}/read"], [f"{folder}/write", "/does/not/exist"], [], version)
)
seen = {}

def attempt(name, action):
    try:
        action()
        seen[name] = True
    except OSError:
        seen[name] = False

attempt("read", lambda: open(f"{folder}/read/file").read())
attempt("list", lambda: os.listdir(f"{folder}/read"))
attempt("write the readable", lambda: open(f"{folder}/read/file", "w"))
attempt("write", lambda: open(f"{folder}/write/new", "w"))
attempt("make a folder", lambda: os.mkdir(f"{folder}/write/folder"))
attempt("rename", lambda: os.rename(f"{folder}/write/new", f"{folder}/write/newer"))
attempt("remove", lambda: os.unlink(f"{folder}/write/newer"))
attempt("link", lambda: os.symlink("/etc/passwd", f"{folder}/write/link"))
attempt("read beside", lambda: open(f"{folder}/beside").read())
attempt("list beside", lambda: os.listdir(folder))
attempt("run", lambda: os.execv("/bin/true", ["true"]))
print(json.dumps(seen))
"""
ALLOWED = {"read", "list", "write", "make a folder", "rename", "remove"}


def version() -> int:
    try:
        return landlock.abi()
    except OSError:
        return 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("read", "write"):
        (tmp_path / name).mkdir()
    (tmp_path / "read" / "file").write_text("x")
    (tmp_path / "beside").write_text("x")
    return tmp_path


@pytest.mark.skipif(not version(), reason="no Landlock here")
@pytest.mark.parametrize("asked", range(1, 8))
def test_only_what_a_rule_grants_is_allowed(folder: Path, asked: int) -> None:
    if asked > version():
        pytest.skip(f"Landlock {version()} here")
    command = [sys.executable, "-c", CONFINED, str(folder), str(asked)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=30)
    seen = json.loads(done.stdout)
    assert {name for name, worked in seen.items() if worked} == ALLOWED


def test_a_refused_call_names_itself() -> None:
    with pytest.raises(OSError, match="landlock_restrict_self: "):
        libc.syscall("landlock_restrict_self", 9999, 0)
