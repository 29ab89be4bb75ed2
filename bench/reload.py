"""Reloads under load: does a server that did not change notice anything?

    python bench/reload.py [--reloads N]

Clients call one server without pause through a real gateway, first alone, then while other servers
are added, changed and removed by writing the configuration file. No call may fail. The machine is
shared with the servers that start: read the ratio, and how long the slowest call took.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.client import HOST, Place
from bench.processes import ECHO, ECHO_COMMAND, free_port, gateway, running
from mcproxy.types import JsonObject

CLIENTS = 16
ALONE_SECS = 5.0
SEEN_SECS = 20.0  # a reload that is not seen in /health by then has failed
LOOK_SECS = 0.1
SUM = b'"sum":3'


@dataclass(slots=True)
class Calls:
    """What the clients saw: milliseconds of each call, and how many did not give the sum."""

    times: list[float] = field(default_factory=list)
    failed: int = 0

    def row(self, name: str) -> str:
        """A line of the table."""
        cuts = statistics.quantiles(self.times, n=100)
        shown = [statistics.median(self.times), cuts[98], max(self.times)]
        cells = " | ".join(f"{value:.1f}" for value in shown)
        return f"| {name} | {len(self.times)} | {self.failed} | {cells} |"


async def client(place: Place, calls: Calls, stop: asyncio.Event) -> None:
    """Call without pause until told to stop."""
    session = await place.connect()
    call = session.call("same__add", {"a": 1, "b": 2})
    while not stop.is_set():
        started = time.perf_counter()
        _, body = await session.exchange(call)
        calls.times.append((time.perf_counter() - started) * 1000)
        calls.failed += SUM not in body.replace(b" ", b"")
    session.close()


def configuration(number: int) -> str:
    """One server that stays as it is, one that changes each time, one that comes and goes."""
    python, *echo = ECHO_COMMAND
    shifting: JsonObject = {"command": python, "args": [*echo, "--tools", str(number + 1)]}
    servers: JsonObject = {"same": ECHO, "shifting": shifting}
    if number % 2:
        servers[f"guest{number}"] = ECHO
    everything: JsonObject = {"mode": "direct", "servers": list(servers)}
    return json.dumps({"servers": servers, "namespaces": {"public": everything}})


def in_force(port: int, number: int) -> bool:
    """Whether the gateway runs what that configuration says."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/health") as answer:
        servers = json.load(answer)["servers"]
    wanted = {"same", "shifting"} | ({f"guest{number}"} if number % 2 else set())
    own = servers["same"]["tools"]
    return bool(
        servers.keys() == wanted
        and all(server["state"] == "ready" for server in servers.values())
        and servers["shifting"]["tools"] == own + number + 1
    )


async def reload(port: int, config: Path, number: int) -> None:
    """Write another configuration, and wait until it is in force."""
    await asyncio.to_thread(config.write_text, configuration(number))
    async with asyncio.timeout(SEEN_SECS):
        while not await asyncio.to_thread(in_force, port, number):  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(LOOK_SECS)


async def measure(place: Place, config: Path, reloads: int) -> tuple[Calls, Calls]:
    """The calls alone, and those during the reloads."""
    await reload(place.port, config, 0)
    both = []
    for numbers in (range(0), range(1, reloads + 1)):
        calls, stop = Calls(), asyncio.Event()
        both.append(calls)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(client(place, calls, stop))
            for number in numbers:
                await reload(place.port, config, number)
            if not numbers:
                await asyncio.sleep(ALONE_SECS)
            stop.set()
    return both[0], both[1]


async def _beside_reloads(reloads: int) -> tuple[Calls, Calls]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "mcproxy.json")
        await asyncio.to_thread(config.write_text, configuration(0))
        place = Place(free_port(), "/message", shakes=False)
        async with running(gateway(place.port, config), place):
            return await measure(place, config, reloads)


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=50)
    reloads = parser.parse_args(arguments).reloads
    alone, under = uvloop.run(_beside_reloads(reloads))
    print("| | calls | failed | p50 ms | p99 ms | slowest ms |\n|---|---|---|---|---|---|")
    print(alone.row(f"{CLIENTS} clients"))
    print(under.row(f"the same during {reloads} reloads"))
    print(f"\nLoad average: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
