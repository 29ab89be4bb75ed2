"""The program is told to stop while it is busy, with whatever: it ends in time, with status 0, says
so without a fault, and leaves neither a process nor half a file."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from mcproxy.types import Json, JsonObject
from tests.complaints import complaints
from tests.e2e.gateways import MAIN, ROOT, SERVERS, START_SECS, echo
from tests.preloaded.program import command, process_of

STOP_SECS = 40  # 10 for calls under way, then some for servers; the machine may be busy
GONE_SECS = 5
KEPT = (".json", ".log", ".db")  # what the directory of the state has, once nothing writes there
LOOK_SECS = 0.1
TELL_SECS = 0.002
TERM, INT, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
META: JsonObject = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
}
ASKER: JsonObject = {"command": sys.executable, "args": [str(SERVERS / "asker.py")]}
SLOW: JsonObject = {  # as npx does: a process of its own, words on stderr, no answer for long
    "command": "/bin/sh",
    "args": ["-c", "trap '' TERM; echo installing >&2; sleep 1000; sleep 1000"],
}
SLEEPS: JsonObject = {"command": ["sleep", "1000"]}
DEAF = """
import time
api.server("echo").counter()
while True:
    try:
        while True:
            time.sleep(0.1)
    except BaseException:
        pass
"""


@dataclass(slots=True)
class Program:
    """The program, from its very start on."""

    process: subprocess.Popen[bytes]
    folder: Path
    sent: list[socket.socket] = field(default_factory=list)

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "log").read_text()

    @property
    def family(self) -> list[psutil.Process]:
        """What it has started."""
        with_gone = process_of(self.process.pid).children(recursive=True)
        return [one for one in with_gone if one.is_running()]

    def until(self, condition: Callable[[], object], look_secs: float = LOOK_SECS) -> None:
        """Wait, bounded."""
        end = time.monotonic() + START_SECS
        while not condition():
            assert time.monotonic() < end, self.log
            assert self.process.poll() is None, self.log
            time.sleep(look_secs)

    def runs(self, word: str) -> bool:
        """Whether it has started a command with this word in it."""
        for one in self.family:
            try:
                if any(word in part for part in one.cmdline()):
                    return True
            except psutil.Error:
                continue
        return False

    def say(self, *messages: Json) -> None:
        """Write lines to its input."""
        assert self.process.stdin
        self.process.stdin.write(b"".join(json.dumps(one).encode() + b"\n" for one in messages))
        self.process.stdin.flush()

    def heard(self, words: bytes) -> None:
        """Read its output up to a line that has these words."""
        assert self.process.stdout
        while words not in (line := self.process.stdout.readline()):
            assert line, self.log

    def url(self) -> str:
        """Where it listens, once it does."""
        self.until(lambda: "listening on http" in self.log)
        return "http" + self.log.partition("listening on http")[2].split('"')[0].split()[0]

    def post(self, message: Json) -> None:
        """Send a request over HTTP, and read nothing of the answer."""
        url, body = httpx.URL(self.url()), json.dumps(message).encode()
        head = f"POST /message HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: application/json\r\n"
        one = socket.create_connection((url.host, url.port or 80))
        one.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.sent.append(one)


@contextmanager
def program(
    folder: Path, config: JsonObject, *options: str, anew: bool = False
) -> Iterator[Program]:
    """Start it; at the end it is killed, if it is still there. ``anew``, it has an interpreter of
    its own, and imports what it needs."""
    (folder / "mcproxy.json").write_text(json.dumps(config))
    start = [sys.executable, str(MAIN)] if anew else command()
    pipe = subprocess.PIPE
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [*start, *(options or ("--port", "0")), "--config", str(folder / "mcproxy.json")],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "XDG_STATE_HOME": str(folder / "state")},
            stdin=pipe,
            stdout=pipe,
            stderr=log,
        ) as process,
    ):
        served = Program(process, folder)
        try:
            yield served
        finally:
            for one in served.sent:
                one.close()
            process.kill()


def ends(served: Program, *signals: signal.Signals) -> None:
    """Tell it to stop; it does, and nothing of it is left. No signal: its input ends."""
    family = served.family
    for number in signals:
        served.process.send_signal(number)
    if not signals:
        assert served.process.stdin
        served.process.stdin.close()
    has_ended(served, family)


def has_ended(served: Program, family: Sequence[psutil.Process]) -> None:
    """It ends well, and nothing of it is left."""
    assert served.process.wait(STOP_SECS) == 0, served.log
    _, alive = psutil.wait_procs(family, timeout=GONE_SECS)
    assert not alive, served.log
    assert "Traceback" not in served.log, served.log
    assert not complaints(served.log), served.log
    for path in (served.folder / "state").rglob("*"):
        if path.is_file():
            assert path.suffix in KEPT, f"a draft is left: {path}"
            if path.suffix == ".json":
                json.loads(path.read_text())


def call(name: str, id_: int = 1, *, meta: JsonObject | None = None, **arguments: Json) -> Json:
    """A call of a tool."""
    params: JsonObject = {"name": name, "arguments": {**arguments}}
    if meta:
        params["_meta"] = meta
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}


def execute(code: str, id_: int = 1, *, meta: JsonObject | None = None) -> Json:
    """A script."""
    return call("execute", id_, meta=meta, code=code)


def initialize() -> Json:
    """The beginning of the handshake era, by a client that can be asked."""
    client: JsonObject = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "test", "version": "1"},
    }
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": client}


# Ways to be busy, over HTTP.


def with_script(served: Program) -> None:
    """A script runs, which nothing of Python's stops."""
    served.post(execute(DEAF))
    running = "mcproxy_executions_running 1"
    served.until(lambda: running in httpx.get(f"{served.url()}/metrics", trust_env=False).text)


def with_slow_server(served: Program) -> None:
    """A server starts that takes its time, and a client waits for it."""
    served.url()
    served.until(lambda: served.runs("sleep"))
    served.post(execute('api.server("slow").anything()'))


def with_reload(served: Program) -> None:
    """A reload waits for a hook."""
    served.url()
    served.process.send_signal(HUP)
    served.until(lambda: served.runs("sleep"))


def with_mute_clients(served: Program) -> None:
    """Clients have asked for much, and read nothing."""
    for _ in range(20):
        served.post(execute('api.server("echo").counter()\n"x" * 900_000'))
    counted = 'mcproxy_execution_seconds_count{outcome="success"} 20.0'
    served.until(lambda: counted in httpx.get(f"{served.url()}/metrics", trust_env=False).text)


ECHO: JsonObject = {"servers": {"echo": echo()}, "manifests": {"startup_dwell_secs": 30}}
SLOW_START: JsonObject = {"servers": {"slow": SLOW}, "manifests": {"startup_dwell_secs": 0}}
HOOKED: JsonObject = {
    "servers": {"echo": echo("--stubborn")},
    "manifests": {"refresh_event_hooks": {"pre_refresh": [SLEEPS], "events": ["manual"]}},
}


@pytest.mark.requirement("cli.stop_busy")
@pytest.mark.parametrize(
    ("busy", "config", "signals"),
    [
        pytest.param(with_script, ECHO, (TERM,), id="script"),
        pytest.param(with_slow_server, SLOW_START, (INT, HUP, INT), id="slow server"),
        pytest.param(with_reload, HOOKED, (TERM,), id="reload"),
        pytest.param(with_reload, HOOKED, (INT, HUP, TERM), id="reload, asked again"),
        pytest.param(with_mute_clients, ECHO, (TERM,), id="mute clients"),
    ],
)
def test_it_stops_whatever_it_does(
    tmp_path: Path,
    busy: Callable[[Program], None],
    config: JsonObject,
    signals: Sequence[signal.Signals],
) -> None:
    with program(tmp_path, config) as served:
        busy(served)
        ends(served, *signals)


# During the start.


def at_once(served: Program) -> None:
    """Before anything is imported."""
    served.until(lambda: served.family, look_secs=0.01)


def with_dwell(served: Program) -> None:
    """It waits for its servers."""
    served.until(lambda: served.runs("sleep"))


def with_server(served: Program) -> None:
    """Its server runs."""
    served.until(lambda: served.runs("echo.py"))


STARTS: list[tuple[Callable[[Program], None], JsonObject]] = [
    (at_once, ECHO),
    (with_dwell, {"servers": {"slow": SLOW}, "manifests": {"startup_dwell_secs": 60}}),
    (
        with_dwell,
        {
            "servers": {"echo": echo()},
            "manifests": {"refresh_event_hooks": {"pre_refresh": [SLEEPS], "events": ["startup"]}},
        },
    ),
    (with_dwell, {"servers": {"echo": {**echo(), "refresh_hooks": {"pre_start": [SLEEPS]}}}}),
]


@pytest.mark.requirement("cli.stop_busy")
@pytest.mark.parametrize(("busy", "config"), STARTS, ids=["at once", "slow", "hook", "pre-start"])
@pytest.mark.parametrize("options", [(), ("--stdio",)], ids=["http", "stdio"])
@pytest.mark.parametrize("signals", [(TERM,), (HUP, INT, TERM)], ids=["term", "hup-int-term"])
def test_it_stops_while_it_starts(
    tmp_path: Path,
    busy: Callable[[Program], None],
    config: JsonObject,
    options: Sequence[str],
    signals: Sequence[signal.Signals],
) -> None:
    # Once it has started a command, all is imported: only before that does a start anew differ.
    with program(tmp_path, config, *options, anew=busy is at_once) as served:
        busy(served)
        ends(served, *signals)


@pytest.mark.requirement("cli.stop_busy")
@pytest.mark.parametrize("options", [(), ("--stdio",)], ids=["http", "stdio"])
@pytest.mark.parametrize("busy", [at_once, with_server], ids=["at once", "served"])
def test_it_may_be_told_again_and_again_until_it_is_gone(
    tmp_path: Path, busy: Callable[[Program], None], options: Sequence[str]
) -> None:
    with program(tmp_path, ECHO, *options, anew=True) as served:
        busy(served)
        family = served.family
        gateway = next(one for one in family if one.ppid() == served.process.pid)
        while served.process.poll() is None:
            for number in (TERM, INT, HUP):
                served.process.send_signal(number)
                with suppress(psutil.NoSuchProcess):
                    gateway.send_signal(number)
            time.sleep(TELL_SECS)
        has_ended(served, family)


@pytest.mark.requirement("reload.hangup")
def test_a_hangup_while_it_starts_reloads_once_it_is_up(tmp_path: Path) -> None:
    config: JsonObject = {"servers": {"slow": SLOW}, "manifests": {"startup_dwell_secs": 2}}
    with program(tmp_path, config) as served:
        with_dwell(served)
        served.process.send_signal(HUP)
        served.until(lambda: "loaded anew" in served.log)
        served.url()
        ends(served, TERM)


# Over stdio; no signal is the end of the input.

ENDS = pytest.mark.parametrize("signals", [(), (TERM,), (INT, INT)], ids=["eof", "term", "int-int"])
ASKING: JsonObject = {
    "servers": {"asker": ASKER},
    "manifests": {"startup_dwell_secs": 30},
    "namespaces": {"public": {"mode": "both"}},
}


@pytest.mark.requirement("cli.stop_busy")
@ENDS
@pytest.mark.parametrize("era", ["handshake", "stateless"])
def test_it_stops_while_a_client_is_asked(
    tmp_path: Path, era: str, signals: Sequence[signal.Signals]
) -> None:
    with program(tmp_path, ASKING, "--stdio") as served:
        if era == "handshake":
            served.say(initialize(), {"jsonrpc": "2.0", "method": "notifications/initialized"})
            served.say(call("asker__elicit"))
            served.heard(b"elicitation/create")
        else:
            served.say(call("asker__elicit", meta=META))
            served.heard(b"input_required")
        ends(served, *signals)


@pytest.mark.requirement("cli.stop_busy")
@ENDS
def test_it_stops_while_a_script_runs_for_the_only_client(
    tmp_path: Path, signals: Sequence[signal.Signals]
) -> None:
    with program(tmp_path, ECHO, "--stdio") as served:
        script = DEAF.replace("counter()", "add(a=1, b=2)", 1)
        served.say(execute(script, 1), {"jsonrpc": "2.0", "id": 2, "method": "ping"})
        served.heard(b'"id":2')
        ends(served, *signals)


@pytest.mark.requirement("cli.stop_busy")
@ENDS
def test_it_stops_though_the_only_client_reads_nothing(
    tmp_path: Path, signals: Sequence[signal.Signals]
) -> None:
    with program(tmp_path, ECHO, "--stdio") as served:
        served.say(*(execute('"x" * 900_000', number) for number in range(8)))
        served.heard(b'"id":')  # one of them, and none of the others
        ends(served, *signals)
