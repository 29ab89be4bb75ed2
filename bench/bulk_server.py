"""An upstream whose results are large. Standard library only; run as ``sys.executable
bulk_server.py``."""

import json
import sys

ROW = {"id": 7, "name": "a name of usual length", "tags": ["red", "green"], "price": 12.5}
TOOLS = ("integers", "rows", "text")


def given(tool: str, count: int) -> object:
    """So many of what the tool is for; characters, for ``text``."""
    if tool == "integers":
        return list(range(count))
    return [ROW | {"id": number} for number in range(count)] if tool == "rows" else "x" * count


def result(method: str, params: dict[str, object]) -> object:
    """The reply's ``result``."""
    if method == "initialize":
        about = {"name": "bulk", "version": "1"}
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": about,
        }
    if method == "tools/list":
        count = {"type": "object", "properties": {"count": {"type": "integer"}}}
        return {"tools": [{"name": name, "inputSchema": count} for name in TOOLS]}
    if method == "tools/call":
        arguments = params["arguments"]
        wanted = int(arguments["count"]) if isinstance(arguments, dict) else 0
        value = given(str(params["name"]), wanted)
        return {"content": [], "structuredContent": {"result": value}}
    return {}


def main() -> None:
    """Serve until end of input."""
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            answer = result(request["method"], request.get("params", {}))
            reply = {"jsonrpc": "2.0", "id": request["id"], "result": answer}
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
