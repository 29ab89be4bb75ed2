"""An upstream for tests that counts what was done: ``add`` writes a line into a file, and cannot be
taken back; ``read`` gives the lines. Run as ``sys.executable ledger.py FILE``.

``FILE.trap`` holds ``ENTRY HOW``: when ``add`` is called with that entry the trap is taken away,
and the server dies (``crash``), never answers (``hang``), or fails (``error``) before or after it
has written: ``crash_before``, ``crash_after`` and so on.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

FILE = Path(sys.argv[1])
TRAP = FILE.with_name(FILE.name + ".trap")
ENTRY = {"type": "object", "properties": {"entry": {"type": "string"}}, "required": ["entry"]}
TOOLS = [
    {"name": "add", "description": "Write an entry", "inputSchema": ENTRY},
    {
        "name": "read",
        "description": "Read all entries",
        "inputSchema": {"type": "object", "properties": {}},
        "annotations": {"readOnlyHint": True},
    },
]


def trapped(entry: str) -> str:
    """How the call of this entry is to go wrong; empty where it is not."""
    if not TRAP.exists():
        return ""
    wanted, how = TRAP.read_text().split()
    if wanted != entry:
        return ""
    TRAP.unlink()
    return how


def add(entry: str) -> Any:
    how = trapped(entry)
    if how.endswith("after") or not how:
        with FILE.open("a") as file:
            file.write(f"{entry}\n")
    if how.startswith("crash"):
        os._exit(1)
    if how.startswith("hang"):
        return None
    failed = how.startswith("error")
    said = "out of ink" if failed else json.dumps({"added": entry, "by": os.getpid()})
    return {"content": [{"type": "text", "text": said}], "isError": failed}


def read() -> Any:
    lines = FILE.read_text().split() if FILE.exists() else []
    return {"content": [{"type": "text", "text": json.dumps(lines)}]}


def result(method: str, params: Any) -> Any:
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "ledger", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        given = params.get("arguments") or {}
        return read() if params["name"] == "read" else add(given["entry"])
    return {} if method == "ping" else ...


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    answer = result(message["method"], message.get("params") or {})
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    if answer is ...:
        reply["error"] = {"code": -32601, "message": "Method not found"}
    elif answer is None:
        continue
    else:
        reply["result"] = answer
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()
