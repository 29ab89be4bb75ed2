"""The server with the conformance suite's fixtures, as a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.gateways import SERVERS

STOP_SECS = 10


@contextmanager
def fixture_server(*options: str) -> Iterator[str]:
    """Start it; gives its URL."""
    command = [sys.executable, str(SERVERS / "conformance_server.py"), *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(STOP_SECS)
