"""Nothing survives the program, whatever way it ends."""

import concurrent.futures
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import MAIN, SERVERS, Running, gateway
from tests.e2e.ledgers import until

WITHIN_SECS = 2
GUARDIAN_BYTES = 8 << 20  # a bare interpreter has half of it, what the gateway forks from twice


def processes(running: Running, note: Path) -> list[psutil.Process]:
    """The gateway and all that it started, its server's grandchild included."""
    guardian = psutil.Process(running.process.pid)
    return [*guardian.children(recursive=True), psutil.Process(int(note.read_text()))]


def assert_gone(processes: list[psutil.Process]) -> None:
    """They have ended; who inherits orphans may be slow to take note of it."""
    _, left = psutil.wait_procs(processes, timeout=WITHIN_SECS)
    assert [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []


def config(note: Path, *options: str) -> JsonObject:
    """A server that starts a process of its own and ignores SIGTERM."""
    arguments: list[Json] = [str(SERVERS / "echo.py"), "--grandchild", str(note), *options]
    return {
        "servers": {"echo": {"command": sys.executable, "args": arguments}},
    }


@pytest.mark.requirement("upstream.no_orphans")
@pytest.mark.parametrize("victim", ["guardian", "gateway"])
def test_sigkill_leaves_nothing(tmp_path: Path, victim: str) -> None:
    note = tmp_path / "pid"
    with gateway(tmp_path, config(note, "--stubborn"), ends=None, anew=True) as running:
        started = processes(running, note)
        assert len(started) >= 3
        (own,) = psutil.Process(running.process.pid).children()
        os.kill(running.process.pid if victim == "guardian" else own.pid, signal.SIGKILL)
        assert_gone(started)


@pytest.mark.requirement("cli.stop")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_all_with_status_0(tmp_path: Path, number: signal.Signals) -> None:
    note = tmp_path / "pid"
    with gateway(tmp_path, config(note), ends=0, stop=number, anew=True) as running:
        started = processes(running, note)
    assert_gone(started)


@pytest.mark.requirement("cli.status")
@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ('{"servers": {"a": {"comand": "x"}}}', 78, "command"),
        ("{", 78, "mcproxy.json"),
        (None, 78, "mcproxy.json"),
    ],
)
def test_a_bad_configuration_is_exit_78(
    tmp_path: Path, text: str | None, status: int, words: str
) -> None:
    path = tmp_path / "mcproxy.json"
    if text is not None:
        path.write_text(text)
    for command in ([], ["check"]):
        done = subprocess.run(
            [sys.executable, str(MAIN), "--config", str(path), *command],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == status
        assert words in done.stderr


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with gateway(tmp_path, None) as running:
        port = str(running.http.base_url.port)
        done = subprocess.run(
            [sys.executable, str(MAIN), "--port", port],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 1
        assert port in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.requirement("http.stopping")
def test_while_stopping_new_requests_get_503_and_running_ones_end(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with (
        gateway(tmp_path, config(note), anew=True) as running,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        script = pool.submit(running.run, 'api.server("echo").sleep(secs=3)\n"done"')
        counted = 'api.server("echo").counter()["calls"]'
        while running.run(counted)["result"] in (0, 1):
            assert not script.done()
        running.process.send_signal(signal.SIGTERM)
        while running.http.get("/health").status_code != 503:
            assert not script.done()
        assert running.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code == 503
        assert script.result()["result"] == "done"


_DEAF = """
import signal, time
from mcproxy.guardian import guarded

def run():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        time.sleep(60)

raise SystemExit(guarded(run, stop_secs=0.2))
"""


@pytest.mark.requirement("cli.stop")
@pytest.mark.parametrize("asked", [1, 2])
def test_a_gateway_that_does_not_stop_is_killed(asked: int) -> None:
    command = [sys.executable, "-c", _DEAF]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        (own,) = psutil.Process(process.pid).children()
        for _ in range(asked):
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGKILL
    assert said == "mcproxy: not stopped after 0.2 s, killed\n"
    assert not own.is_running()


@pytest.mark.requirement("cli.guardian_size")
def test_the_guardian_holds_nothing_of_the_gateway(tmp_path: Path) -> None:
    with gateway(tmp_path, {"servers": {}}, anew=True) as running:
        guardian = psutil.Process(running.process.pid)
        until(lambda: any(line.endswith("guardian.py") for line in guardian.cmdline()))
        assert guardian.memory_full_info().uss < GUARDIAN_BYTES


@pytest.mark.requirement("sandbox.ahead")
def test_without_walls_no_zygote_is_started(tmp_path: Path) -> None:
    without: JsonObject = {"servers": {}, "sandbox": {"level": "none", "min_level": "none"}}
    with gateway(tmp_path, without, anew=True) as running:
        (own,) = psutil.Process(running.process.pid).children()
        assert own.children() == []
