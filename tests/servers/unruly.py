"""An upstream for tests that breaks on request, in ways that ``echo.py`` does not.

Standard library only; run as ``sys.executable unruly.py [OPTIONS]``. Tools:

- ``add``: a well tool, to see whether the server works
- ``hog`` (``mb``, ``silent``): keeps that much memory; then, if it is to be silent, answers nothing
- ``detach`` (``file``): starts ``sleep 1000`` in a session of its own, its id into the file
- ``mute``: answers nothing any more, this call included
- ``hold``: its answer comes after that of the next call
- ``twice``: its answer comes two times
- ``say`` (``line``): sends this line, in Latin-1; it is the answer where it has ``ID``, which
  stands for the call's id
- ``doze`` (``secs``): reads nothing for so long, then goes on
- ``pester``: sends requests without end instead of an answer, and reads nothing
- ``flood`` (``lines``): from now on sends these lines without end, beside its work
- ``close``: closes its output and lives on
- ``relist``: says that its tools changed; with ``--fail-list`` they cannot be listed again

With ``--never`` it is never ready, and says why on stderr. With ``--stubborn`` neither the end of
its input nor SIGTERM ends it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

NAMES = (
    "add",
    "hog",
    "detach",
    "mute",
    "hold",
    "twice",
    "say",
    "relist",
    "doze",
    "pester",
    "flood",
    "close",
)
MIB = 1 << 20
FLOOD_BYTES = 1 << 16

writing = threading.Lock()


class Unruly:
    """The server."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._names = list(NAMES)
        self._kept: list[bytearray] = []
        self._held: list[JsonObject] = []
        self._mute = False
        self._lists = 0
        if options.late_tool:
            timer = threading.Timer(options.late_tool, self._names.append, ["late"])
            timer.daemon = True
            timer.start()

    def receive(self, message: JsonObject) -> None:
        """Answer one message, or not."""
        if "id" not in message or "method" not in message:
            return
        method, params = message["method"], message.get("params")
        if self._mute or not isinstance(params, dict):
            return
        reply: JsonObject = {"jsonrpc": "2.0", "id": message["id"]}
        if method == "tools/call":
            given = params.get("arguments")
            line = given.get("line") if isinstance(given, dict) else None
            if isinstance(line, str):
                write_line(line.replace("ID", str(message["id"])))
            if "ID" not in str(line):
                self._call(str(params["name"]), given if isinstance(given, dict) else {}, reply)
        elif method == "initialize":
            write({**reply, "result": self._about(params)})
        elif method == "tools/list" and not (self._lists and self._options.fail_list):
            self._lists += 1
            tools: list[Json] = [
                {"name": name, "inputSchema": {"type": "object"}} for name in self._names
            ]
            write({**reply, "result": {"tools": tools}})
        else:
            write({**reply, "error": {"code": -32601, "message": f"no {method}"}})

    def _about(self, params: JsonObject) -> JsonObject:
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "unruly", "version": "1"},
        }

    def _call(self, name: str, given: JsonObject, reply: JsonObject) -> None:  # noqa: C901
        content: list[Json] = [{"type": "text", "text": name}]
        done: JsonObject = {**reply, "result": {"content": content}}
        match name:
            case "hog" | "doze" | "pester" | "flood":
                self._strain(name, given)
                if given.get("silent"):
                    return
            case "detach":
                sleeper = subprocess.Popen(("sleep", "1000"), start_new_session=True)
                Path(str(given["file"])).write_text(str(sleeper.pid), "utf-8")
            case "relist":
                write({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
            case "twice":
                write(done)
            case "mute":
                self._mute = True
                return
            case "hold":
                self._held.append(done)
                return
            case "close":
                os.close(sys.stdout.fileno())
                return
        write(done)
        while self._held:
            write(self._held.pop())

    def _strain(self, name: str, given: JsonObject) -> None:
        match name:
            case "hog":
                self._kept.append(bytearray(b"x" * (int(str(given["mb"])) * MIB)))
            case "doze":
                time.sleep(float(str(given["secs"])))
            case "pester":
                flood(json.dumps({"jsonrpc": "2.0", "id": "again", "method": "ping"}))
            case "flood":
                lines = str(given["lines"])
                threading.Thread(target=flood, args=(lines,), daemon=True).start()


def write(message: JsonObject) -> None:
    """Send a message."""
    write_line(json.dumps(message))


def write_line(line: str) -> None:
    """Send what may be no message at all; what is written together arrives together."""
    with writing:
        sys.stdout.buffer.write(line.encode("latin-1") + b"\n")
        sys.stdout.buffer.flush()


def flood(lines: str) -> None:
    """Send lines until killed."""
    many = "\n".join([lines] * (FLOOD_BYTES // len(lines) + 1))
    while True:
        write_line(many)


def main() -> None:
    """Serve until end of input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fail-list", action="store_true")
    parser.add_argument("--late-tool", type=float, default=0)
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--never", action="store_true")
    options = parser.parse_args()
    if options.never:
        sys.stderr.write("fetching 3 packages\n")
        sys.stderr.flush()
        threading.Event().wait()
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = Unruly(options)
    for line in sys.stdin:
        server.receive(json.loads(line))
    if options.stubborn:
        threading.Event().wait()


if __name__ == "__main__":
    main()
