"""Measures what ``bench/RESULTS.md`` says, part by part, and keeps it in ``bench/data``.

    python -m bench measure [--quick] [--crashes N] [PART ...]

Each part runs in a process of its own, within a limit, and whatever it started is gone after it,
also when it failed or was interrupted. A part that fails leaves the numbers that there were, and
the rest go on. With ``--quick`` everything is tried with tiny parameters and nothing is kept.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench import crashes, data, found, growth, results, start, tokens
from bench.data import Part, Table
from bench.peers import beside
from mcproxy.guardian import guarded

CRASHES = 1_000
STOP_SECS = 30.0  # a part that is asked to end has servers to end


@dataclass(frozen=True, slots=True)
class _Plan:
    about: str
    tables: Callable[[argparse.Namespace], list[Table]]
    limit_secs: float  # several times what a quiet machine needs; ``--crashes`` may want more


PLANS: Mapping[str, _Plan] = {
    "tokens": _Plan("what tools cost a model", lambda told: tokens.measure(quick=told.quick), 400),
    "search": _Plan("what search finds", lambda told: found.measure(quick=told.quick), 400),
    "start": _Plan("start and memory", lambda told: start.measure(quick=told.quick), 400),
    "growth": _Plan("how cost grows", lambda told: growth.measure(quick=told.quick), 400),
    "peers": _Plan("beside others", lambda told: beside.measure(quick=told.quick), 600),
    "soak": _Plan(
        "crash after crash", lambda told: crashes.measure(told.crashes, quick=told.quick), 600
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that were named, or all; then render the report. 1 if a part failed."""
    parser = _parser()
    told = parser.parse_args(arguments)
    if unknown := set(told.parts) - PLANS.keys():
        parser.error(f"there is no part {min(unknown)!r}; there are {', '.join(PLANS)}")
    return guarded(lambda: _part(told.alone, told) if told.alone else _parts(told))


def _parts(told: argparse.Namespace) -> int:
    names = told.parts or list(PLANS)
    begun = time.monotonic()
    failed = [
        name for number, name in enumerate(names, 1) if not _run(name, number, len(names), told)
    ]
    print(f"{time.monotonic() - begun:.0f} s in all", flush=True)
    if not told.quick and set(failed) != set(names):
        results.main()
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench measure", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PLANS))
    parser.add_argument("--quick", action="store_true", help="only try whether everything runs")
    parser.add_argument(
        "--crashes", type=int, default=CRASHES, help="of soak; default: %(default)d"
    )
    parser.add_argument("--alone", choices=list(PLANS), help=argparse.SUPPRESS)
    return parser


def _run(name: str, number: int, of: int, told: argparse.Namespace) -> bool:
    """Have a process measure one part; whether it did."""
    plan = PLANS[name]
    limit = plan.limit_secs * (max(1.0, told.crashes / CRASHES) if name == "soak" else 1)
    print(f"[{number}/{of}] {name}: {plan.about}; at most {limit:.0f} s", flush=True)
    options = ["--crashes", str(told.crashes), *(["--quick"] if told.quick else [])]
    begun = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "bench", "measure", "--alone", name, *options]
    ) as one:
        try:
            status = one.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            one.terminate()
            _gone(one)
    how = {0: "done", None: "NOT done within its limit"}.get(status, f"FAILED with status {status}")
    print(f"[{number}/{of}] {name}: {how}, {time.monotonic() - begun:.0f} s", flush=True)
    return status == 0


def _gone(process: subprocess.Popen[bytes]) -> None:
    """Its guardian kills all that it started, when it ends and when it is killed."""
    try:
        process.wait(STOP_SECS)
    except subprocess.TimeoutExpired:
        process.kill()


def _part(name: str, told: argparse.Namespace) -> int:
    load = os.getloadavg()[0]
    begun = time.monotonic()
    tables = PLANS[name].tables(told)
    command = f"make bench PART={name}"
    if name == "soak" and told.crashes != CRASHES:
        command += f" CRASHES={told.crashes}"
    secs = data.rounded(time.monotonic() - begun)
    part = Part(
        *(name, command, data.today(), data.machine(), data.rounded(load), secs),
        tuple(tables),
    )
    for table in tables:
        print("\n".join(("", results.as_markdown(table))), flush=True)
    if not told.quick:
        data.write(part)
    return 0
