"""A fresh Python process for each script: sandbox level ``none``.

Limits of time, processor and memory hold; there are no walls, and every outcome says so. It owns
the process from start to kill and knows nothing of frames.
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from msgspec.structs import replace

from mcproxy.cancellation import begin, finish
from mcproxy.exit_status import signal_name
from mcproxy.sandbox import bridge
from mcproxy.sandbox.frames import WorkerLine
from mcproxy.sandbox.zygote_process import ZygoteFailed
from mcproxy.shortage import need_descriptors
from mcproxy.types import CallTool, Job, Outcome, ScriptError

NOTE = "sandbox level none: scripts are not contained"
_JAIL = Path(__file__).with_name("jail")
_START_SECS = 10.0  # a fork, of a large process on a busy machine
_EXIT_SECS = 2.0  # a process that closed its socket is on its way out; one we killed too


async def run(job: Job, call: CallTool, package_path: Sequence[str] = ()) -> Outcome:
    """Run one script in a process of its own. A ``RunCode``, told where packages are.

    Raises ZygoteFailed where no process can be started.
    """
    with ExitStack() as held:
        try:
            line, process = await _started(held, job, package_path)
        except OSError as error:
            raise ZygoteFailed.of(error) from error
        try:
            outcome = await bridge.serve(line, job, call, lambda: _explain(process))
        finally:
            await finish(_kill(process), 2 * _EXIT_SECS)
    return replace(outcome, notes=(*outcome.notes, NOTE))


async def _started(
    held: ExitStack, job: Job, package_path: Sequence[str]
) -> tuple[WorkerLine, asyncio.subprocess.Process]:
    """A process in a folder of its own, and our end of the line to it."""
    need_descriptors()
    ours, theirs = socket.socketpair()
    line = WorkerLine(ours)
    held.callback(line.close)
    with theirs:
        made = tempfile.TemporaryDirectory(prefix="mcproxy-", ignore_cleanup_errors=True)
        cwd = held.enter_context(made)
        command = [*_command(theirs.fileno(), job), *package_path]
        process = await begin(_start(command, theirs.fileno(), cwd), _kill, _START_SECS)
    return line, process


def _command(sock_fd: int, job: Job) -> list[str]:
    limits = job.limits
    numbers = (sock_fd, limits.memory_mb, limits.timeout_secs)
    return [sys.executable, "-I", str(_JAIL), *map(str, numbers)]


async def _start(command: list[str], sock_fd: int, cwd: str) -> asyncio.subprocess.Process:
    nowhere = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=nowhere,
        stdout=nowhere,
        stderr=nowhere,
        pass_fds=(sock_fd,),
        env={"LANG": "C.UTF-8", "HOME": cwd, "TMPDIR": cwd},
        cwd=cwd,
        start_new_session=True,  # one group: what the script starts is killed with it
    )


async def _explain(process: asyncio.subprocess.Process) -> ScriptError:
    """Why the worker is gone."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_EXIT_SECS):
            await process.wait()
    code = process.returncode
    if code == -signal.SIGXCPU:
        return ScriptError("Timeout", "The script used more processor time than its time limit.")
    if code is not None and code < 0:
        text = f"The script's process was ended by {signal_name(-code)}."
        return ScriptError("SandboxError", text)
    text = "The script's process ended without a result (os._exit, or a crash)."
    return ScriptError("SandboxError", text)


async def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(_EXIT_SECS):
            await process.wait()
