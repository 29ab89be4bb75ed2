"""Does what scripts keep pile up? Many executions that keep a result and a value each.

    python -m bench.kept [EXECUTIONS]

The memory of the program with all its processes, and the size of its store, are told while it runs
and once more after the time to live.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.replies import HERE, gateway, told
from mcproxy.store.local_store import PURGE_SECS
from mcproxy.types import JsonObject

EXECUTIONS = 10_000
SESSIONS = 20
STEPS = 10
TTL_SECS = 600
SETTINGS: JsonObject = {"results": {"keep_mb": 1, "ttl_secs": TTL_SECS}}
MIB = 1 << 20
SCRIPT = """
api.stash[f"value {}"] = api.server("echo").add(a=1, b=2)
"x" * 50_000
"""


def main() -> None:
    """Print a line for each step."""
    executions = int(sys.argv[1]) if len(sys.argv) > 1 else EXECUTIONS
    with (
        tempfile.TemporaryDirectory() as name,
        gateway(HERE, Path(name), SETTINGS) as (http, pid),
    ):
        sessions = [json.loads(told(http, "1", session="new"))["session"] for _ in range(SESSIONS)]
        print(f"{'executions':>10} {'memory MiB':>10} {'store MiB':>10} {'ms each':>8}")
        for step in range(STEPS):
            begun = time.monotonic()
            for number in range(executions // STEPS):
                session = sessions[number % SESSIONS]
                assert '"ref"' in told(http, SCRIPT.format(number), session=session)
            each = (time.monotonic() - begun) * 1e3 * STEPS / executions
            _line(f"{(step + 1) * executions // STEPS}", pid, Path(name), each)
        time.sleep(TTL_SECS + 2 * PURGE_SECS)
        _line("after TTL", pid, Path(name), 0)


def _line(done: str, pid: int, directory: Path, ms: float) -> None:
    top = psutil.Process(pid)
    memory = sum(each.memory_info().rss for each in (top, *top.children(recursive=True)))
    store = sum(file.stat().st_size for file in (directory / "state/mcproxy").glob("store.db*"))
    print(f"{done:>10} {memory / MIB:10.0f} {store / MIB:10.1f} {ms:8.1f}", flush=True)


if __name__ == "__main__":
    main()
