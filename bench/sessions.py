"""Does memory come back from sessions that clients opened and abandoned?

    python -m bench.sessions [--rounds N] [--sessions N]

A gateway in a process of its own, as users run it, but for the time that a session lives. In each
round clients open sessions over ``/mcp``; every fourth one also gets a reply on a stream, which is
kept for a client that comes back. Then nobody does, and the sessions end. Memory is counted at the
start, with all sessions open, and after their end; the first round warms up.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from bench.client import HELLO, HOST, READ_BYTES, Session
from mcproxy.config.load import load
from mcproxy.frontends.sessions import Bounds
from mcproxy.observe import logs
from mcproxy.serve import bind, serve_http
from mcproxy.types import JsonObject

ECHO = Path(__file__).parents[1] / "tests/servers/echo.py"
CLIENTS = 10  # at once
STREAMED = 4  # one session in so many has a reply kept
REPLY_BYTES = 60_000
WAIT_SECS = 120.0  # for each line of the gateway's log
OPEN_SECS = 120.0  # for the sessions of a round, which take a second or two
MIB = 1 << 20
ANSWERS = "application/json, text/event-stream"
PATH = "/mcp?mode=direct"


@dataclass(frozen=True, slots=True)
class Round:
    """RSS of the gateway in MiB, with all sessions open and after their end."""

    opened: float
    ended: float


async def abandon(rounds: int, sessions: int, lives_secs: float) -> tuple[float, Sequence[Round]]:
    """RSS at the start in MiB, and each of the rounds; a session lives ``lives_secs``."""
    async with _gateway(lives_secs) as gateway:
        start, held = gateway.rss_mb, []
        for number in range(1, rounds + 1):
            async with asyncio.timeout(OPEN_SECS):
                await _open(gateway.port, sessions)
            opened = gateway.rss_mb
            await gateway.ended(number * sessions)
            held.append(Round(opened, gateway.rss_mb))
    return start, held


async def _open(port: int, sessions: int) -> None:
    numbers = iter(range(sessions))

    async def client() -> None:
        reader, writer = await asyncio.open_connection(HOST, port, limit=READ_BYTES)
        connection = Session(reader, writer, PATH)
        for number in numbers:
            head, _ = await connection.exchange(_request("initialize", HELLO, ANSWERS))
            assert head.startswith(b"HTTP/1.1 200"), head
            if number % STREAMED == 0:
                params: JsonObject = {
                    "name": "echo__echo",
                    "arguments": {"text": "x" * REPLY_BYTES},
                }
                (within,) = re.findall(r"(?i)mcp-session-id: .*\r\n", head.decode())
                call = _request("tools/call", params, "text/event-stream", within)
                _, told = await connection.exchange(call)
                assert len(told) > REPLY_BYTES, told
        connection.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CLIENTS):
            tasks.create_task(client())


def _request(method: str, params: JsonObject, accept: str, more: str = "") -> bytes:
    """A request as bytes, with ``more`` in its head."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    head += f"Accept: {accept}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


class _Gateway:
    """The process; ``port`` is where it listens."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ended = 0
        self.port = 0

    @property
    def rss_mb(self) -> float:
        return float(psutil.Process(self._process.pid).memory_info().rss / MIB)

    async def ended(self, sessions: int) -> None:
        """Return once so many sessions have ended since the start."""
        while self._ended < sessions:
            self._ended += int(await self.logged(r"\d+(?= sessions ended)"))

    async def logged(self, pattern: str) -> str:
        """Return once it logs what matches; the match."""
        assert self._process.stderr
        said = b""
        async with asyncio.timeout(WAIT_SECS):
            while line := await self._process.stderr.readline():
                said += line
                if found := re.search(pattern, line.decode()):
                    return found[0]
        raise EOFError(said.decode())


@contextlib.asynccontextmanager
async def _gateway(lives_secs: float) -> AsyncIterator[_Gateway]:
    with tempfile.TemporaryDirectory() as directory:
        config = _configured(Path(directory))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.sessions"),
            *("--serve", str(config), "--lives-secs", str(lives_secs)),
            env={**os.environ, "XDG_STATE_HOME": directory},
            stderr=asyncio.subprocess.PIPE,
        )
        gateway = _Gateway(process)
        try:
            listening = await gateway.logged(r"listening on http://[\d.:]+")
            gateway.port = int(listening.rpartition(":")[2])
            yield gateway
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()


def _configured(directory: Path) -> Path:
    """The file of a configuration with one server."""
    path = directory / "mcproxy.json"
    echo = {"command": sys.executable, "args": [str(ECHO)]}
    manifests = {"startup_dwell_secs": 30}  # enough for it to be there from the start
    sandbox = {"min_level": "none"}
    path.write_text(
        json.dumps({"servers": {"echo": echo}, "sandbox": sandbox, "manifests": manifests})
    )
    return path


def _serve(config: Path, lives_secs: float) -> None:
    logs.configure(readable=True, stream=sys.stderr)
    logging.getLogger().setLevel(logging.INFO)
    # Swept so seldom that every line about it is written: those that repeat are merely counted.
    bounds = Bounds(unused_secs=lives_secs, idle_secs=lives_secs, sweep_secs=lives_secs)
    serving = serve_http(load(config), lambda _: None, bind("127.0.0.1", 0), bounds=bounds)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


def table(start: float, held: Sequence[Round], sessions: int) -> Sequence[str]:
    """The result as lines of a Markdown table."""
    return (
        f"{sessions} sessions in each round",
        "",
        "| RSS of the gateway, MiB | all open | all over |",
        "|---|---|---|",
        f"| start | | {start:.1f} |",
        *(
            f"| round {number} | {one.opened:.1f} | {one.ended:.1f} |"
            for number, one in enumerate(held, 1)
        ),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--lives-secs", type=float, default=15.0)
    parser.add_argument("--serve", type=Path, metavar="CONFIG", help="be the gateway")
    options = parser.parse_args()
    if options.serve:
        _serve(options.serve, options.lives_secs)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        start, held = runner.run(abandon(options.rounds, options.sessions, options.lives_secs))
    print("\n".join(table(start, held, options.sessions)))


if __name__ == "__main__":
    main()
