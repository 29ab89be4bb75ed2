"""The process of a zygote, before anybody knows what walls it gets.

It needs about as long for its imports as the gateway for its own, so the first one may be launched
``ahead``, beside these. Hence this file imports little.
"""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

EXIT_SECS = 2.0  # SIGKILL works at once; this bounds the report of it

# What it imports forms no garbage; ``prepare`` turns the search for it on again. Its own code is
# kept compiled, as the gateway's is: not every installer does so. Of what scripts import, nothing.
_BOOT = "import gc, sys; gc.disable(); library = sys.path[:]; sys.path.append(sys.argv[2]); " + (
    "from mcproxy.sandbox.jail import zygote; sys.dont_write_bytecode = True; "
    "zygote.main(int(sys.argv[1]), library)"
)
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
_STDERR_BYTES = 4000


class Launched(NamedTuple):
    """A process that imports what workers need, then waits for its walls; and our end of the only
    line to it."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    def kill(self) -> None:
        """End it, and with it every worker. Safe to repeat."""
        self.process.kill()

    def last_words(self) -> str:
        """Wait for its end, at most EXIT_SECS; what it said last."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            stderr = self.process.communicate(timeout=EXIT_SECS)[1]
            return f": {stderr[-_STDERR_BYTES:].decode(errors='replace')}" if stderr else ""
        return ""


_ahead: list[Launched] = []  # at most one, for whoever launches first


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """Launch one now for whoever needs one first within; one that nobody needed is ended.

    Where none can be launched that is told to who needs one, as at any other time.
    """
    with contextlib.suppress(OSError):
        _ahead.append(_launch())
    try:
        yield
    finally:
        while _ahead:
            unused = _ahead.pop()
            unused.kill()
            unused.control.close()
            unused.last_words()


def launched() -> Launched:
    """The one that was launched ahead, else a new one. Raises OSError."""
    return _ahead.pop() if _ahead else _launch()


def _launch() -> Launched:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    try:
        with theirs:
            return Launched(_execute(theirs.fileno()), ours)
    except BaseException:
        ours.close()
        raise


def _execute(control: int) -> subprocess.Popen[bytes]:
    kept = ["-B"] if sys.dont_write_bytecode else []
    return subprocess.Popen(
        [
            *(sys.executable, "-I", "-S", *kept, "-X", "utf8", "-c", _BOOT),
            *(str(control), _PACKAGE_ROOT),
        ],
        pass_fds=(control,),
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _environment() -> dict[str, str]:
    """The zygote's whole environment. Numeric libraries must not start threads at import."""
    single = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2", **dict.fromkeys(single, "1")}
