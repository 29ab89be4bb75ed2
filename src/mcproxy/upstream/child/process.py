"""One child process: start it in a group of its own, read its lines, stop it whatever it does.

Owns pipes, signals and the tail of stderr. Knows no JSON and no MCP: lines go to a callback. The
child gets a clean environment; stderr is always drained, so that a chatty child never blocks.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mcproxy.errors import PeerClosed
from mcproxy.upstream.child.tree import Family, Table, family, marks, processes
from mcproxy.wire.lines import LineSplitter, Overlong, head, tail
from mcproxy.wire.outbox import Outbox
from mcproxy.wire.pace import Paced

STDERR_LINES = 20  # kept for error messages
STDERR_LINE_BYTES = 2000
STDIN_CLOSE_SECS = 1.0  # a good server ends at the end of its input
TERM_SECS = 2.0  # then SIGTERM, then SIGKILL
LAST_WORDS_SECS = 0.2  # what the child wrote as it died is still in the pipe
BYTES_PER_MIB = 1 << 20
KILL_SECS = 5.0  # SIGKILL works at once; this bounds a wait on a process in the kernel

_NO_COMMAND = "there is no command {!r}; is it installed, and in the PATH of the gateway?"

PASSED_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "TERM")


@dataclass(frozen=True, slots=True)
class Command:
    """What to start. ``env`` is the child's whole environment, see ``child_environment``."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path | None = None


def child_environment(
    own: Mapping[str, str], configured: Mapping[str, str], *, isolated: bool
) -> dict[str, str]:
    """What a child gets: the configured variables over a few (not isolated: all) of ours."""
    base = {name: own[name] for name in PASSED_VARIABLES if name in own} if isolated else dict(own)
    return {**base, **configured}


class Child(asyncio.SubprocessProtocol):
    """A child, once ``start`` has returned.

    ``exited`` is set, and ``on_exit`` called, once it can say no more. ``rss_mb`` is what the last
    ``look`` found, None where there was nothing to see.
    """

    def __init__(
        self, on_line: Callable[[bytes | Overlong], None], on_exit: Callable[[], None]
    ) -> None:
        self.exited = asyncio.Event()
        self._on_exit = on_exit
        self._lines = LineSplitter()
        self._heard = Paced(on_line, self._pause_reading, self._resume_reading)
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._stderr_rest = b""
        self._outbox = Outbox(self._write, self.kill)
        self._transport: asyncio.SubprocessTransport | None = None
        self._family: Family = frozenset()
        self.rss_mb: float | None = None
        self._verdict = ""
        self._stopping = False

    async def start(self, command: Command) -> None:
        """Start the command as the leader of a new session.

        Raises OSError when it cannot be started (no such command, not executable, no such cwd).
        """
        program = shutil.which(command.argv[0], path=command.env.get("PATH"))
        if program is None:
            raise FileNotFoundError(_NO_COMMAND.format(command.argv[0]))
        if command.cwd and not command.cwd.is_dir():
            raise NotADirectoryError(f"its cwd {str(command.cwd)!r} is no directory")
        await asyncio.get_running_loop().subprocess_exec(
            lambda: self,
            program,
            *command.argv[1:],
            env=dict(command.env),
            cwd=command.cwd,
            start_new_session=True,
        )

    @property
    def pid(self) -> int | None:
        """The process id, None before the start."""
        return self._transport.get_pid() if self._transport else None

    @property
    def stderr_tail(self) -> str:
        """The last lines that the child wrote to stderr."""
        rest = self._stderr_rest.decode("utf-8", "replace")
        return "\n".join([*self._stderr, rest] if rest else self._stderr)

    @property
    def obituary(self) -> str:
        """How the process ended, with its last words."""
        code = self._transport.get_returncode() if self._transport else None
        if self._verdict:
            how = f"was stopped: {self._verdict}"
        elif code is None:
            how = "closed its output"
        elif code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        else:
            how = f"exited with status {code}"
        tail = self.stderr_tail
        return f"it {how}; stderr:\n{tail}" if tail else f"it {how} and wrote nothing to stderr"

    def post(self, data: bytes) -> None:
        """Write a line without waiting for the child to read; one that leaves too much unread is
        killed. Raises PeerClosed when it is gone.

        Where it has only just gone, ``on_exit`` tells how, once its last words are read.
        """
        stdin = self._stdin
        if stdin and not stdin.is_closing():
            self._outbox.post(data + b"\n")
        elif self._transport is None or self.exited.is_set() or self._stopping:
            raise PeerClosed(self.obituary)
        else:
            self._end_soon()

    async def room(self) -> None:
        """Wait while the child does not read what was written."""
        await self._outbox.room()

    def look(self, table: Table) -> float:
        """Take note of what the child has started; MiB that they and the child hold."""
        if self.pid is None:
            return 0.0
        members = family(self.pid, table, self._family)
        self._family = marks(members)
        held = sum(member.rss_bytes for member in members) / BYTES_PER_MIB
        self.rss_mb = held or None
        return held

    def kill(self, reason: str) -> None:
        """End the child at once; ``reason`` is what its calls are told."""
        self._verdict = reason
        self._signal_group(signal.SIGKILL)

    async def stop(self) -> None:
        """End the child and all that it started: end of input, then SIGTERM, then SIGKILL.

        What it started in a session of its own is found as it is now, or was at the last ``look``.
        """
        if self._transport is None:
            return
        self._stopping = True
        self.look(processes())
        if self._stdin:
            self._stdin.close()
        if not await self._ended_within(STDIN_CLOSE_SECS):
            self._signal_group(signal.SIGTERM)
            await self._ended_within(TERM_SECS)
        self._signal_group(signal.SIGKILL)
        self._kill_family()
        await self._ended_within(KILL_SECS)
        self._transport.close()

    async def _ended_within(self, secs: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(secs):
                await self.exited.wait()
        return self.exited.is_set()

    def _kill_family(self) -> None:
        """Kill who left the process group, and who they have started since."""
        if self.pid is None:
            return
        for member in family(self.pid, processes(), self._family):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member.pid, signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    # asyncio.SubprocessProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; the child runs."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Cut stdout into lines, keep the tail of stderr."""
        if fd == 1:
            self._heard.feed(self._lines.feed(data))
            return
        *lines, self._stderr_rest = (self._stderr_rest + data).split(b"\n")
        self._stderr_rest = tail(self._stderr_rest, STDERR_LINE_BYTES)
        for line in lines[-STDERR_LINES:]:
            text = head(line, STDERR_LINE_BYTES).rstrip()
            if text:
                self._stderr.append(text)

    def pause_writing(self) -> None:
        """The pipe to the child is full."""
        self._outbox.pause()

    def resume_writing(self) -> None:
        """The child reads again."""
        self._outbox.resume()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Without stdout there is no session left, even where the process lives on."""
        if fd == 1:
            self._end_soon()

    def process_exited(self) -> None:
        """The process is gone; as a grandchild may hold its pipes open, do not wait for them."""
        self._end_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        """The process is gone and all its output was read."""
        self._end()

    def _end_soon(self) -> None:
        asyncio.get_running_loop().call_later(LAST_WORDS_SECS, self._end)

    def _end(self) -> None:
        self._heard.close(self._ended)

    def _ended(self) -> None:
        if not self.exited.is_set():
            self.exited.set()
            self._outbox.close()
            self._on_exit()

    @property
    def _stdin(self) -> asyncio.WriteTransport | None:
        stdin = self._transport.get_pipe_transport(0) if self._transport else None
        return cast("asyncio.WriteTransport | None", stdin)

    def _write(self, data: bytes) -> None:
        stdin = self._stdin
        if stdin and not stdin.is_closing():
            stdin.write(data)

    def _pause_reading(self) -> None:
        if stdout := self._stdout:
            stdout.pause_reading()

    def _resume_reading(self) -> None:
        if stdout := self._stdout:
            stdout.resume_reading()

    @property
    def _stdout(self) -> asyncio.ReadTransport | None:
        stdout = self._transport.get_pipe_transport(1) if self._transport else None
        return cast("asyncio.ReadTransport", stdout) if stdout and not stdout.is_closing() else None
