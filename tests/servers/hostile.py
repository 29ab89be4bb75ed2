"""An upstream for tests that says things which act on terminals, forge lines, or hide from people.

Standard library only; run as ``sys.executable hostile.py MODE``. ``crash``: they go to stderr, and
the process ends. ``serve``: they stand in its instructions, tools, prompts and resources; the tool
``refuse`` answers with a JSON-RPC error of them, ``no`` with isError, ``die`` as ``crash`` does.
"""

import json
import os
import sys
from typing import NoReturn, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

HIDDEN = "\u200b\u202e\U000e0049\U000e0067\ufeff\u2066"
# A title of the window, a cleared screen, lines over one another, a line that is none of ours.
SAID = (
    f"seen\x1b]0;owned\x07\x1b[2J\x1b[31m{HIDDEN}\x9b1m\b\b\x00\rgood     forged1\n"
    "2026-01-01 00:00:00,000 INFO    mcproxy: forged2\n\u2028OK forged3\x0b\x85end */ \"\"\" '''"
)


class Hostile:
    """The server."""

    def answer(self, method: str, params: JsonObject) -> JsonObject:
        """The reply's ``result`` or ``error``."""
        if method == "tools/call":
            return self._call(str(params["name"]))
        prompt: JsonObject = {"name": "ask", "title": SAID, "description": SAID}
        prompt["arguments"] = [{"name": "about", "description": SAID}]
        resource: JsonObject = {"uri": "hostile://one", "name": SAID, "description": SAID}
        about: JsonObject = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}, "prompts": {}, "resources": {}},
            "serverInfo": {"name": "hostile", "version": "1"},
            "instructions": SAID,
        }
        results: dict[str, JsonObject] = {
            "initialize": about,
            "ping": {},
            "tools/list": {"tools": self._tools()},
            "prompts/list": {"prompts": [prompt, {"name": f"hidden{HIDDEN}"}]},
            "resources/list": {"resources": [resource, {"uri": f"hidden://{HIDDEN}", "name": "x"}]},
            "resources/templates/list": {
                "resourceTemplates": [{"uriTemplate": "hostile://{a}", "name": SAID}]
            },
        }
        return {"result": results[method]} if method in results else self._refusal()

    def _tools(self) -> list[Json]:
        names = ("refuse", "no", "die", f"tool{HIDDEN}", "a\x1b[2Jb", "a\nforged4", "r\u0435fuse")
        properties: JsonObject = {
            "about": {"type": "string", "title": SAID, "description": SAID, "default": SAID},
            "kind": {"enum": ["a\tb", "c"], "description": SAID},
        }
        schema: JsonObject = {"type": "object", "properties": properties}
        tools: list[Json] = [
            {"name": name, "title": SAID, "description": SAID, "inputSchema": schema}
            for name in names
        ]
        choosing: JsonObject = {"properties": {"kind": {"enum": [f"one{HIDDEN}"]}}}
        return [*tools, {"name": "choose", "inputSchema": choosing}]

    def _call(self, name: str) -> JsonObject:
        if name == "no":
            return {"result": {"content": [{"type": "text", "text": SAID}], "isError": True}}
        if name == "die":
            crash()
        return self._refusal()

    def _refusal(self) -> JsonObject:
        return {"error": {"code": -32000, "message": SAID, "data": {"said": SAID}}}


def crash() -> NoReturn:
    """End with hostile last words."""
    sys.stderr.buffer.write(f"{SAID}\n".encode())
    sys.stderr.flush()
    os._exit(3)


def main() -> None:
    """Serve until end of input."""
    if sys.argv[1] == "crash":
        crash()
    server = Hostile()
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            reply = server.answer(message["method"], message.get("params", {}))
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **reply}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
