"""``status``, ``watch``, ``search``, ``call``, ``exec`` and ``logs``, with a gateway that runs and
without one."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcproxy.config.running import running_gateways
from mcproxy.types import JsonObject
from tests.commands.processes import typed
from tests.e2e.gateways import MAIN, Running, echo, gateway

LOUD: JsonObject = {
    "command": "sh",
    "args": ["-c", "echo the key is ${KEY} >&2; exit 3"],
}
CONFIG: JsonObject = {
    "servers": {"echo": echo(), "vault": {**echo(), "namespace": "locked"}, "loud": LOUD},
    "namespaces": {"locked": {"require_auth": True}},
    "auth": {"tokens": [{"name": "ada", "token": "t0k3n", "namespaces": ["locked"]}]},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home, whose state directory is the gateway's."""
    path = tmp_path_factory.mktemp("home")
    (path / ".env").write_text("KEY=correct-horse-battery\n")
    return path


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[Running]:
    """A gateway; one of its servers fails."""
    with gateway(home, CONFIG) as found:
        yield found


STOP_SECS = 30


def asked(home: Path, running: Running, *arguments: str, stdin: str = "") -> JsonObject:
    """What a command tells as JSON; it talks to the gateway that runs."""
    del running
    done = typed(home, *arguments, "--json", stdin=stdin, anew=True)
    told = json.loads(done.stdout)
    assert told.pop("schema") == 1, done.stderr
    assert isinstance(told, dict)
    return {**told, "exit": done.returncode}


@pytest.mark.requirement("cli.finds_gateway")
def test_the_running_gateway_is_found(home: Path, running: Running) -> None:
    told = asked(home, running, "status")
    assert told["url"] == str(running.http.base_url)
    (kept,) = running_gateways(home / "state/mcproxy")
    assert kept.url == told["url"]
    (file,) = (home / "state/mcproxy/gateways").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.requirement("cli.status_command")
def test_status_tells_servers_and_calls(home: Path, running: Running) -> None:
    before = typed(home, "call", "echo", "add", "a=1", "b=2")
    assert (before.returncode, json.loads(before.stdout)) == (0, {"sum": 3})
    told = asked(home, running, "status")
    servers, calls = told["servers"], told["calls"]
    assert isinstance(servers, dict)
    assert isinstance(calls, dict)
    assert set(servers) == {"echo", "loud"}
    counted = calls["echo"]
    assert isinstance(counted, dict)
    assert counted["calls"] != 0
    assert told["exit"] == 1  # loud has failed
    plain = typed(home, "status")
    assert "\x1b" not in plain.stdout
    assert "server" in plain.stdout.splitlines()[2]


@pytest.mark.requirement("cli.status_command")
def test_watch_shows_it_again(home: Path, running: Running) -> None:
    del running
    done = typed(home, "watch", "--every", "0.2", "--times", "2", anew=True)
    assert done.stdout.count("sandbox ") == 2


@pytest.mark.requirement("cli.token")
def test_a_token_opens_a_guarded_namespace(home: Path, running: Running) -> None:
    del running
    locked = ["search", "--namespace", "locked", "echo"]
    refused = typed(home, *locked)
    assert refused.returncode == 1
    assert "--token" in refused.stderr
    assert typed(home, *locked, "--token", "t0k3n").returncode == 0
    assert typed(home, *locked, env={"MCPROXY_TOKEN": "t0k3n"}).returncode == 0


@pytest.mark.requirement("cli.search_command")
def test_search(home: Path, running: Running) -> None:
    told = asked(home, running, "search", "add numbers")
    results = told["results"]
    assert isinstance(results, list)
    assert isinstance(results[0], dict)
    assert results[0]["server"] == "echo"
    plain = typed(home, "search", "add numbers").stdout
    assert "Add two numbers" in plain
    assert "add(a, b)" in plain
    assert typed(home, "search", "qqqq zzzz xxxx").returncode == 1


@pytest.mark.requirement("cli.call_command")
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["call", "echo", "add", '{"a": 1, "b": 2}'], 0, '"sum": 3'),
        (["call", "echo", "text", "text:=12"], 0, "12"),
        (["call", "echo", "fail", "message=no luck"], 1, "no luck"),
        (["call", "echo", "add", "odd"], 2, "key=value"),
        (["call", "echo", "none"], 1, "has no tool 'none'"),
        (["call", "none", "add"], 1, "there is no server 'none'"),
    ],
)
def test_call(home: Path, running: Running, arguments: list[str], status: int, words: str) -> None:
    del running
    done = typed(home, *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.requirement("cli.exec_command")
def test_exec(home: Path, running: Running) -> None:
    script = 'print("begun")\nawait api.call_tool("echo", "add", {"a": 1, "b": 2})\n'
    (home / "script.py").write_text(script)
    done = typed(home, "exec", "script.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("begun\n")
    assert json.loads(done.stdout.removeprefix("begun\n")) == {"sum": 3}
    told = asked(home, running, "exec", "-", stdin="1 / 0")
    assert (told["status"], told["exit"]) == ("error", 1)
    assert "ZeroDivisionError" in typed(home, "exec", "-", stdin="1 / 0").stdout
    assert typed(home, "exec", "none.py").returncode == 1


@pytest.mark.requirement("cli.finds_gateway")
def test_an_address_where_nobody_listens(home: Path) -> None:
    done = typed(home, "status", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr


@pytest.mark.requirement("cli.finds_gateway")
def test_without_a_gateway_one_is_started_and_ends(tmp_path: Path) -> None:
    to_16 = ["call", "calc", "convert_base", "number:=255", "to_base=16"]
    done = typed(tmp_path, *to_16, anew=True)
    assert done.returncode == 0, done.stderr
    assert "ff" in done.stdout.lower()
    failed = typed(tmp_path, "call", "calc", "none")
    assert failed.returncode == 1
    assert "has no tool" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list((tmp_path / "state/mcproxy").glob("gateways/*"))


@pytest.mark.requirement("logs.server_files")
def test_what_a_server_writes_is_kept_masked_and_private(home: Path, running: Running) -> None:
    del running
    done = typed(home, "logs", "loud", anew=True)
    assert done.returncode == 0, done.stderr
    assert "the key is ***" in done.stdout
    assert "correct-horse" not in done.stdout
    for path in (home / "state/mcproxy/logs").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert "correct-horse" not in path.read_text()
    own = typed(home, "logs", "-n", "100")
    assert "listening on" in own.stdout
    assert typed(home, "logs", "none").returncode == 1
    assert json.loads(typed(home, "logs", "loud", "--json").stdout)["schema"] == 1


@pytest.mark.requirement("logs.follow")
def test_logs_are_followed(tmp_path: Path) -> None:
    lines = "for n in 1 2 3 4 5 6 7 8 9; do echo line $n >&2; sleep 1; done"
    slow: JsonObject = {"command": "sh", "args": ["-c", lines]}
    config: JsonObject = {"servers": {"slow": slow}, "manifests": {"startup_dwell_secs": 0}}
    env = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    command = [sys.executable, str(MAIN), "logs", "slow", "-f"]
    with (
        gateway(tmp_path, config),
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as following,
    ):
        assert following.stdout
        seen = [following.stdout.readline() for _ in range(3)]
        following.terminate()
    numbers = [int(line.rpartition("line ")[2]) for line in seen]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


@pytest.mark.requirement("cli.first_screen")
def test_the_first_screen_is_for_people_only(tmp_path: Path) -> None:
    config: JsonObject = {"servers": {"echo": echo(), "gone": {"command": "/no/such/command"}}}
    with gateway(tmp_path, config, "--log") as running:
        url = str(running.http.base_url)
    text = running.logged.text
    lines = text.splitlines()
    assert lines[0].endswith(f"listens; clients find it at {url}/mcp")
    assert f"claude mcp add --transport http mcproxy {url}/mcp" in text
    assert "server echo: ready, 18 tools" in lines
    assert text.count("server gone: failed") == 1
    assert "sandbox: " in text
    with gateway(tmp_path, config) as running:
        pass
    assert all(json.loads(line) for line in running.logged.text.splitlines())


@contextlib.contextmanager
def terminal(
    home: Path, *words: str, **variables: str
) -> Iterator[tuple[subprocess.Popen[bytes], Iterator[str]]]:
    """The program at a terminal of 100 columns, and what it writes, piece by piece. The terminal
    goes away at the end."""
    own = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "TERM": "xterm"}
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (30, 100))

    def written() -> Iterator[str]:
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while chunk := os.read(outer, 1 << 16):
                yield chunk.decode(errors="replace")

    with subprocess.Popen(
        # Whoever runs the tests may ignore the signal.
        ["setsid", "--ctty", "env", "--default-signal=HUP", sys.executable, MAIN, *words],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        cwd=home,
        env={**own, **variables},
    ) as process:
        os.close(inner)
        try:
            yield process, written()
        finally:
            os.close(outer)
            process.wait(STOP_SECS)


def on_a_terminal(home: Path, *words: str, **variables: str) -> str:
    """All that a command writes to a terminal."""
    with terminal(home, *words, **variables) as (_, written):
        return "".join(written)


@pytest.mark.requirement("cli.hangup")
@pytest.mark.requirement("cli.first_screen")
def test_at_a_terminal_there_is_the_first_screen_and_no_log_of_programs(tmp_path: Path) -> None:
    shown = ""
    with terminal(tmp_path, "--port", "0", NO_COLOR="1") as (process, written):
        while "server calc: ready, 7 tools" not in shown or "server notes: ready" not in shown:
            shown += next(written)
    assert process.returncode == 0  # it ends with its terminal
    assert shown.startswith("MCProxy ")
    assert f"`{sys.executable} {MAIN} add NAME -- COMMAND`" in shown
    assert '"level"' not in shown
    assert "INFO" not in shown


@pytest.mark.requirement("cli.hangup")
def test_a_terminal_may_go_while_something_is_written_to_it(tmp_path: Path) -> None:
    with terminal(tmp_path, "--log", "--port", "0") as (process, written):
        next(written)
    assert process.returncode == 0


@pytest.mark.requirement("cli.terminal")
def test_a_terminal_has_tables_and_colours_unless_it_wants_none(
    home: Path, running: Running
) -> None:
    del running
    assert "\x1b" not in on_a_terminal(home, "status", NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(home, "status", TERM="dumb")
    table = on_a_terminal(home, "status")
    assert "\x1b[32mready" in table
    assert "───" in table
    assert "───" in on_a_terminal(home, "search", "add", "numbers")
