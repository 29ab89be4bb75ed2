"""Programs under measurement: started, waited for, looked at from outside, and ended whatever
happens."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from bench.client import HOST, Place
from mcproxy.types import JsonObject

ROOT = Path(__file__).parents[1]
SERVERS = ROOT / "tests/servers"
ECHO_COMMAND = (sys.executable, str(SERVERS / "echo.py"))
ECHO: JsonObject = {"command": ECHO_COMMAND[0], "args": [*ECHO_COMMAND[1:]]}
STOP_SECS = 15.0  # a gateway has 10 s for calls under way; then it is killed
LOOK_SECS = 0.02
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Used:
    """What the processes of a program hold and have used, the servers behind it apart."""

    own_mib: float
    servers_mib: float
    cpu_ms: float  # of the program's own, with those of its children that have ended


@dataclass(frozen=True, slots=True)
class Running:
    """A program that answers, the seconds that this took, and where."""

    pid: int
    place: Place
    start_secs: float

    def used(self) -> Used:
        """Look now. Memory is PSS: pages that several processes share count once in all."""
        own = servers = cpu = 0.0
        for process in _family(self.pid):
            with suppress(psutil.Error):
                times, pss = process.cpu_times(), process.memory_full_info().pss / MIB
                if _is_server(process):
                    servers += pss
                else:
                    own += pss
                    cpu += sum(times[:4])  # its own and those of ended children, user and system
        return Used(own, servers, cpu * 1000)


@asynccontextmanager
async def running(
    command: Sequence[str], place: Place, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """Start a program, in a folder of its own; it has answered once this is entered."""
    with tempfile.TemporaryDirectory() as folder:
        own = {"XDG_STATE_HOME": folder, "HOME": folder}
        begun = time.perf_counter()
        with ended(
            subprocess.Popen(  # noqa: ASYNC220  # a benchmark waits for it alone
                command,
                cwd=folder,
                env={**os.environ, **own, **(settings or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        ) as process:
            (await place.answers()).close()
            yield Running(process.pid, place, time.perf_counter() - begun)


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Have a process end with all that it started."""
    try:
        yield process
    finally:
        family = _family(process.pid)
        process.terminate()
        try:
            process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for one in family:
            with suppress(psutil.Error):
                one.kill()


def gateway(port: int, config: Path) -> Sequence[str]:
    """The command of our own program."""
    return (sys.executable, str(ROOT / "main.py"), "--port", str(port), "--config", str(config))


@asynccontextmanager
async def our_gateway(document: JsonObject, path: str = "/mcp") -> AsyncIterator[Running]:
    """Our own program with a configuration; servers of it may still be starting."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "mcproxy.json")
        config.write_text(json.dumps(document), "utf-8")  # noqa: ASYNC240
        port = free_port()
        async with running(gateway(port, config), Place(port, path)) as program:
            yield program


async def tools_there(place: Place, least: int, within_secs: float = 60.0) -> float:
    """The seconds until ``tools/list`` has at least so many tools."""
    begun = time.perf_counter()
    async with asyncio.timeout(within_secs):
        session = await place.answers()
        while len(await session.tools()) < least:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(LOOK_SECS)
    session.close()
    return time.perf_counter() - begun


async def servers_ready(port: int, within_secs: float) -> None:
    """Return once no server of our own program is starting; tools may be held back all the same."""
    address = f"http://{HOST}:{port}/health"
    async with asyncio.timeout(within_secs), httpx.AsyncClient(trust_env=False) as http:
        while True:
            servers = (await http.get(address)).json()["servers"].values()
            if all(one["state"] == "ready" for one in servers):
                return
            await asyncio.sleep(LOOK_SECS)


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _family(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    with suppress(psutil.Error):
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    return []


def _is_server(process: psutil.Process) -> bool:
    """Whether it is one of the servers behind, which are those of the tests."""
    line = process.cmdline()
    return len(line) > 1 and line[1].startswith(str(SERVERS))
