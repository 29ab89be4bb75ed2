"""The whole program as a process of its own, with real servers behind it, for tests."""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import psutil

from mcproxy.gateway import reply
from mcproxy.manifest.reply_text import as_text
from mcproxy.types import Json, JsonObject
from tests.complaints import complaints
from tests.preloaded.program import command, process_of

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "main.py"
SERVERS = ROOT / "tests/servers"
START_SECS = 60
STOP_SECS = 20
LOG_SECS, LOOK_SECS = 10.0, 0.02
# Of all clients over plain HTTP: to read the machine's certificates for each is most of its cost.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
PATIENT: JsonObject = {"startup_dwell_secs": 30}  # so that servers are there from the start
# Scripts run all the same, each in an interpreter of its own: cheaper where there are few of them.
NO_WALLS: JsonObject = {"min_level": "none", "level": "none"}

# A server of others; its start takes longer than the gateway's.
TIME: JsonObject = {"command": sys.executable, "args": ["-m", "mcp_server_time"]}


def echo(*options: str) -> JsonObject:
    """The definition of the test server ``echo``."""
    return {"command": sys.executable, "args": [str(SERVERS / "echo.py"), *options]}


def usual(**servers: Json) -> JsonObject:
    """A configuration with a server that cannot be started, two others, and these."""
    return {
        "servers": {
            "echo": echo(),
            "absent": {"command": "/no/such/command"},
            "vault": {**echo(), "namespace": "locked"},
            **servers,
        },
        "namespaces": {
            "locked": {"require_auth": True},
            "small": {"extends": "public", "sandbox": {"timeout_secs": 5}},
            "shop": {"extends": "public", "allowed_origins": ["https://shop.example"]},
            "lane": {"extends": "locked", "mode": "direct"},
        },
        "auth": {"tokens": [{"name": "ada", "token": "t0k3n", "namespaces": ["locked"]}]},
    }


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that listens; ``http`` has its address as base, ``logged`` what it wrote."""

    process: subprocess.Popen[str]
    http: httpx.Client
    logged: "Log"

    @property
    def guardian(self) -> psutil.Process:
        """The first process of the program; its only child is the gateway itself."""
        return process_of(self.process.pid)

    def post(self, body: Json, path: str = "/message", **headers: str) -> httpx.Response:
        """POST a JSON body."""
        return self.http.post(path, json=body, headers=headers)

    def call(self, method: str, params: JsonObject | None = None, path: str = "/message") -> Json:
        """The result of a request; its error, if that is what came."""
        request: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        reply = self.post(request, path).json()
        result: Json = reply.get("result", reply.get("error"))
        return result

    def tool(self, name: str, **arguments: Json) -> JsonObject:
        """What a meta-tool answers: its ``structuredContent``, or ``{"fault": text}``."""
        result = self.call("tools/call", {"name": name, "arguments": {**arguments}})
        assert isinstance(result, dict), result
        return facts(result)

    def run(self, code: str, **arguments: Json) -> JsonObject:
        """Run a script."""
        return self.tool("execute", code=code, **arguments)


def facts(result: JsonObject) -> JsonObject:
    """The facts in a tool's result; text and structured content must agree."""
    if "content" not in result:
        return {"rpc_error": result}
    content = result["content"]
    assert isinstance(content, list)
    assert isinstance(content[0], dict)
    text = str(content[0]["text"])
    structured = result.get("structuredContent")
    if not isinstance(structured, dict):
        assert result.get("isError") is True
        return {"fault": text}
    if "results" in structured:
        assert text == as_text(structured)
    else:
        assert text == reply.as_text(structured)
    return structured


@contextmanager
def gateway(
    directory: Path,
    config: Mapping[str, Json] | None,
    *options: str,
    environment: Mapping[str, str] | None = None,
    stop: signal.Signals = signal.SIGTERM,
    ends: int | None = 0,
    anew: bool = False,
) -> Iterator[Running]:
    """Start the program on a free port; at the end ``stop`` it, which must give status ``ends``.

    It waits for its servers, unless ``config`` says how long. With the option ``--log``, what it
    logs is on stdout. ``anew``, it has an interpreter of its own, and imports what it needs.
    """
    arguments = [sys.executable, str(MAIN)] if anew else command()
    arguments += ["--port", "0", *options]
    if config is not None:
        path = directory / "mcproxy.json"
        path.write_text(json.dumps({"manifests": PATIENT, **config}))
    own = {"XDG_STATE_HOME": str(directory / "state"), **(environment or {})}
    with (
        program(arguments, directory, {**os.environ, **own}, stop=stop, ends=ends) as (
            process,
            log,
        ),
        httpx.Client(base_url=log.address(), timeout=60, trust_env=False, verify=NO_TLS) as http,
    ):
        yield Running(process, http, log)


@contextmanager
def program(
    command: Sequence[str | Path],
    directory: Path,
    environment: Mapping[str, str],
    *,
    stop: signal.Signals = signal.SIGTERM,
    ends: int | None = 0,
) -> Iterator[tuple[subprocess.Popen[str], "Log"]]:
    """Start it by any command, and read its log; at the end ``stop`` it, which gives ``ends``."""
    with subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        log = Log(process.stdout)
        try:
            yield process, log
        finally:
            process.send_signal(stop)
            status = process.wait(STOP_SECS)
            log.join(STOP_SECS)
            assert ends is None or status == ends, log.text
            assert not complaints(log.text)


class Log(threading.Thread):
    """Reads what the program logs, so that it never waits for a reader."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._lines: list[str] = []
        self._listening = threading.Event()
        self._address = ""
        self.start()

    def run(self) -> None:
        """Read to the end."""
        for line in self._stream:
            self._lines.append(line)
            found = re.search(r"listening on (http://[^\s\"]+)", line)
            if found:
                self._address = found[1]
                self._listening.set()
        self._listening.set()

    def address(self) -> str:
        """Where the program listens, once it does."""
        self._listening.wait(START_SECS)
        assert self._address, f"the gateway did not start:\n{self.text}"
        return self._address

    def says(self, words: str) -> bool:
        """Whether these words come within a bound: what was done before may not be written yet."""
        until = time.monotonic() + LOG_SECS
        while words not in self.text and time.monotonic() < until:
            time.sleep(LOOK_SECS)
        return words in self.text

    @property
    def text(self) -> str:
        """All lines so far."""
        return "".join(self._lines)
