"""An upstream for tests that tells secrets wherever a server can.

Standard library only; run as ``sys.executable leaky.py FILE MODE``; FILE has the secrets, a JSON
list of texts. MODE ``crash``: they go to stderr, a line each, and the process ends with status 3.
``serve``: they stand in the instructions, in every description and default, and these tell them:

- ``fine`` (in its result), ``no`` (a result with isError), ``refuse`` (a JSON-RPC error)
- ``die`` (its last words on stderr), ``noise`` (garbage on stdout)
- the prompt ``ask`` and the resource ``leak://one`` (JSON-RPC errors)
"""

import json
import os
import sys
from pathlib import Path
from typing import NoReturn, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

TOOLS = ("fine", "no", "refuse", "die", "noise")


class Leaky:
    """The server."""

    def __init__(self, secrets: list[str]) -> None:
        self._secrets = secrets
        self._said = f"cannot log in with {' and '.join(secrets)} here"

    def crash(self) -> NoReturn:
        """End with all secrets as the last words."""
        sys.stderr.write("".join(f"cannot log in with {secret} here\n" for secret in self._secrets))
        sys.stderr.flush()
        os._exit(3)

    def answer(self, method: str, params: JsonObject) -> JsonObject:
        """The reply's ``result`` or ``error``."""
        if method == "tools/call":
            return self._call(str(params["name"]))
        about: JsonObject = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}, "prompts": {}, "resources": {}},
            "serverInfo": {"name": "leaky", "version": "1"},
            "instructions": self._said,
        }
        results: dict[str, JsonObject] = {
            "initialize": about,
            "ping": {},
            "tools/list": {"tools": [self._tool(name) for name in TOOLS]},
            "prompts/list": {"prompts": [{"name": "ask"}]},
            "resources/list": {"resources": [{"uri": "leak://one", "name": "one"}]},
            "resources/templates/list": {"resourceTemplates": []},
        }
        return {"result": results[method]} if method in results else self._refusal()

    def _call(self, name: str) -> JsonObject:
        listed: list[Json] = [{"type": "text", "text": json.dumps(self._secrets)}]
        match name:
            case "fine":
                return {"result": {"content": listed}}
            case "no":
                said: list[Json] = [{"type": "text", "text": self._said}]
                return {"result": {"content": said, "isError": True}}
            case "die":
                self.crash()
            case "noise":
                for secret in self._secrets:
                    sys.stdout.write(f"cannot log in with {secret}\n")
                return {"result": {"content": []}}
        return self._refusal()

    def _refusal(self) -> JsonObject:
        data: JsonObject = {"secrets": list(self._secrets)}
        return {"error": {"code": -32000, "message": self._said, "data": data}}

    def _tool(self, name: str) -> JsonObject:
        text: JsonObject = {"type": "string", "description": self._said, "default": self._said}
        schema: JsonObject = {"type": "object", "properties": {"login": text}}
        return {"name": name, "description": f"{name}: {self._said}", "inputSchema": schema}


def main() -> None:
    """Serve until end of input."""
    server = Leaky(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    if sys.argv[2] == "crash":
        server.crash()
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            reply = server.answer(message["method"], message.get("params", {}))
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **reply}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
