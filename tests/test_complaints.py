"""Carelessness with tasks is noticed, by what asyncio itself says of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.complaints import complaints

PROGRAM = """
import asyncio, logging, socket, sys, time, uvloop
from pathlib import Path
from tests.complaints import note_in

logging.basicConfig()
note_in(Path(sys.argv[1]))

async def fails():
    raise ValueError

async def main():
    loop = asyncio.get_running_loop()
{body}
    await asyncio.sleep(0)
    await asyncio.sleep(0)

uvloop.run(main())
"""


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("    loop.create_task(fails())", "Task exception was never retrieved"),
        ("    fails()", "was never awaited"),
        ("    loop.call_soon(time.sleep, 2.1)", "Executing"),
        ("    loop.call_soon(int, 'a')", "Exception in callback"),
        ("    await asyncio.gather(fails(), return_exceptions=True)", ""),
    ],
)
def test_a_careless_program_is_told_from_a_careful_one(
    body: str, found: str, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body), notes],
        env={**os.environ, "PYTHONASYNCIODEBUG": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    told = complaints(ran.stderr)
    assert bool(told) == bool(found), ran.stderr
    assert all(found in line for line in told)
    noted = notes.read_text().splitlines() if notes.exists() else []
    assert len(noted) == len(told)
    assert all(found in line for line in noted)


def test_what_is_left_open_is_noted_and_not_told(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    code = PROGRAM.format(body="    socket.socket()")
    command = [sys.executable, "-c", code, str(notes)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "unclosed <socket.socket" in notes.read_text()
    assert ran.stderr == ""


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Task was destroyed but it is pending!", True),
        ("Exception in callback <function f at 0x7f1832e49bc0>", True),
        ("Exception in callback <function StreamReaderProtocol.connection_made.<locals>", False),
        ("Executing <Handle f> took 2.500 seconds", True),
        ("Executing <Handle f> took 0.500 seconds", False),
        ("a tool took 3.000 seconds", False),
    ],
)
def test_what_counts(line: str, found: bool) -> None:
    assert bool(complaints(f"before\n{line}\nafter")) == found
