"""The programs that are compared: how each is started, as its own documentation says, and asked.

``make bench-peers`` installs those of others, pinned, below ``.venvs/peers``. All stand in front of
the same server, ``tests/servers/echo.py``.
"""

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import floors
from bench.client import HOST, Place
from bench.processes import ECHO, ECHO_COMMAND, ROOT, gateway
from mcproxy.types import JsonObject

FOLDER = ROOT / ".venvs/peers"
ONE: JsonObject = {"echo": ECHO}
"""The server behind all of them."""
NODE = shutil.which("node") or "node"

_ADD: JsonObject = {"a": 1, "b": 2}
_CODE_MODE = """
import json, sys
from fastmcp.experimental.transforms.code_mode import CodeMode
from fastmcp.server import create_proxy
proxy = create_proxy(json.load(open(sys.argv[1])), name="peer")
proxy.add_transform(CodeMode())
quiet = {"show_banner": False, "log_level": "ERROR"}
proxy.run(transport="http", host=sys.argv[2], port=int(sys.argv[3]), **quiet)
"""
"""The proxy of fastmcp with its transform, at their defaults."""


@dataclass(frozen=True, slots=True)
class Program:
    """One of them: how it is started, and what a call of it looks like."""

    name: str
    version: str
    command: Callable[[int, Path, JsonObject], Sequence[str]]  # of a port, a folder, the servers
    call: tuple[str, JsonObject]
    lacks: str  # of what ours does; for the reader
    path: str = "/mcp"
    shakes: bool = True
    answer: bytes = b"sum"  # stands in every right reply
    code: Callable[[int], tuple[str, JsonObject]] | None = None  # a script with so many calls

    def place(self, port: int) -> Place:
        """Where it listens."""
        return Place(port, self.path, self.shakes)


def ours() -> Program:
    """This program: direct mode for calls, ``execute`` for scripts, on one URL each."""
    return Program(
        "MCProxy",
        "this checkout",
        lambda port, folder, servers: gateway(port, _written(folder, {"servers": servers})),
        ("echo__add", _ADD),
        "",
        path="/mcp?mode=direct",
        code=_our_script,
    )


def floor() -> Program:
    """What could not be less: HTTP on one side, a server's pipe on the other."""
    return Program(
        "least gateway",
        "a floor: 30 lines",
        lambda port, _, __: floors.least(port, ECHO_COMMAND),
        ("echo__add", _ADD),
        "everything: no check, no session, no limit, no restart",
        shakes=False,
    )


def bare() -> Program:
    """What HTTP alone costs."""
    return Program(
        "bare ASGI application",
        "a floor: it knows its answer",
        lambda port, _, __: floors.bare(port),
        ("echo__add", _ADD),
        "everything",
        shakes=False,
        answer=b"result",
    )


def others() -> list[Program]:
    """Those of others, all of which must be there: a report with some left out would mislead."""
    found = [_mcp_proxy(), _fastmcp(), _code_mode(), *_supergateways()]
    if missing := [program.name for program in found if not program.version]:
        raise FileNotFoundError(f"{', '.join(missing)}: not installed; make bench-peers does that")
    return found


def _mcp_proxy() -> Program:
    python = FOLDER / "mcp-proxy"
    return Program(
        "mcp-proxy",
        _python_version(python, "mcp-proxy"),
        lambda port, _, __: (
            str(python / "bin/mcp-proxy"),
            *("--host", HOST, "--port", str(port), "--log-level", "ERROR", "--"),
            *ECHO_COMMAND,
        ),
        ("add", _ADD),
        "no search, no scripts, no namespaces or rules; servers each at a path of their own",
    )


def _fastmcp() -> Program:
    python = FOLDER / "fastmcp"
    return Program(
        "fastmcp run (proxy)",
        _python_version(python, "fastmcp"),
        lambda port, folder, servers: (
            *(str(python / "bin/fastmcp"), "run", str(_written(folder, {"mcpServers": servers}))),
            *("--transport", "http", "--host", HOST, "--port", str(port)),
            *("--no-banner", "--log-level", "ERROR"),
        ),
        ("add", _ADD),
        "as configured here: no search, no scripts, no rules",
    )


def _code_mode() -> Program:
    python = FOLDER / "fastmcp"
    monty = _python_version(python, "pydantic-monty")
    return Program(
        "fastmcp code mode (Monty)",
        f"{_python_version(python, 'fastmcp')}, pydantic-monty {monty}" if monty else "",
        lambda port, folder, servers: (
            *(str(python / "bin/python"), "-c", _CODE_MODE),
            *(str(_written(folder, {"mcpServers": servers})), HOST, str(port)),
        ),
        ("", {}),
        "scripts are of Monty's Python, an interpreter of its own; no resume, no kept results",
        code=_monty_script,
    )


def _supergateways() -> list[Program]:
    package = FOLDER / "node_modules/supergateway"
    listed = package / "package.json"
    version = str(json.loads(listed.read_text())["version"]) if listed.is_file() else ""
    lacks = "one server; no search, no scripts, no access control"

    def program(name: str, lacks: str, *options: str) -> Program:
        return Program(
            name,
            f"{version}, Node {_node_version()}" if version else "",
            lambda port, _, __: (
                *(NODE, str(package / "dist/index.js"), "--stdio", shlex.join(ECHO_COMMAND)),
                *("--outputTransport", "streamableHttp", "--port", str(port)),
                *("--logLevel", "none", *options),
            ),
            ("add", _ADD),
            lacks,
        )

    return [
        program(
            "supergateway --stateful",
            f"{lacks}; a process of the server for each session",
            "--stateful",
        ),
        program("supergateway", f"{lacks}; a process of the server for each request"),
    ]


def _our_script(calls: int) -> tuple[str, JsonObject]:
    code = f"for _ in range({calls}): last = await api.server('echo').add(a=1, b=2)\nlast"
    return "execute", {"code": code if calls else "{'sum': 3}"}


def _monty_script(calls: int) -> tuple[str, JsonObject]:
    call = "last = await call_tool('add', {'a': 1, 'b': 2})"
    code = f"for _ in range({calls}):\n    {call}\nreturn last"
    return "execute", {"code": code if calls else "return {'sum': 3}"}


def _written(folder: Path, document: JsonObject) -> Path:
    path = folder / "servers.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _python_version(python: Path, package: str) -> str:
    """Empty where it is not installed."""
    name = package.replace("-", "_")
    found = sorted(python.glob(f"lib/python3*/site-packages/{name}-*.dist-info"))
    return found[0].name.removesuffix(".dist-info").partition("-")[2] if found else ""


def _node_version() -> str:
    told = subprocess.run((NODE, "--version"), capture_output=True, text=True, check=True)
    return told.stdout.strip().removeprefix("v")
