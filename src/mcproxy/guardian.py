"""Leaves no process behind, whatever way the gateway ends.

The program runs as two processes: a guardian, which the user started, and the gateway, its child.
The guardian is a child subreaper (prctl(2)): when the gateway dies, by SIGKILL too, everything that
it had started, in whatever session or process group, becomes the guardian's child and is killed.
Should the guardian be killed, the kernel signals the gateway, which then does the same.

The guardian becomes a program of its own, which is this file, so that it holds nothing of what was
imported by then: 4 MiB instead of 13. Hence this file imports nothing of ours, and little else.
Elsewhere than on Linux the gateway runs alone.
"""

# pathlib takes 1 MiB of the few.
# ruff: noqa: PTH123, PTH208

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable

STOP_SECS = 60  # its calls, servers and workers have some 50 s at most; it is gone in 1 as a rule
SWEEP_SECS = 5.0  # SIGKILL works at once; this bounds the wait for processes stuck in the kernel
SWEEP_PAUSE_SECS = 0.01

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ORPHANED = signal.SIGUSR1  # the kernel's word to the gateway that the guardian is gone
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def has_terminal() -> bool:
    """Whether there is a terminal that this process belongs to."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def guarded(
    run: Callable[[], int], stop_secs: float = STOP_SECS, *, with_terminal: bool = False
) -> int:
    """Run the gateway in a child process; its exit status, once all that it started is gone.

    Signals that stop or reload the gateway are passed on to it; ``with_terminal``, a hangup because
    the terminal is gone stops it. One that is asked to stop, and has not within ``stop_secs``, is
    killed.
    """
    if not sys.platform.startswith("linux"):
        return run()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    guardian = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    gateway = os.fork()
    if gateway == 0:
        signal.signal(_ORPHANED, _on_orphaned)
        _prctl(_PR_SET_PDEATHSIG, _ORPHANED)
        if os.getppid() != guardian:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        return run()
    try:  # what is blocked, our children and being a subreaper stay as they are
        facts = (str(gateway), str(stop_secs), "terminal" if with_terminal else "")
        os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, *facts, *sys.argv])  # noqa: S606
    except OSError:  # the interpreter has been taken away meanwhile
        return _guard(gateway, stop_secs, with_terminal=with_terminal)


def _guard(gateway: int, stop_secs: float, *, with_terminal: bool) -> int:
    """Pass signals on to the gateway until it ends; its exit status, once all else is gone."""

    def receive(number: int, _: object) -> None:
        gone = number == signal.SIGHUP and with_terminal and not has_terminal()
        _pass_on(gateway, signal.SIGTERM if gone else number, stop_secs)

    for number in _PASSED_ON:
        signal.signal(number, receive)
    signal.signal(signal.SIGALRM, lambda *_: _give_up(gateway, stop_secs))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    _let_go_of_stdio()
    status = _wait_for(gateway)
    sweep()
    return status


def sweep() -> None:
    """Kill all descendants: children first, then those who become our children by that."""
    until = time.monotonic() + SWEEP_SECS
    while (children := _children()) and time.monotonic() < until:
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
        time.sleep(SWEEP_PAUSE_SECS)


def _wait_for(gateway: int) -> int:
    """Reap whatever ends until the gateway does; its exit status."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == gateway:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _children() -> list[int]:
    """Our children, as the kernel lists them; from all of /proc where it has no such list."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as listing:
            return [int(pid) for pid in listing.read().split()]
    except OSError:
        return [pid for pid in _all_pids() if _parent(pid) == os.getpid()]


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _pass_on(gateway: int, number: int, stop_secs: float) -> None:
    """Once, where it is to stop: what comes after that says nothing new."""
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        return
    if number != signal.SIGHUP:
        signal.setitimer(signal.ITIMER_REAL, stop_secs)
    _signal(gateway, number)


def _give_up(gateway: int, stop_secs: float) -> None:
    """Nobody can rely on a program that may be asked to stop and does not."""
    os.write(2, f"mcproxy: not stopped after {stop_secs:g} s, killed\n".encode())
    _signal(gateway, signal.SIGKILL)


def _signal(gateway: int, number: int) -> None:
    try:
        os.kill(gateway, number)
    except ProcessLookupError:
        return


def _on_orphaned(*_: object) -> None:
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    sweep()
    os._exit(1)


def _let_go_of_stdio() -> None:
    """The guardian must not hold a client's pipes open; stderr stays for its own last words."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(f"prctl({option}) failed")


if __name__ == "__main__":
    # At once: as the interpreter ends it lets go of our handlers, and a late signal would kill it.
    os._exit(_guard(int(sys.argv[1]), float(sys.argv[2]), with_terminal=bool(sys.argv[3])))
