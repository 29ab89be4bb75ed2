"""The soak as a table: what is left after so many crashes, calls and reloads.

Run: ``python -m bench measure soak``, or with ``--crashes 10000``; ``bench.soak`` says what is
done.
"""

import asyncio
import logging

import uvloop

from bench.data import Table, rounded
from bench.soak import soak

SERVERS = 20
CALLS = 20  # to each server in each round


def measure(crashes: int, *, quick: bool) -> list[Table]:
    """The table."""
    logging.disable(logging.CRITICAL)  # every crash is told
    servers = 3 if quick else SERVERS
    rounds = 1 if quick else max(1, round(crashes / servers))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        soaked = runner.run(soak(rounds, servers, CALLS))
    before, after = soaked.before, soaked.after
    rows = (
        ("child processes", before.children, after.children),
        ("open descriptors", before.descriptors, after.descriptors),
        ("RSS of the gateway's part, MiB", rounded(before.rss_mb), rounded(after.rss_mb)),
    )
    note = (
        f"{soaked.calls:,} calls, {soaked.crashes:,} crashes, {soaked.reloads:,} reloads: in each "
        f"of {rounds:,} rounds every one of {servers} servers gets {CALLS} calls and is then "
        "killed, and one more is added, called and removed. The first round warms up."
    )
    return [
        Table("soak", "Does anything pile up?", "measured", ("held", "before", "after"), rows, note)
    ]
