"""What clients see of gateways behind a balancer that are killed and replaced, and of a store that
is restarted under them.

    python -m bench scale

Two gateways share a store (Debian's redis-server or Valkey, every change on disk), nginx stands in
front of them with ``deploy/nginx/mcproxy.conf``: round robin, no affinity. Clients of both eras
call through it all the while (``scale_clients``). Every other gateway that is replaced is killed,
the rest are told to stop. Needs nginx and the store's server.
"""

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import uvloop

from bench import data, results
from bench.client import HOST, Place
from bench.data import Cell, Table, rounded
from bench.processes import ECHO, ROOT, SERVERS, Running, free_port, gateway, servers_ready
from bench.scale_clients import (
    ANSWERED,
    LIMITED,
    RATE,
    RESUMED,
    SESSION_GONE,
    WAIT_SECS,
    WRONG,
    Account,
    Client,
)
from mcproxy.guardian import guarded
from mcproxy.policy.limits import burst
from mcproxy.types import JsonObject
from tests.complaints import complaints
from tests.shared_state import COMMAND, StateServer

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIGURATION = ROOT / "deploy/nginx/mcproxy.conf"
PER_MINUTE = 300
CALLS = 1_000  # of which the cost of one is taken
READY_SECS = 60.0
STOP_SECS = 30.0  # calls under way have 10 s, servers some more
LOOK_SECS = 0.05
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, and costs nothing


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens while ``clients`` of each era call: gateways replaced, and for how many seconds
    the store is away, each time; between two of these things so many seconds pass."""

    replaced: int = 10
    away_secs: tuple[float, ...] = (1.0, 7.0)
    clients: int = 6
    between_secs: float = 6.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the clients were told, what the two ledgers have, of what asyncio complained in the
    gateways, and for how long it went."""

    account: Account
    ledger: Sequence[str]
    limited: Sequence[str]
    complaints: Sequence[str]
    secs: float
    killed: int
    stopped: int

    @property
    def lost(self) -> int:
        """Entries of the ledger that were acknowledged and are not there, and wrong counters."""
        there = {*self.ledger, *self.limited}
        wrong = sum(each[WRONG] + each[SESSION_GONE] for each in self.account.ended.values())
        return len(self.account.acknowledged - there) + wrong

    @property
    def twice(self) -> int:
        """Entries that are there more than once."""
        return sum(count - 1 for count in Counter([*self.ledger, *self.limited]).values())

    @property
    def allowed(self) -> int:
        """Calls that the rate limit admits in this time."""
        return int(burst(PER_MINUTE) + PER_MINUTE / 60 * self.secs) + 1


class Gateway:
    """One of the two, at a port that stays; what it logs is in ``folder``."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.port = free_port()
        self._folder, self._config = folder, config
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    @property
    def cpu_ms(self) -> float:
        """What it has used, its servers apart."""
        assert self._process
        return Running(self._process.pid, Place(self.port), 0).used().cpu_ms

    @property
    def logged(self) -> str:
        """All lines so far."""
        return (self._folder / "log").read_text("utf-8")

    async def start(self) -> None:
        """Return when it and its servers are ready."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220  # does not wait
                gateway(self.port, self._config),
                cwd=self._folder,
                env={**os.environ, "XDG_STATE_HOME": str(self._folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        await _answers(self.port)
        await servers_ready(self.port, READY_SECS)

    async def end(self, *, kill: bool) -> None:
        """Kill the gateway itself, of which its guardian takes note, or tell it to stop."""
        process = self._process
        if process is None:
            return
        if kill:
            psutil.Process(process.pid).children()[0].kill()
        else:
            process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, STOP_SECS)


async def _answers(port: int) -> None:
    async with asyncio.timeout(READY_SECS), httpx.AsyncClient(trust_env=False) as http:
        while True:
            try:
                await http.get(f"http://{HOST}:{port}/health")
            except httpx.HTTPError:
                await asyncio.sleep(LOOK_SECS)
            else:
                return


@asynccontextmanager
async def balanced(folder: Path, ports: Sequence[int]) -> AsyncIterator[int]:
    """The balancer in front of these; its port."""
    assert NGINX
    port = free_port()
    text = CONFIGURATION.read_text("utf-8")
    for written, ours in zip((12009, 12010, 12011), (port, *ports), strict=True):
        text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{ours}")
    temporary = "\n".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"worker_processes 1;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{ }}\nhttp {{\naccess_log off;\n{temporary}\n{text}\n}}\n",
        "utf-8",
    )
    options = ("-p", str(folder), "-c", str(main), "-e", f"{folder}/error.log")
    process = subprocess.Popen(  # noqa: ASYNC220  # does not wait
        [NGINX, *options, "-g", "daemon off;"]
    )
    try:
        await _answers(port)
        yield port
    finally:
        process.terminate()
        process.wait(STOP_SECS)


def configuration(store: StateServer, folder: Path) -> JsonObject:
    """Of both gateways."""
    ledgers: JsonObject = {
        name: {
            "command": sys.executable,
            "args": [str(SERVERS / "ledger.py"), str(folder / name)],
        }
        for name in ("ledger", "limited")
    }
    limited: JsonObject = {
        "servers": ["limited"],
        "mode": "both",
        "rate_limit": {"requests_per_minute": PER_MINUTE},
    }
    namespaces: JsonObject = {
        "public": {"servers": ["echo", "ledger"], "mode": "both"},
        LIMITED.rpartition("/")[2]: limited,
    }
    return {
        "servers": {"echo": ECHO, **ledgers},
        "namespaces": namespaces,
        "state": {"url": store.url},
        "manifests": {"startup_dwell_secs": 30},
    }


@asynccontextmanager
async def sharing(folder: Path) -> AsyncIterator[tuple[StateServer, Sequence[Gateway]]]:
    """A store, and two gateways that share it, until this is left; ``folder`` is empty."""
    store = StateServer(_made(folder / "store"))
    config = folder / "mcproxy.json"
    config.write_text(json.dumps(configuration(store, folder)), "utf-8")
    gateways = [Gateway(folder / name, config) for name in ("one", "two")]
    try:
        await asyncio.to_thread(store.start)
        await asyncio.gather(*(each.start() for each in gateways))
        yield store, gateways
    finally:
        try:
            await asyncio.gather(*(each.end(kill=False) for each in gateways))
        finally:
            store.stop()


async def measured(plan: Plan, folder: Path) -> Seen:
    """Do it all; ``folder`` is empty."""
    account = Account()
    async with sharing(folder) as (store, gateways):
        ports = [each.port for each in gateways]
        async with balanced(_made(folder / "nginx"), ports) as port, _http(port) as http:
            begun = time.monotonic()
            over = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for client in _clients(http, account, plan.clients):
                    run = client.enter_only if client.path == LIMITED else client.run
                    tasks.create_task(run(over.is_set))
                killed = await _harm(plan, gateways, store)
                over.set()
            secs = time.monotonic() - begun
    ledger, limited = ((folder / name).read_text("utf-8").split() for name in ("ledger", "limited"))
    complained = [line for each in gateways for line in complaints(each.logged)]
    return Seen(account, ledger, limited, complained, secs, killed, plan.replaced - killed)


async def _harm(plan: Plan, gateways: Sequence[Gateway], store: StateServer) -> int:
    """Replace gateways in turns, every other one killed; the store's restarts lie between. How many
    were killed."""
    parts = len(plan.away_secs) + 1
    restarts = {plan.replaced * part // parts: secs for part, secs in enumerate(plan.away_secs, 1)}
    killed = 0
    for number in range(plan.replaced):
        await asyncio.sleep(plan.between_secs)
        if number in restarts:
            await asyncio.to_thread(store.stop, kill=bool(number % 2))
            await asyncio.sleep(restarts[number])
            await asyncio.to_thread(store.start)
            await asyncio.sleep(plan.between_secs)
        one, kill = gateways[number % 2], number % 4 in (0, 3)  # so that each one is treated so
        killed += kill
        await one.end(kill=kill)
        await one.start()
    await asyncio.sleep(plan.between_secs)
    return killed


async def costs(folder: Path, calls: int = CALLS) -> Table:
    """The CPU that a request costs, at the gateway that has its session and carried there."""
    rows: list[tuple[Cell, ...]] = []
    async with sharing(folder) as (store, gateways):
        here = await Place(gateways[0].port).connect()
        carried = await here.through(gateways[1].port)
        all_three: Sequence[Gateway | StateServer] = (*gateways, store)
        kept = "api.stash['n'] = api.server('echo').add(a=1, b=2)"
        for name, request, times in (
            ("direct call", here.call("echo__add", {"a": 1, "b": 2}), calls),
            ("execute, one call, writes stash", here.call("execute", {"code": kept}), calls // 10),
        ):
            for way, session in (("session is there", here), ("carried", carried)):
                await session.exchange(request)
                before = [each.cpu_ms for each in all_three]
                for _ in range(times):
                    await session.exchange(request)
                after = [each.cpu_ms for each in all_three]
                used = [(now - was) / times for was, now in zip(before, after, strict=True)]
                rows.append((f"{name}, {way}", *map(rounded, used)))
        here.close()
        carried.close()
    columns = ("request", "gateway of the session", "the other gateway", "store")
    return Table("costs", "CPU of a request, ms", "measured", columns, tuple(rows))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _http(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://{HOST}:{port}", timeout=WAIT_SECS, trust_env=False, verify=NO_TLS
    )


def _clients(http: httpx.AsyncClient, account: Account, each: int) -> Sequence[Client]:
    both = [
        Client(http, account, f"{era}{number}", era == "stateless")
        for era in ("session", "stateless")
        for number in range(each)
    ]
    limited = [Client(http, account, f"limited{number}", True, LIMITED) for number in range(2)]
    return [*both, *limited]


def tables(seen: Seen) -> Sequence[Table]:
    """How requests ended, why those failed that did, and what was promised."""
    fine = (ANSWERED, RESUMED, RATE)
    rows: list[tuple[Cell, ...]] = []
    reasons: Counter[str] = Counter()
    for kind, ended in sorted(seen.account.ended.items()):
        failed = sum(count for how, count in ended.items() if how not in fine)
        rows.append((kind, ended.total(), ended[ANSWERED], ended[RESUMED], ended[RATE], failed))
        reasons.update({how: count for how, count in ended.items() if how not in fine})
    note = (
        f"In {seen.secs:.0f} s {seen.killed} gateways were killed and {seen.stopped} told to stop, "
        "each replaced at once, and the store was restarted. Nothing was sent a second time."
    )
    columns = ("request", "sent", "answered", "on a stream taken up again", "over the limit")
    promised: tuple[tuple[Cell, ...], ...] = (
        ("what was acknowledged and is not there", seen.lost, 0),
        ("entries written twice", seen.twice, 0),
        ("calls let through by the rate limit", len(seen.limited), seen.allowed),
    )
    return (
        Table(
            "requests", "How requests ended", "measured", (*columns, "failed"), tuple(rows), note
        ),
        Table("failed", "Why", "measured", ("what its client got", "times"), _most(reasons)),
        Table("promised", "Promises", "measured", ("what", "found", "at most"), promised),
    )


def _most(reasons: Counter[str]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(reasons.most_common())


def main() -> int:
    """Print the tables; whatever was started is gone afterwards."""
    if not NGINX or not COMMAND:
        sys.exit(
            "nginx and redis-server (or valkey-server) are needed: apt install nginx-light redis"
        )
    return guarded(_main)


def _main() -> int:
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as other,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        seen = runner.run(measured(Plan(), Path(folder)))
        cost = runner.run(costs(Path(other)))
    print(f"{data.today()}, {data.machine()}\n")
    for table in (*tables(seen), cost):
        print(results.as_markdown(table), end="\n\n")
    for kind, example in seen.account.examples.items():
        print(f"{kind}: {' '.join(example.split())}")
    return 1 if seen.lost or seen.twice or len(seen.limited) > seen.allowed else 0
