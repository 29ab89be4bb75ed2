"""Which lines and branches of ``sandbox/jail/`` run in zygotes and workers.

coverage.py cannot follow there: walls keep a worker from writing, and most workers are killed. A
small tracer marks every step from line to line in memory that all processes share with the test:
that needs no system call, and nothing is lost with a process.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import coverage
import pytest

from mcproxy.sandbox import jail, zygote_launch

FILES = sorted(map(str, Path(jail.__file__).parent.rglob("*.py")))
HALF = 512  # above every line number; coverage.py names a way in or out by a negative one
SIDE = 2 * HALF

# The same in the zygote: standard library only, and before anything of the jail is imported.
_TRACER = """
def _follow():
    import mmap, opcode, sys, threading
    with open({marks!r}, "r+b") as file:
        marks = mmap.mmap(file.fileno(), 0)
    bases = {{file: at * {side} ** 2 for at, file in enumerate({files!r})}}
    yields = opcode.opmap["YIELD_VALUE"]

    def called(frame, event, argument):
        code = frame.f_code
        base, first = bases.get(code.co_filename), code.co_firstlineno
        if base is None:
            return None
        resumed = code.co_code[frame.f_lasti + 1] & 3
        last = frame.f_lineno if resumed else -first

        def stepped(frame, event, argument):
            nonlocal last
            if event == "line":
                now = frame.f_lineno
            elif event == "return" and code.co_code[frame.f_lasti] != yields:
                now = -first
            else:
                return stepped
            marks[base + (last + {half}) * {side} + now + {half}] = 1
            last = now
            return stepped

        return stepped

    sys.settrace(called)
    threading.settrace(called)

_follow()
"""


@contextmanager
def followed(measured: coverage.Coverage) -> Iterator[None]:
    """Add to what is ``measured`` the steps of every zygote that this process starts."""
    with tempfile.NamedTemporaryFile() as marks, pytest.MonkeyPatch.context() as patch:
        marks.truncate(len(FILES) * SIDE**2)
        tracer = _TRACER.format(marks=marks.name, files=FILES, half=HALF, side=SIDE)
        patch.setattr(zygote_launch, "_BOOT", f"exec({tracer!r}); {zygote_launch._BOOT}")
        yield
        measured.get_data().add_arcs(_arcs(Path(marks.name).read_bytes()))


def _arcs(marks: bytes) -> dict[str, list[tuple[int, int]]]:
    """The steps by file, as coverage.py writes them."""
    arcs: dict[str, list[tuple[int, int]]] = {file: [] for file in FILES}
    for mark in re.finditer(b"\1", marks):
        at, step = divmod(mark.start(), SIDE**2)
        before, after = divmod(step, SIDE)
        arcs[FILES[at]].append((before - HALF, after - HALF))
    return {file: steps for file, steps in arcs.items() if steps}
