"""An upstream for tests whose tools stand in a file, and which writes down what is called.

Standard library only; run as ``sys.executable shelf.py TOOLS ASKED``: ``TOOLS`` is a JSON file,
either a list of definitions or ``{"tools": [...], "prompts": [...], "instructions": "..."}``, read
anew for each list. Every call, and every prompt, adds ``[name, arguments]`` to ``ASKED`` as a line
of JSON before it is answered. The call of ``restock`` tells that tools and prompts changed.
"""

import json
import sys
from pathlib import Path
from typing import Any

TOOLS, ASKED = Path(sys.argv[1]), Path(sys.argv[2])


def shelf() -> Any:
    found = json.loads(TOOLS.read_text())
    return {"tools": found} if isinstance(found, list) else found


def result(method: str, params: Any) -> Any:
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {
                kind: {"listChanged": True} for kind in ("tools", "prompts") if kind in shelf()
            },
            "serverInfo": {"name": "shelf", "version": "1"},
            "instructions": shelf().get("instructions", "Things on a shelf."),
        }
    if method == "tools/list":
        return {"tools": shelf()["tools"]}
    if method == "prompts/list":
        return {"prompts": shelf()["prompts"]}
    if method in ("tools/call", "prompts/get"):
        with ASKED.open("a") as file:
            file.write(json.dumps([params["name"], params.get("arguments")]) + "\n")
        if method == "prompts/get":
            said = {"type": "text", "text": f"said {params['name']}"}
            return {"messages": [{"role": "user", "content": said}]}
        if params["name"] == "restock":
            for kind in ("tools", "prompts"):
                send({"method": f"notifications/{kind}/list_changed"})
        return {"content": [{"type": "text", "text": f"did {params['name']}"}]}
    return {} if method == "ping" else None


def send(message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    found = result(message["method"], message.get("params") or {})
    missing = {"error": {"code": -32601, "message": "Method not found"}}
    send({"id": message["id"], **(missing if found is None else {"result": found})})
