"""The quick start that users of version 2 know: each of its commands, as it is written."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcproxy.types import JsonObject
from tests.e2e.gateways import ROOT, Log, program

COMMAND_SECS = 60

PREPARE = "cp mcp-servers.v2.example.json config/mcp-servers.json && cp .env.example .env"
VALIDATE = "python -m json.tool config/mcp-servers.json"
START = "python main.py --config config/mcp-servers.json --log"
SEARCH = """\
curl -X POST http://localhost:12010/message \\
  -H "Content-Type: application/json" \\
  -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"github","namespace":"public"}}}'"""  # noqa: E501
EXECUTE = """\
curl -X POST http://localhost:12010/message \\
  -H "Content-Type: application/json" \\
  -d '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"execute","arguments":{"namespace":"public","code":"async def run():\\n    return await api.server(\\"github\\").repos.list(owner=\\"octocat\\")"}}}'"""  # noqa: E501
TROUBLE = """\
curl -X POST http://localhost:12010/message \\
  -H "Content-Type: application/json" \\
  -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"test"}}}'"""  # noqa: E501
BLOCKED = """\
curl -X POST http://localhost:12010/message \\
  -H "Content-Type: application/json" \\
  -d '{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"execute","arguments":{"code":"import subprocess"}}}'"""  # noqa: E501
GREP = r'cat log | grep -i "sandbox\|blocked"'  # the log, in place of journalctl's copy of it


@dataclass(frozen=True, slots=True)
class Shell:
    """A folder with what a checkout has, whose ``python`` is that of an activated environment."""

    folder: Path
    log: Log
    address: str

    def __call__(self, command: str) -> str:
        """What a command line prints; curl asks the port that this gateway has."""
        return shell(self.folder, command.replace("http://localhost:12010", self.address))

    def result(self, command: str) -> JsonObject:
        reply = json.loads(self(command))
        assert isinstance(reply["result"], dict)
        return dict(reply["result"])


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def shell(folder: Path, command: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        cwd=folder,
        env=environment(),
        text=True,
        timeout=COMMAND_SECS,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("main.py", "mcp-servers.v2.example.json", ".env.example"):
        shutil.copy(ROOT / name, folder)
    (folder / "config").mkdir()
    shutil.copy(ROOT / "config/README.md", folder / "config")  # git keeps the folder
    (folder / "src").symlink_to(ROOT / "src")
    shell(folder, PREPARE)
    command = ["bash", "-c", f"exec {START} --port 0"]
    with program(command, folder, {**environment(), "XDG_STATE_HOME": str(folder / "state")}) as (
        _,
        log,
    ):
        yield Shell(folder, log, log.address())


@pytest.mark.requirement("seed.commands")
def test_the_example_is_plain_json(started: Shell) -> None:
    assert json.loads(started(VALIDATE)).keys() >= {"servers", "namespaces"}


@pytest.mark.requirement("seed.commands")
@pytest.mark.parametrize("command", [SEARCH, TROUBLE], ids=["github", "test"])
def test_search_answers(started: Shell, command: str) -> None:
    result = started.result(command)
    assert not result.get("isError")
    assert "results" in json.dumps(result["structuredContent"])


@pytest.mark.requirement("seed.commands")
def test_execute_runs_and_tells_of_a_server_that_is_not_there(started: Shell) -> None:
    result = started.result(EXECUTE)
    assert "github" in json.dumps(result)
    assert "calc" in json.dumps(result), "what there is instead"


@pytest.mark.requirement("seed.commands")
def test_the_log_says_when_the_sandbox_blocked_a_script(started: Shell) -> None:
    started.result(BLOCKED)
    assert started.log.says("subprocess")
    (started.folder / "log").write_text(started.log.text)
    told = started(GREP)
    assert re.search(r"sandbox.*blocked.*subprocess", told), told


@pytest.mark.requirement("seed.commands")
def test_the_requirements_file_is_one_for_pip() -> None:
    """``pip install -r requirements.txt``: pip reads it, and has all of it already."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--no-index",
        "--no-deps",
        "--quiet",
    ]
    done = subprocess.run(
        [*command, "-r", str(ROOT / "requirements.txt")],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
