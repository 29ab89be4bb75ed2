"""Remote servers as processes of their own, for tests."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
