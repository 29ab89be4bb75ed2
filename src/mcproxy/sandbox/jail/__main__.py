"""Starts a worker in a process of its own: ``python -I .../jail <socket> <memory MiB> <seconds>``,
then folders to import packages from.

This is sandbox level ``none``: limits of memory and processor time, and no walls. The path of the
package is on ``sys.path`` only while the worker is imported.
"""

import importlib
import math
import os
import resource
import sys
from pathlib import Path


def main() -> None:
    """Take the limits from the command line, then serve one job."""
    sock_fd, memory_mb, timeout_secs = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    worker = importlib.import_module("mcproxy.sandbox.jail.worker")
    stage = worker.staged()
    del sys.path[0]
    sys.path += sys.argv[4:]
    _limit(memory_mb, timeout_secs)
    sys.argv[:] = ["<script>"]
    worker.run(sock_fd, stage)
    os._exit(0)  # what the script left behind (threads, exit handlers) has no say


def _limit(memory_mb: int, timeout_secs: float) -> None:
    own = resource.RUSAGE_SELF
    memory = (memory_mb << 20) + (resource.getrusage(own).ru_maxrss << 10)
    used = resource.getrusage(own)
    seconds = math.ceil(timeout_secs + used.ru_utime + used.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
