"""Remote servers as processes of their own, for tests."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

from tests.upstream.fleets import SERVERS, WAIT_SECS


@contextmanager
def listening(script: str, *options: str) -> Iterator[str]:
    """Run one of the servers under ``tests/servers`` that listen; gives its URL."""
    command = [sys.executable, str(SERVERS / script), *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(WAIT_SECS)


Listening: TypeAlias = Callable[..., AbstractContextManager[str]]


@contextmanager
def forking(script: str, folder: Path) -> Iterator[Listening]:
    """The same, of one that is loaded once and forks for each: gives what takes its options."""
    path = str(folder / "forks")

    @contextmanager
    def listening_with(*options: str) -> Iterator[str]:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(WAIT_SECS)
            line.connect(path)
            line.sendall(f"{' '.join(options)}\n".encode())
            with line.makefile() as said:
                try:
                    yield said.readline().strip()
                finally:
                    line.shutdown(socket.SHUT_WR)
                    said.read()  # until it has ended

    with listening(script, "--forks", path):
        yield listening_with
