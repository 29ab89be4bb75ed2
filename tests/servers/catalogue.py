"""An upstream for tests that offers the tools of a file, a JSON list, and repeats arguments; the
argument ``answer`` is answered as it is.

Standard library only; run as ``sys.executable catalogue.py FILE [PAGE_SIZE]``.
"""

import json
import sys
from pathlib import Path
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"


def answer(tools: list[Json], size: int, method: str, params: JsonObject) -> JsonObject:
    """The reply's ``result`` or ``error``."""
    if method == "initialize":
        about: JsonObject = {"name": "catalogue", "version": "1"}
        offered: JsonObject = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
        return {"result": {**offered, "serverInfo": about}}
    if method == "tools/list":
        start = int(str(params.get("cursor", 0)))
        page: JsonObject = {"tools": tools[start : start + size]}
        if start + size < len(tools):
            page["nextCursor"] = str(start + size)
        return {"result": page}
    if method == "tools/call":
        given = params["arguments"]
        sent: JsonObject = {"content": [], "structuredContent": {"sent": given}}
        return {
            "result": given["answer"] if isinstance(given, dict) and "answer" in given else sent
        }
    return {"error": {"code": -32601, "message": f"no {method}"}}


def main() -> None:
    """Serve until end of input."""
    tools = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    size = int(sys.argv[2]) if len(sys.argv) > 2 else len(tools)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            reply = answer(tools, size, message["method"], message.get("params", {}))
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **reply}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
