"""An upstream for tests: a stdio MCP server of the handshake era that writes down what it is asked.

Standard library only; run as ``sys.executable keeper.py NAME FILE``. Every request but the
handshake's and ``tools/list`` adds a line with its method to FILE before it is answered; whoever
may not reach the server must leave the file empty.

Everything that it has bears its name: the tool ``touch_NAME``, the prompt ``greet_NAME``, the
resource ``keep://NAME/one``, the template ``keep://NAME/{id}``, completions of both.
"""

import json
import sys
from pathlib import Path
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

UNCOUNTED = ("server/discover", "initialize", "ping", "tools/list")
CAPABILITIES: JsonObject = {
    "tools": {},
    "prompts": {},
    "resources": {"subscribe": True},
    "completions": {},
}


class Keeper:
    """The server."""

    def __init__(self, name: str, file: Path) -> None:
        self._name, self._file = name, file
        self._file.touch()
        said: JsonObject = {"type": "text", "text": f"kept by {name}"}
        here: JsonObject = {"uri": f"keep://{name}/one", "name": "one"}
        template: JsonObject = {"uriTemplate": f"keep://{name}/{{id}}", "name": "any"}
        tool: JsonObject = {
            "name": f"touch_{name}",
            "description": f"Touch what {name} keeps.",
            "inputSchema": {"type": "object"},
        }
        self._results: dict[str, JsonObject] = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": CAPABILITIES,
                "serverInfo": {"name": name, "version": "1"},
                "instructions": f"The things of {name}.",
            },
            "ping": {},
            "tools/list": {"tools": [tool]},
            "tools/call": {"content": [said]},
            "prompts/list": {"prompts": [{"name": f"greet_{name}"}]},
            "prompts/get": {"messages": [{"role": "user", "content": said}]},
            "resources/list": {"resources": [here]},
            "resources/templates/list": {"resourceTemplates": [template]},
            "resources/read": {"contents": [{"uri": f"keep://{name}/one", "text": f"of {name}"}]},
            "resources/subscribe": {},
            "resources/unsubscribe": {},
            "completion/complete": {"completion": {"values": [name]}},
        }

    def receive(self, message: JsonObject) -> None:
        """Write the request down, then answer it."""
        if "id" not in message or "method" not in message:
            return
        method = str(message["method"])
        if method not in UNCOUNTED:
            with self._file.open("a") as file:
                file.write(f"{method}\n")
        params = message.get("params")
        result = self._results.get(method)
        uri = str(params.get("uri", "")) if isinstance(params, dict) else ""
        answer: JsonObject = {"result": result}
        if result is None:
            answer = {"error": {"code": -32601, "message": f"Method not found: {method}"}}
        elif uri and not uri.startswith(f"keep://{self._name}/"):
            answer = {"error": {"code": -32002, "message": f"Resource not found: {uri}"}}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    keeper = Keeper(sys.argv[1], Path(sys.argv[2]))
    for line in sys.stdin.buffer:
        keeper.receive(json.loads(line))
