"""An upstream for tests whose names and texts would like to be markup and templates.

Standard library only; run as ``sys.executable markup.py``.
"""

import json
import sys

IMAGE = "<img src=x onerror=\"document.title='owned'\">"
SCRIPT = "</pre><script>document.title='owned'</script>{{ 7*7 }}{% raw %}"
RIGHT_TO_LEFT = "\u202egnihtemos\u202c abc"
LONG = "very long " * 100_000

TOOLS = [
    {"name": "image", "description": IMAGE + SCRIPT, "inputSchema": {"type": "object"}},
    {"name": "a/b?c=d&e", "description": SCRIPT, "inputSchema": {"type": "object"}},
    {"name": "backwards", "description": RIGHT_TO_LEFT, "inputSchema": {"type": "object"}},
    {
        "name": "long",
        "description": LONG,
        "inputSchema": {"type": "object", "properties": {IMAGE: {"description": SCRIPT}}},
    },
]


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        message = json.loads(line)
        results = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": IMAGE, "version": "1"},
                "instructions": IMAGE + SCRIPT,
            },
            "tools/list": {"tools": TOOLS},
            "tools/call": {"content": [{"type": "text", "text": IMAGE}]},
            "ping": {},
        }
        if "id" not in message:
            continue
        method = message["method"]
        reply = {"jsonrpc": "2.0", "id": message["id"]}
        if method in results:
            reply["result"] = results[method]
        else:
            reply["error"] = {"code": -32601, "message": IMAGE}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
