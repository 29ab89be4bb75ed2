"""Why a server is not there is known where the fault arises, and ``doctor`` has the cure."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcproxy.types import Cause, JsonObject
from mcproxy.upstream.child.stdio import ending_cause
from tests.commands.processes import typed


@pytest.mark.parametrize(
    ("program", "stderr", "cause"),
    [
        ("/usr/bin/npx", "npm error code E404\nnpm error 404 Not Found", "no_package"),
        ("npx", "npm ERR! code ENOTFOUND", "no_network"),
        ("npx", "Error: 404", "exited"),
        ("uvx", "Because x was not found in the package registry", "no_package"),
        ("uvx", "error: Failed to fetch: `https://x`", "no_network"),
        ("python", "npm error code E404", "exited"),
    ],
)
def test_a_runner_of_packages_says_why_it_ended(program: str, stderr: str, cause: Cause) -> None:
    assert ending_cause(program, stderr) == cause


class _Refusing(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(401 if self.path == "/locked" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(timeout=10)


@pytest.mark.requirement("cli.causes")
def test_doctor_has_the_cure_of_each(tmp_path: Path, refusing: str) -> None:
    npx = tmp_path / "npx"
    npx.write_text("#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n")
    npx.chmod(0o755)
    (tmp_path / "plain").write_text("no program")
    servers: JsonObject = {
        "gone": {"command": "/no/such/command"},
        "plain": {"command": "sh", "cwd": str(tmp_path / "plain")},
        "package": {"command": str(npx), "args": ["-y", "none"]},
        "dies": {"command": "sh", "args": ["-c", "exit 3"]},
        "closed": {"url": "http://127.0.0.1:1/mcp"},
        "locked": {"url": f"{refusing}/locked"},
    }
    (tmp_path / "mcproxy.json").write_text(json.dumps({"servers": servers}))
    done = typed(tmp_path, "--port", "0", "doctor", "--json")
    checks = json.loads(done.stdout)["checks"]
    cures = {each["check"]: each["cure"] for each in checks if each["severity"] == "error"}
    assert {name: cure.partition(",")[0] for name, cure in cures.items()} == {
        "server gone": "install it",
        "server plain": "make the directory",
        "server package": "mend the name or the version of the package in its `args`",
        "server dies": "start its command by hand to see more; does it want arguments",
        "server closed": "start what is to listen there",
        "server locked": "run `mcproxy login locked`",
    }
