"""The stdio transport towards a server: one child process, one message a line.

Owns the process, its signals and the tail of stderr: a child is started in a group of its own and
stopped whatever it does. Stderr is always drained, so that a chatty child never blocks. What passes
through its pipes is for ``pipes``.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path, PurePath

import msgspec

from mcproxy.cancellation import finish
from mcproxy.errors import PeerClosed
from mcproxy.exit_status import how_ended
from mcproxy.types import Cause
from mcproxy.upstream.child.pipes import Incoming, LinePipes, on_end, receive_line
from mcproxy.upstream.child.tree import Family, Table, family, marks, processes
from mcproxy.upstream.protocol.session import ServerSession
from mcproxy.upstream.serverlog import log_stderr
from mcproxy.wire.message import Overlong, head, tail
from mcproxy.wire.peer import Peer

STDERR_LINES = 20  # kept for error messages
STDERR_LINE_BYTES = 2000
LOGGED_LINES = 200  # of what was read at once: a flood of lines is no reason to stand still
STDIN_CLOSE_SECS = 1.0  # a good server ends at the end of its input
TERM_SECS = 2.0  # then SIGTERM, then SIGKILL
LAST_WORDS_SECS = 0.2  # what the child wrote as it died is still in the pipe
BYTES_PER_MIB = 1 << 20
KILL_SECS = 5.0  # SIGKILL works at once; this bounds a wait on a process in the kernel
STOP_SECS = STDIN_CLOSE_SECS + TERM_SECS + KILL_SECS + 2.0  # and the processor's share in between

_NO_COMMAND = "there is no command {!r}; is it installed, and in the PATH of the gateway?"


class Command(msgspec.Struct, frozen=True):
    """What to start. ``env`` is the child's whole environment, see ``config.environment``."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path | None = None


_NPM_CODE = re.compile(r"^npm (?:error|ERR!) code (\w+)", re.MULTILINE)
_NPM_CAUSES: Mapping[str, Cause] = {
    "E404": "no_package",
    "ETARGET": "no_package",  # the package, but not in this version
    "ENOTFOUND": "no_network",
    "EAI_AGAIN": "no_network",
    "ECONNREFUSED": "no_network",
    "ECONNRESET": "no_network",
    "ETIMEDOUT": "no_network",
}
_UV_CAUSES: Sequence[tuple[str, Cause]] = (
    ("was not found in the package registry", "no_package"),
    ("there is no version of", "no_package"),
    ("Failed to fetch", "no_network"),
    ("error sending request", "no_network"),
)


def ending_cause(program: str, stderr: str) -> Cause:
    """Why a process ended by itself: who installs a package first says so in words of its own."""
    name = PurePath(program).name
    if name in ("npx", "npm"):
        codes = (_NPM_CAUSES.get(code) for code in _NPM_CODE.findall(stderr))
        return next((cause for cause in codes if cause), "exited")
    if name in ("uvx", "uv"):
        return next((cause for words, cause in _UV_CAUSES if words in stderr), "exited")
    return "exited"


class Child:
    """A child, once ``start`` has returned.

    ``exited`` is set, and ``on_exit`` called, once it can say no more: its output has ended, or it
    has. ``on_stderr`` is given each line for people. ``rss_mb`` is what the last ``look`` found,
    None where there was nothing to see. ``room`` waits while the child does not read what was
    written; ``post`` writes a line without waiting, and raises PeerClosed when the child is gone.
    """

    def __init__(
        self, on_exit: Callable[[], None], on_stderr: Callable[[str], None] = lambda text: None
    ) -> None:
        self.exited = asyncio.Event()
        self.rss_mb: float | None = None
        self._on_exit, self._on_stderr = on_exit, on_stderr
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._stderr_rest = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes = LinePipes(self.kill, self._refuse_line)
        self.room, self.post = self._pipes.room, self._pipes.post
        self._said: Incoming | None = None  # to people
        self._gone = asyncio.Event()
        self._family: Family = frozenset()
        self._program = self._verdict = ""
        self._stopping = False

    def start(self, command: Command, on_line: Callable[[bytes | Overlong], None]) -> None:
        """Start the command as the leader of a new session; it is to be stopped whatever comes.
        ``on_line`` is given each line that it writes.

        Raises OSError when it cannot be started (no such command, not executable, no such cwd).
        """
        self._program = command.argv[0]
        program = shutil.which(command.argv[0], path=command.env.get("PATH"))
        if program is None:
            raise FileNotFoundError(_NO_COMMAND.format(command.argv[0]))
        if command.cwd and not command.cwd.is_dir():
            raise NotADirectoryError(f"its cwd {str(command.cwd)!r} is no directory")
        self._process = process = subprocess.Popen(
            [program, *command.argv[1:]],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(command.env),
            cwd=command.cwd,
            start_new_session=True,
        )
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018  asked for
        self._pipes.open(process.stdin, process.stdout, on_line, self._end_soon)
        self._said = Incoming(process.stderr, self._warned, self._end_if_silent)
        on_end(process, self._process_ended)

    @property
    def pid(self) -> int | None:
        """The process id, None before the start."""
        return self._process.pid if self._process else None

    @property
    def stderr_tail(self) -> str:
        """The last lines that the child wrote to stderr."""
        rest = self._stderr_rest.decode("utf-8", "replace")
        return "\n".join([*self._stderr, rest] if rest else self._stderr)

    @property
    def last_words(self) -> str:
        """The last line of those: what the child is busy with, as a rule."""
        return self.stderr_tail.rpartition("\n")[2]

    @property
    def cause(self) -> Cause | None:
        """Why the process ended; None while it lives, or where we ended it."""
        if not self.exited.is_set() or self._stopping or self._verdict:
            return None
        return ending_cause(self._program, self.stderr_tail)

    @property
    def obituary(self) -> str:
        """How the process ended, with its last words."""
        code = self._process.returncode if self._process else None
        how = f"was stopped: {self._verdict}" if self._verdict else how_ended(code)
        tail = self.stderr_tail
        return f"it {how}; stderr:\n{tail}" if tail else f"it {how} and wrote nothing to stderr"

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

        Takes at most STOP_SECS; cut short, it kills at once. What the child started in a session of
        its own is found as it is now, or was at the last ``look``.
        """
        self._stopping = True
        try:
            self.look(processes())
            self._pipes.end_input()
            if not await self._gone_within(STDIN_CLOSE_SECS):
                self._signal_group(signal.SIGTERM)
                await self._gone_within(TERM_SECS)
        finally:
            self._signal_group(signal.SIGKILL)
            self._kill_family()
            try:
                await self._gone_within(KILL_SECS)
            finally:
                self._close()

    async def _gone_within(self, secs: float) -> bool:
        if self._process:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(secs):
                    await self._gone.wait()
        return self._process is None or self._gone.is_set()

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

    def _refuse_line(self) -> None:
        """Where the child has only just gone, ``on_exit`` tells how, once its last words are read.
        Raises PeerClosed otherwise."""
        if self._process is None or self.exited.is_set() or self._stopping:
            raise PeerClosed(self.obituary, cause=self.cause)
        self._end_soon()

    def _warned(self, data: bytes) -> None:
        """Keep the tail of what is said to people."""
        *lines, self._stderr_rest = (self._stderr_rest + data).split(b"\n")
        self._stderr_rest = tail(self._stderr_rest, STDERR_LINE_BYTES)
        for line in lines[-LOGGED_LINES:]:
            text = head(line, STDERR_LINE_BYTES).rstrip()
            if text:
                self._stderr.append(text)
                self._on_stderr(text)

    def _process_ended(self) -> None:
        """As a grandchild may hold its pipes open, their end is not waited for."""
        self._gone.set()
        self._end_soon()
        self._end_if_silent()

    def _end_if_silent(self) -> None:
        quiet = self._pipes.silent and (self._said is None or self._said.closed)
        if self._gone.is_set() and quiet:
            self._end()

    def _end_soon(self) -> None:
        """Without its output there is no session left, even where the process lives on."""
        asyncio.get_running_loop().call_later(LAST_WORDS_SECS, self._end)
        self._end_if_silent()

    def _end(self) -> None:
        self._pipes.end(self._ended)

    def _ended(self) -> None:
        if not self.exited.is_set():
            self.exited.set()
            self._close()
            self._on_exit()

    def _close(self) -> None:
        """Let go of the pipes."""
        self._pipes.close()
        if self._said:
            self._said.close()


@asynccontextmanager
async def connect(
    name: str,
    command: Command,
    prepare: Callable[[], Awaitable[None]],
    wake: Callable[[ServerSession], None],
) -> AsyncIterator[tuple[ServerSession, Child]]:
    """Start the server and tie a session to it; on leaving, the process group is ended.

    ``prepare`` is awaited before, and there is no start where it raises. The session is not open
    yet; for ``wake`` see there. Raises OSError when the command cannot be started.
    """
    await prepare()
    session = ServerSession(name, wake)

    def on_exit() -> None:
        peer.close(child.obituary, child.cause)
        session.on_closed()

    child = Child(on_exit, partial(log_stderr, name))
    peer = Peer(
        child.post,
        child.room,
        on_message=session.on_message,
        on_abandon=session.on_abandon,
        on_late=session.on_late,
    )
    session.attach(peer)
    try:
        child.start(command, partial(receive_line, name, peer))
        yield session, child
    finally:
        try:
            await finish(child.stop(), STOP_SECS)
        finally:
            peer.close(f"the server was stopped; {child.obituary}")
