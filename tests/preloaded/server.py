"""A process that has imported the whole program, and forks where it is to run.

It tells its address on stdout, and ends when its stdin does. It has one thread only, as it forks.
"""

import ast
import atexit
import contextlib
import gc
import importlib
import os
import pkgutil
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import traceback
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple, NoReturn, cast

import mcproxy
from mcproxy.cli import main
from tests import complaints
from tests.preloaded.launcher import NUMBER_BYTES, READY, STREAMS

MAIN = Path(__file__).parents[2] / "main.py"
NOT_IMPORTED = (
    *("mcproxy.__main__", "mcproxy.demo", "mcproxy.sandbox.jail"),  # of other processes
    "mcproxy.upstream.remote.oauth",  # for few runs; with the SDK it is as dear as all others
)
ASK_SECS = 20.0  # until a launcher has said what it wants, which it does at once
QUEUED = 64
STDIN = 0


class Program(NamedTuple):
    """One that runs; its launcher is told how it ends."""

    pid: int
    pidfd: int
    launcher: socket.socket


def serve(listener: socket.socket) -> None:
    """Fork for each launcher, and report each end, until stdin has ended."""
    events = select.poll()
    for fd in (STDIN, listener.fileno()):
        events.register(fd, select.POLLIN)
    programs: dict[int, Program] = {}  # by each descriptor that tells of it
    while True:
        fd, _ = events.poll()[0]  # one at a time: what it changes may make the others untrue
        if fd == STDIN:
            for program in programs.values():
                os.kill(program.pid, signal.SIGKILL)
            return
        if fd == listener.fileno():
            program = _start(listener.accept()[0])
            programs |= dict.fromkeys((program.pidfd, program.launcher.fileno()), program)
            events.register(program.pidfd, select.POLLIN)
            events.register(program.launcher, 0)  # its end is told nevertheless
        else:
            _hear(fd, programs, events)


def _start(launcher: socket.socket) -> Program:
    """Fork a process that does what the launcher wants."""
    launcher.settimeout(ASK_SECS)
    size, streams, _, _ = socket.recv_fds(launcher, NUMBER_BYTES, len(STREAMS))
    with launcher.makefile("rb") as reader:
        run = ast.literal_eval(reader.read(int.from_bytes(size, sys.byteorder)).decode())
    pid = os.fork()
    if pid == 0:
        ready = launcher.recv(len(READY))  # from now on signals reach this process
        _become(streams, *run) if ready else os._exit(1)
    for stream in streams:
        os.close(stream)
    launcher.sendall(_encoded(pid))
    return Program(pid, os.pidfd_open(pid), launcher)


def _hear(fd: int, programs: dict[int, Program], events: select.poll) -> None:
    """A program has ended; or its launcher was killed, and it is killed, too."""
    program = programs.pop(fd)
    events.unregister(fd)
    if fd != program.pidfd:
        os.kill(program.pid, signal.SIGKILL)
        return
    _, status = os.waitpid(program.pid, 0)
    if programs.pop(program.launcher.fileno(), None):
        events.unregister(program.launcher)
    with contextlib.suppress(BrokenPipeError):
        program.launcher.sendall(_encoded(os.waitstatus_to_exitcode(status)))
    program.launcher.close()
    os.close(program.pidfd)


def _encoded(number: int) -> bytes:
    return number.to_bytes(NUMBER_BYTES, sys.byteorder, signed=True)


def _become(
    streams: list[int], arguments: list[str], environment: dict[str, str], directory: str
) -> NoReturn:
    """Be a process that was just started for this, to its end."""
    for stream, fd in zip(STREAMS, streams, strict=True):
        os.dup2(fd, stream)
    os.closerange(len(STREAMS), os.sysconf("SC_OPEN_MAX"))
    cast(TextIOWrapper, sys.stdout).reconfigure(line_buffering=sys.stdout.isatty())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(MAIN), *arguments]
    sys.orig_argv = [sys.executable, *sys.argv]
    sys.path[0] = str(MAIN.parent)
    os._exit(_status())  # to take down all that was imported takes longer than most runs


def _status() -> int:
    """Run the program; its exit status, once it has done what it does as it exits."""
    status: object = 1
    try:
        main()
    except SystemExit as exiting:
        status = exiting.code
    except Exception:  # noqa: BLE001  as the interpreter does
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    return int(str(status))


def _import_all() -> None:
    """What is imported is no garbage, in this process and its children."""
    for found in pkgutil.walk_packages(mcproxy.__path__, "mcproxy."):
        if not found.name.startswith(NOT_IMPORTED):
            importlib.import_module(found.name)
    gc.collect()
    gc.freeze()


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    home = tempfile.mkdtemp(prefix="mcproxy-tests-")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{home}/socket")
        complaints.note_in(Path(home, complaints.NOTES))
        listener.listen(QUEUED)
        sys.stdout.write(f"{home}/socket\n")
        sys.stdout.flush()
        serve(listener)
    shutil.rmtree(home)


def _measured_apart() -> None:
    """Where coverage is measured: nothing that is forked writes again what was measured until now;
    a guardian's interpreter imports what measures it, too."""
    coverage = sys.modules.get("coverage")
    if coverage and (measured := coverage.Coverage.current()):
        measured.stop()
        measured.save()
        execute = os.execv
        os.execv = lambda path, words: execute(path, [word for word in words if word != "-S"])


if __name__ == "__main__":
    _import_all()
    _measured_apart()
    _serve()
