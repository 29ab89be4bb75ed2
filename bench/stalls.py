"""What holds up the event loop: the longest of its callbacks, while clients do what costs most.

    python -m bench stalls

While one callback runs, everybody else waits. asyncio's debug mode tells of those that take long by
the clock, which on a busy machine is any; here it is the processor's time of the gateway's thread.
The gateway runs in this process, with its real sandbox and real servers; its clients are in another
thread. A collection of garbage counts for what began it.
"""

import asyncio
import json
import logging
import sys
import tempfile
import threading
import time
from asyncio import events
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.client import Place, text
from bench.growth import catalogue
from bench.processes import ECHO
from mcproxy.config.load import load
from mcproxy.serve import bind, serve_http
from mcproxy.types import Json, JsonObject

BOUND_MS = 10.0  # what asyncio's debug mode is asked for; above it, others notice
TOOLS, SERVERS = 10_000, 12
NAMES = tuple(f"n{number}" for number in range(20))  # of namespaces
CALLS, CLIENTS = 200, 10
SCRIPTS, FEW = 50, 3
INTEGERS, ROWS, CHARS = 300_000, 25_000, 2_000_000
READY_SECS, LOOK_SECS = 60.0, 0.1
BULK: JsonObject = {
    "command": sys.executable,
    "args": [str(Path(__file__).with_name("bulk_server.py"))],
}
BULKY = (
    ("integers", INTEGERS),
    ("rows", ROWS),
    ("text", CHARS),
)


@dataclass
class Callbacks:
    """The longest callbacks of one thread's loop, by what is done meanwhile."""

    thread: int
    longest: dict[str, tuple[float, str]] = field(default_factory=dict)
    now: str = ""

    def ran(self, ms: float, what: str) -> None:
        """Note one."""
        if ms > self.longest.get(self.now, (0.0, ""))[0]:
            self.longest[self.now] = ms, what


@contextmanager
def watched(callbacks: Callbacks) -> Iterator[None]:
    """Within, each callback of the loop is timed, by the thread's time on the processor."""
    run = events.Handle._run

    def timed(handle: events.Handle) -> None:
        what, begun = _named(handle), time.thread_time()
        try:
            run(handle)
        finally:
            if threading.get_ident() == callbacks.thread:
                callbacks.ran((time.thread_time() - begun) * 1000, what)

    events.Handle._run = timed  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        events.Handle._run = run  # type: ignore[method-assign]


def _named(handle: events.Handle) -> str:
    """What ran: a task by its coroutine, anything else by its function."""
    callback = handle._callback  # type: ignore[attr-defined]
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return str(getattr(task.get_coro(), "__qualname__", "a task"))
    return str(getattr(callback, "__qualname__", type(callback).__name__))


async def gateway(config: Path, listening: Callable[[int], None], until: threading.Event) -> None:
    """Serve as ``mcproxy`` does, in this process, until the clients are done."""
    listener = bind("127.0.0.1", 0)
    listening(listener.getsockname()[1])
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve_http(load(config), lambda _: None, listener))
        await asyncio.to_thread(until.wait)
        serving.cancel()


def document(folder: Path) -> JsonObject:
    """Many tools, many namespaces that see them, a server with large results."""
    servers = {**catalogue(folder, TOOLS), "echo": ECHO, "bulk": BULK}
    names: list[Json] = [*servers]
    spaces: JsonObject = {name: {"servers": names} for name in NAMES}
    return {"servers": servers, "namespaces": spaces}


Work = Callable[[Place], Coroutine[None, None, None]]


def _repeated(tool: str, arguments: JsonObject, times: int, clients: int = 1) -> Work:
    async def calls(place: Place) -> None:
        session = await place.connect()
        for _ in range(times):
            await session.exchange(session.call(tool, arguments))
        session.close()

    async def work(place: Place) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(clients):
                tasks.create_task(calls(place))

    return work


def directly(work: Work) -> Work:
    """The same in direct mode."""
    return lambda place: work(Place(place.port, f"{place.path}?mode=direct"))


def script(code: str, times: int = SCRIPTS) -> Work:
    """The same script several times."""
    return _repeated("execute", {"code": code}, times)


def reloaded(config: Path) -> Work:
    """A change of the configuration that changes every namespace."""

    async def work(place: Place) -> None:
        await asyncio.to_thread(_take_a_server_away, config)
        await _until(place, lambda servers: servers == SERVERS - 1)

    return work


def _take_a_server_away(config: Path) -> None:
    document = json.loads(config.read_text("utf-8"))
    for space in document["namespaces"].values():
        space["servers"] = space["servers"][1:]
    config.write_text(json.dumps(document), "utf-8")


async def _until(place: Place, so: Callable[[int], bool]) -> None:
    """Wait until so many servers are seen."""
    session = await place.answers()
    arguments: JsonObject = {"code": "len(api.manifest()['servers'])"}
    call: JsonObject = {"name": "execute", "arguments": arguments}
    async with asyncio.timeout(READY_SECS):
        while not so(_number(await session.ask("tools/call", call))):  # noqa: ASYNC110 - from outside
            await asyncio.sleep(LOOK_SECS)
    session.close()


def _number(result: JsonObject) -> int:
    return int(json.loads(text(result))["result"])


def rounds(config: Path) -> Mapping[str, Work]:
    """What clients do, by its name."""
    add = 'api.server("echo").add(a=1, b=2)'
    work: dict[str, Work] = {
        f"{CALLS * CLIENTS:,} direct calls": directly(
            _repeated("echo__add", {"a": 1, "b": 2}, CALLS, CLIENTS)
        ),
        f"{SCRIPTS} scripts of one call": script(add),
        f"{SCRIPTS} scripts of ten calls": script(f"for _ in range(10): {add}"),
        "searches": _repeated("search", {"query": "send an invoice"}, SCRIPTS),
    }
    for tool, count in BULKY:
        what = f"{count:,} {tool if tool != 'text' else 'characters'}"
        given = f'api.server("bulk").{tool}(count={count})'
        work[f"{what}, direct"] = directly(_repeated(f"bulk__{tool}", {"count": count}, FEW))
        work[f"{what}, to a script"] = script(f"len({given})", FEW)
        work[f"{what}, as a script's result"] = script(given, FEW)
    work["a changed configuration"] = reloaded(config)
    return work


def measure() -> Mapping[str, tuple[float, str]]:
    """The longest callback of each round, in ms, and what it was."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mcproxy.json"
        config.write_text(json.dumps(document(Path(folder))), encoding="utf-8")
        callbacks, done = Callbacks(threading.get_ident()), threading.Event()
        ports: list[int] = []
        faults: list[BaseException] = []

        def clients() -> None:
            try:
                asyncio.run(_all(Place(ports[0], f"/mcp/{NAMES[0]}"), config, callbacks))
            except BaseException as fault:  # noqa: BLE001 - told by the thread that waits
                faults.append(fault)
            finally:
                done.set()

        def listening(port: int) -> None:
            ports.append(port)
            threading.Thread(target=clients).start()

        callbacks.now = f"start, {TOOLS:,} tools in {len(NAMES)} namespaces"
        with watched(callbacks):
            asyncio.run(gateway(config, listening, done))
        if faults:
            raise faults[0]
        return callbacks.longest


async def _all(place: Place, config: Path, callbacks: Callbacks) -> None:
    await _until(place, lambda servers: servers == SERVERS)
    for name, work in rounds(config).items():
        callbacks.now = name
        await work(place)
    callbacks.now = "stop"


def main() -> None:
    """Print the table."""
    logging.disable(logging.WARNING)
    print("| meanwhile | longest callback, ms | it was |\n|---|---|---|")
    for name, (ms, what) in measure().items():
        print(f"| {name} | {ms:.1f}{' !' if ms > BOUND_MS else ''} | {what} |")


if __name__ == "__main__":
    main()
