"""A real store that gateways share, for a test: Debian's redis-server (or Valkey), a folder of its
own, every change on disk before it is answered."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil
import pytest

COMMAND = shutil.which("valkey-server") or shutil.which("redis-server")
NEEDED = pytest.mark.skipif(COMMAND is None, reason="no valkey-server and no redis-server is here")
STOP_SECS = 20


class StateServer:
    """Listens on a port of this machine until it is stopped; what it has is in ``folder``."""

    def __init__(self, folder: Path, *more: str) -> None:
        self._folder, self._more = folder, more
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.url = f"valkey://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[str] | None = None

    @property
    def cpu_ms(self) -> float:
        """What it has used since its start."""
        assert self._process
        return 1000 * sum(psutil.Process(self._process.pid).cpu_times()[:2])

    def start(self) -> Self:
        """Return when it answers."""
        assert COMMAND
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder))
        kept = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
        self._process = subprocess.Popen(
            [COMMAND, *options, *kept, *self._more], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        for line in self._process.stdout:
            if "eady to accept connections" in line:
                return self
        raise AssertionError("the store did not start")

    def stop(self, *, kill: bool = False) -> None:
        """End it; ``kill``: as a crash does."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdout
        if kill:
            process.kill()
        else:
            process.terminate()
        process.stdout.read()
        process.stdout.close()
        process.wait(STOP_SECS)


def state_server(folder: Path) -> Iterator[StateServer]:
    """For a fixture: one that runs until the test has ended."""
    folder.mkdir(parents=True, exist_ok=True)
    server = StateServer(folder).start()
    try:
        yield server
    finally:
        server.stop()
