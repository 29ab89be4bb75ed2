"""What a reply of ``execute`` costs a model: tokens of scripts as models write them.

    python -m bench.replies [ANOTHER_CHECKOUT]

The program runs as a whole, with servers behind it; with another checkout of it, the same scripts
run there too, and the last columns compare. Tokens are those of o200k.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import httpx

from mcproxy.types import Json, JsonObject
from tests.tokens import count

HERE = Path(__file__).parents[1]
ECHO = HERE / "tests/servers/echo.py"
START_SECS, REPLY_SECS, STOP_SECS = 60.0, 60.0, 20.0

_ADD = 'api.server("echo").add'
_ROWS = '[{{"id": n, "title": f"Issue {{n}}", "body": "lorem ipsum " * 20}} for n in range({})]'
_FAIL = 'api.server("echo").fail(message="out of ink")'
SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "one call": (
        f"await {_ADD}(a=1, b=2)",
        f"async def run():\n    return await {_ADD}(a=1, b=2)",
        f"result = {_ADD}(a=1, b=2)['sum']\nprint(result)",
    ),
    "some calls": (
        f"[{_ADD}(a=n, b=1)['sum'] for n in range(5)]",
        f"await asyncio.gather(*[{_ADD}(a=n, b=1) for n in range(8)])",
    ),
    "many calls": (
        f"await asyncio.gather(*[{_ADD}(a=n, b=1) for n in range(200)])",
        f"total = 0\nfor n in range(60): total += {_ADD}(a=n, b=1)['sum']\ntotal",
        f"for n in range(40):\n    {_ADD}(a=n, b=n)\n    print('done', n)",
    ),
    "failures": (
        _FAIL,
        "rows = [1, 2, 3]\nrows[10]",
        f"{_ADD}(a='x', b=2)",
        f"for n in range(30): {_ADD}(a=n, b=1)\n{_FAIL}",
        "def f(n):\n    return f(n - 1) if n else {}['key']\nf(40)",
    ),
    "long output": (
        "for n in range(100_000): print('line', n)",
        f"for row in {_ROWS.format(400)}: print(row)",
        f"print(json.dumps({_ROWS.format(150)}, indent=2))",
    ),
    "large results": (
        _ROWS.format(200),
        _ROWS.format(20_000),
        "'lorem ipsum dolor ' * 50_000",
        f"{{row['id']: row for row in {_ROWS.format(900)}}}",
        "list(range(50_000))",
    ),
}


def main() -> None:
    """Print the table."""
    other = Path(sys.argv[-1]) if Path(sys.argv[-1]).is_dir() else None
    now = _measured(HERE)
    before = _measured(other) if other else now
    print(f"{'replies':14} {'scripts':>7} {'before':>7} {'now':>7} {'of all':>7} {'of each':>7}")
    for kind in SCRIPTS:
        _row(kind, before[kind], now[kind])
    _row("all", list(chain(*before.values())), list(chain(*now.values())))


def _row(kind: str, before: list[int], now: list[int]) -> None:
    """The sums, and what is left of them; of each reply the median."""
    each = statistics.median(new / old for new, old in zip(now, before, strict=True))
    left = sum(now) / sum(before)
    print(f"{kind:14} {len(now):7} {sum(before):7} {sum(now):7} {left:7.0%} {each:7.0%}")


def _measured(checkout: Path) -> dict[str, list[int]]:
    with (
        tempfile.TemporaryDirectory() as directory,
        gateway(checkout, Path(directory), {}) as (http, _),
    ):
        return {kind: [count(told(http, code)) for code in each] for kind, each in SCRIPTS.items()}


def told(http: httpx.Client, code: str, **arguments: Json) -> str:
    """The text of a script's reply."""
    params: JsonObject = {"name": "execute", "arguments": {"code": code, **arguments}}
    request: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    reply: dict[str, dict[str, list[dict[str, Json]]]] = http.post("/message", json=request).json()
    return str(reply["result"]["content"][0]["text"])


@contextmanager
def gateway(
    checkout: Path, directory: Path, settings: JsonObject
) -> Iterator[tuple[httpx.Client, int]]:
    """The program of a checkout, with one server behind it: the way to it, and its process."""
    echo: JsonObject = {"command": sys.executable, "args": [str(ECHO)]}
    config = directory / "mcproxy.json"
    config.write_text(
        json.dumps({"servers": {"echo": echo}, "manifests": {"startup_dwell_secs": 30}, **settings})
    )
    arguments = [sys.executable, str(checkout / "main.py"), "--port", "0", "--log"]
    with subprocess.Popen(
        [*arguments, "--config", str(config)],
        env={**os.environ, "XDG_STATE_HOME": str(directory / "state")},
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout
            line = next(line for line in process.stdout if "listening on http" in line)
            url = line.split("listening on ", 1)[1].split()[0].strip('",')
            with httpx.Client(base_url=url, timeout=REPLY_SECS, trust_env=False) as http:
                yield http, process.pid
        finally:
            process.terminate()
            process.wait(STOP_SECS)


if __name__ == "__main__":
    main()
