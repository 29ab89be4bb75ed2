"""An upstream for tests: a stdio MCP server of the handshake era that does as it is told.

Standard library only, so that it starts within a few hundredths of a second; run as
``sys.executable echo.py [OPTIONS]``. ``echo.py --help`` lists the options.

Its tools, declared in ``echo_tools.json``:

- ``echo``, ``add``, ``text``, ``json_text``, ``image``, ``many_blocks``, ``big``, ``env``, ``pid``
- ``fail`` (a result with isError), ``rpc_error``, ``counter`` (calls of its own, of all tools, and
  cancellations), ``slow_schema`` (its pattern takes a naive matcher for ever)
- ``sleep``: five progress notifications where they are asked for; honours cancellation
- ``stderr``, ``exit``, ``crash`` (SIGKILL), ``noise`` (garbage and a log message on stdout)
- ``grow``, with ``--list-changed``: adds a tool and says so

Requests are served in order on the main thread; only ``sleep`` has a thread of its own, so that
others overtake it.
"""

import argparse
import base64
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
FLOOD_BYTES = 1 << 20  # more than a pipe holds (64 KiB), so that an undrained stderr blocks
MAX_SECS = 3600.0
PROGRESS_STEPS = 5
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
IMAGE: JsonObject = {"type": "image", "data": PIXEL, "mimeType": "image/png"}


class Fault(Exception):
    """A JSON-RPC error to answer with."""

    def __init__(self, code: int, message: str, data: Json = None) -> None:
        self.error: JsonObject = {"code": code, "message": message, "data": data}
        super().__init__(message)


def main() -> None:
    """Misbehave at start as the options say, then serve until end of input."""
    options = _options()
    if options.exit_at_start is not None:
        sys.stderr.write("echo: told to exit at start\n")
        sys.exit(options.exit_at_start)
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.grandchild:
        # It inherits stdout, as the child of a launcher such as npx does.
        pid = os.spawnvp(os.P_NOWAIT, "sleep", ["sleep", "1000"])  # noqa: S606
        Path(options.grandchild).write_text(str(pid), "utf-8")
    if options.banner:
        sys.stdout.write("Welcome to echo!\n\n{not json\n[]\n42\n")
        sys.stdout.flush()
    if options.flood:
        sys.stderr.write("flood\n" * (FLOOD_BYTES // 6))
    server = Echo(options)
    for line in sys.stdin.buffer:
        server.receive(json.loads(line))
    if options.stubborn:
        threading.Event().wait(MAX_SECS)
    sys.stdout.flush()
    os._exit(0)  # a sleeping tool must not keep the process


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An MCP server for tests.")
    flag = "store_true"
    parser.add_argument("--name", default="echo", help="serverInfo.name")
    parser.add_argument("--tools", type=int, default=0, help="so many further tools: tool_0001 …")
    parser.add_argument("--page-size", type=int, default=0, help="tools on one page of tools/list")
    parser.add_argument("--delay", type=float, default=0, help="seconds before the handshake")
    parser.add_argument("--no-discover", choices=["error", "silent"], help="discover's answer")
    parser.add_argument("--banner", action=flag, help="print garbage on stdout first")
    parser.add_argument("--odd", action=flag, help="add tools with odd names and schemas")
    parser.add_argument("--flood", action=flag, help="write 1 MiB to stderr first")
    parser.add_argument("--late", action=flag, help="answer calls that were cancelled all the same")
    parser.add_argument("--list-changed", action=flag, help="add the tool grow")
    parser.add_argument("--stubborn", action=flag, help="ignore SIGTERM and end of input")
    parser.add_argument("--grandchild", metavar="FILE", help="start 'sleep 1000', pid into FILE")
    parser.add_argument("--exit-at-start", type=int, metavar="CODE", help="exit at once")
    return parser.parse_args()


class Echo:
    """The server: its tools, its counters, and the calls of ``sleep`` under way."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._tools = _definitions(options)
        self._counts = {"calls": 0, "count": 0, "cancelled": 0}
        self._sleeping: dict[str, threading.Event] = {}
        self._writing = threading.Lock()
        self._simple: dict[str, Callable[[JsonObject], JsonObject]] = {
            "echo": _structured,
            "add": lambda given: _structured({"sum": _number(given, "a") + _number(given, "b")}),
            "text": lambda given: _content(_text(str(given.get("text", "hello")))),
            "json_text": lambda given: _content(_text(json.dumps(given.get("value")))),
            "image": lambda given: _content(IMAGE),
            "many_blocks": lambda given: _content(*_every_kind_of_block()),
            "fail": _fail,
            "rpc_error": self._rpc_error,
            "big": lambda given: _content(_text("x" * int(_number(given, "bytes")))),
            "env": lambda given: _structured(dict(os.environ)),
            "pid": lambda given: _structured({"pid": os.getpid()}),
            "counter": lambda given: self._counter(),
            "stderr": self._stderr,
            "exit": lambda given: os._exit(int(_number(given, "code"))),
            "noise": lambda given: self._noise(),
            "grow": lambda given: self._grow(),
            "no_structure": lambda given: _content(_text(json.dumps(given))),
            "unknown_block": lambda given: _content({"type": "hologram", "depth": 3}),
        }

    def receive(self, message: Json) -> None:
        """Answer one message, or see to it that it will be answered."""
        if not isinstance(message, dict) or "method" not in message:
            return
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        if "id" not in message:
            self._notified(str(message["method"]), params)
            return
        try:
            result = self._result(str(message["method"]), params, message["id"])
        except Fault as fault:
            self._write({"jsonrpc": "2.0", "id": message["id"], "error": fault.error})
            return
        if result is not None:
            self._write({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def _result(self, method: str, params: JsonObject, request_id: Json) -> "JsonObject | None":
        """Return the result of a request, None where it comes later or never."""
        match method:
            case "initialize":
                threading.Event().wait(self._options.delay)
                return self._initialize(params)
            case "ping":
                return {}
            case "tools/list":
                return self._page(str(params.get("cursor", "0")))
            case "tools/call":
                return self._call(params, request_id)
            case "server/discover" if self._options.no_discover == "silent":
                return None
        raise Fault(-32601, f"Method not found: {method}")

    def _initialize(self, params: JsonObject) -> JsonObject:
        wanted = params.get("protocolVersion")
        return {
            "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[-1],
            "capabilities": {"tools": {"listChanged": bool(self._options.list_changed)}},
            "serverInfo": {"name": self._options.name, "version": "1.0.0"},
        }

    def _page(self, cursor: str) -> JsonObject:
        start = int(cursor)
        end = start + (self._options.page_size or len(self._tools))
        page: JsonObject = {"tools": list(self._tools[start:end])}
        return page if end >= len(self._tools) else {**page, "nextCursor": str(end)}

    def _call(self, params: JsonObject, request_id: Json) -> "JsonObject | None":
        self._counts["calls"] += 1
        name, given = str(params.get("name")), params.get("arguments")
        given = given if isinstance(given, dict) else {}
        if all(tool.get("name") != name for tool in self._tools):
            raise Fault(-32602, f"Unknown tool: {name}")
        if name == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "sleep":
            meta = params.get("_meta")
            token = meta.get("progressToken") if isinstance(meta, dict) else None
            woken = self._sleeping[str(request_id)] = threading.Event()
            threading.Thread(
                target=self._sleep, args=(request_id, woken, _number(given, "secs"), token)
            ).start()
            return None
        return self._simple.get(name, _structured)(given)

    def _sleep(self, request_id: Json, woken: threading.Event, secs: float, token: Json) -> None:
        for step in range(1, PROGRESS_STEPS + 1):
            if woken.wait(secs / PROGRESS_STEPS) and not self._options.late:
                break
            if token is not None:
                done: JsonObject = {"progress": step, "total": PROGRESS_STEPS}
                self._notify("notifications/progress", {"progressToken": token, **done})
        del self._sleeping[str(request_id)]
        if not woken.is_set() or self._options.late:
            self._write(
                {"jsonrpc": "2.0", "id": request_id, "result": _structured({"slept": secs})}
            )

    def _notified(self, method: str, params: JsonObject) -> None:
        if method == "notifications/cancelled":
            self._counts["cancelled"] += 1
            if woken := self._sleeping.get(str(params.get("requestId"))):
                woken.set()

    def _rpc_error(self, given: JsonObject) -> JsonObject:
        raise Fault(
            int(_number(given, "code")), str(given.get("message", "told so")), given.get("data")
        )

    def _counter(self) -> JsonObject:
        self._counts["count"] += 1
        return _structured(dict(self._counts))

    def _stderr(self, given: JsonObject) -> JsonObject:
        sys.stderr.write(f"{given.get('text', '')}\n")
        return _content(_text("written"))

    def _noise(self) -> JsonObject:
        with self._writing:
            sys.stdout.buffer.write(b"DEBUG: not JSON\n\x1b[31m\xff{\n")
        self._notify("notifications/message", {"level": "info", "data": "noise"})
        return _content(_text("quiet again"))

    def _grow(self) -> JsonObject:
        name = f"grown_{len(self._tools)}"
        self._tools.append(_tool(name, "It was not there before."))
        self._notify("notifications/tools/list_changed", {})
        return _structured({"added": name})

    def _notify(self, method: str, params: JsonObject) -> None:
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    def _write(self, message: JsonObject) -> None:
        line = json.dumps(message, separators=(",", ":"))
        with self._writing:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def _definitions(options: argparse.Namespace) -> list[JsonObject]:
    """Return the tools; those in the file's ``odd`` are as real servers have declared them."""
    known = json.loads(Path(__file__).with_name("echo_tools.json").read_bytes())
    return [
        *known["plain"],
        *(known["list_changed"] if options.list_changed else ()),
        *(known["odd"] if options.odd else ()),
        *([_tool("huge", "red \x1b[31m\x00 " * 10_000)] if options.odd else ()),
        *(_tool(f"tool_{index:04}", f"Tool {index}.") for index in range(1, options.tools + 1)),
    ]


def _tool(name: str, description: str) -> JsonObject:
    schema: JsonObject = {"type": "object", "properties": {"value": {"type": "string"}}}
    return {"name": name, "description": description, "inputSchema": schema}


def _number(given: JsonObject, name: str) -> float:
    value = given.get(name)
    if not isinstance(value, int | float):
        raise Fault(-32602, f"{name} must be a number, not {value!r}")
    return value


def _fail(given: JsonObject) -> JsonObject:
    return {**_content(_text(str(given.get("message", "told to fail")))), "isError": True}


def _structured(value: JsonObject) -> JsonObject:
    return {**_content(_text(json.dumps(value))), "structuredContent": value}


def _content(*blocks: JsonObject) -> JsonObject:
    return {"content": list(blocks)}


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def _every_kind_of_block() -> list[JsonObject]:
    sound = base64.b64encode(b"RIFF").decode()
    return [
        _text("one"),
        IMAGE,
        {"type": "audio", "data": sound, "mimeType": "audio/wav"},
        {"type": "resource_link", "uri": "file:///readme.txt", "name": "readme"},
        {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "embedded"}},
    ]


if __name__ == "__main__":
    main()
