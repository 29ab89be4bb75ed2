"""An upstream for tests: a stdio MCP server of the handshake era that needs its client.

Standard library only; run as ``sys.executable asker.py [FOLDER]``: with a folder, it writes
``unsubscribing`` there when it is asked to, and does nothing further until there is ``go``. Its
tools:

- ``elicit``, ``sample``, ``roots``: ask the client, and return what it answered, or its error
- ``work`` (three progress notifications), ``talk`` (a log message of each level that is wanted)
- ``meta`` (the ``_meta`` of the call), ``rich`` (a result with vendor fields and every member)
- ``touch`` (tells that ``memo://one`` changed), ``rename`` (renames the prompt, and says so)
- ``odd.name/with spaces``

The resources ``memo://one`` and ``memo://two`` (on two pages), the template ``memo://{name}/pages``
whose ``name`` can be completed, the prompt ``review``.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

LOOK_SECS = 0.01
LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
FORM: JsonObject = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}
RICH: JsonObject = {
    "content": [{"type": "text", "text": "rich", "vendor": 1, "annotations": {"priority": 1}}],
    "structuredContent": {"rich": True},
    "_meta": {"vendor.example/trace": "t"},
    "vendorField": [1.0, 2],
}
CAPABILITIES: JsonObject = {
    "tools": {"listChanged": True},
    "prompts": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "completions": {},
    "logging": {},
}
SAY: JsonObject = {"role": "user", "content": {"type": "text", "text": "Say hello."}}
QUESTIONS: dict[str, tuple[str, JsonObject]] = {
    "elicit": ("elicitation/create", {"message": "Your name?", "requestedSchema": FORM}),
    "sample": ("sampling/createMessage", {"messages": [SAY], "maxTokens": 10}),
    "roots": ("roots/list", {}),
}


class Asker:
    """The server: its level of logging, its prompt's name, and the questions under way."""

    def __init__(self) -> None:
        self._level = "info"
        self._prompt = "review"
        self._watched: set[str] = set()
        self._asked: dict[str, Json] = {}
        self._methods: dict[str, Callable[[JsonObject], JsonObject]] = {
            "initialize": lambda params: {
                "protocolVersion": "2025-11-25",
                "capabilities": CAPABILITIES,
                "serverInfo": {"name": "asker", "version": "1.0.0"},
            },
            "ping": lambda params: {},
            "tools/list": lambda params: {"tools": [*_tools()]},
            "prompts/list": lambda params: {
                "prompts": [{"name": self._prompt, "description": "Ask for a review."}]
            },
            "prompts/get": self._get_prompt,
            "resources/list": _resources,
            "resources/templates/list": lambda params: {
                "resourceTemplates": [{"uriTemplate": "memo://{name}/pages", "name": "pages"}]
            },
            "resources/read": _read,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
            "completion/complete": _complete,
            "logging/setLevel": self._set_level,
        }

    def receive(self, message: JsonObject) -> None:
        """Answer one message, or see to it that it will be answered."""
        params = _object(message.get("params"))
        if "method" not in message:
            self._answered(message)
        elif "id" not in message:
            return
        elif message["method"] == "tools/call":
            self._call(message["id"], params)
        elif method := self._methods.get(str(message["method"])):
            try:
                _reply(message["id"], method(params))
            except LookupError as error:
                _fail(message["id"], -32002, f"Resource not found: {error}")
        else:
            _fail(message["id"], -32601, f"Method not found: {message['method']}")

    def _call(self, call_id: Json, params: JsonObject) -> None:
        name, meta = str(params.get("name")), _object(params.get("_meta"))
        if name in QUESTIONS:
            method, question = QUESTIONS[name]
            self._asked[f"question-{call_id}"] = call_id
            _write({"id": f"question-{call_id}", "method": method, "params": question})
        else:
            self._tell(name, meta)
            said = _text(json.dumps(meta if name == "meta" else name))
            _reply(call_id, RICH if name == "rich" else said)

    def _tell(self, name: str, meta: JsonObject) -> None:
        """Send the notifications of a tool."""
        if name == "work" and "progressToken" in meta:
            for step in range(1, 4):
                done: JsonObject = {"progress": step, "total": 3, "message": f"step {step}"}
                _notify("progress", {"progressToken": meta["progressToken"], **done})
        elif name == "talk":
            for level in LEVELS[LEVELS.index(self._level) :]:
                _notify("message", {"level": level, "logger": "asker", "data": level})
        elif name == "touch" and "memo://one" in self._watched:
            _notify("resources/updated", {"uri": "memo://one"})
        elif name == "rename":
            self._prompt = "renamed"
            _notify("prompts/list_changed", {})

    def _answered(self, message: JsonObject) -> None:
        call_id = self._asked.pop(str(message.get("id")), None)
        if call_id is not None:
            _reply(call_id, _text(json.dumps(message.get("result", message.get("error")))))

    def _get_prompt(self, params: JsonObject) -> JsonObject:
        code = _object(params.get("arguments")).get("code")
        said: JsonObject = {"type": "text", "text": f"{params.get('name')}: {code}"}
        return {"messages": [{"role": "user", "content": said}]}

    def _subscribe(self, params: JsonObject) -> JsonObject:
        self._watched.add(str(params.get("uri")))
        return {}

    def _unsubscribe(self, params: JsonObject) -> JsonObject:
        for folder in sys.argv[1:]:
            (Path(folder) / "unsubscribing").touch()
            while not (Path(folder) / "go").exists():
                time.sleep(LOOK_SECS)
        self._watched.discard(str(params.get("uri")))
        return {}

    def _set_level(self, params: JsonObject) -> JsonObject:
        self._level = str(params.get("level"))
        return {}


def _tools() -> list[JsonObject]:
    names = [*QUESTIONS, "work", "talk", "meta", "rich", "touch", "rename"]
    described: JsonObject = {
        "title": "Rich",
        "icons": [{"src": "data:,"}],
        "annotations": {"readOnlyHint": True},
        "_meta": {"vendor.example/x": 1},
        "outputSchema": {"type": "object"},
    }
    return [
        {
            "name": name,
            "description": f"Do {name}.",
            "inputSchema": {"type": "object"},
            **(described if name == "rich" else {}),
        }
        for name in [*names, "odd.name/with spaces"]
    ]


def _resources(params: JsonObject) -> JsonObject:
    name = "two" if "cursor" in params else "one"
    memo: JsonObject = {"uri": f"memo://{name}", "name": name, "mimeType": "text/plain"}
    following: JsonObject = {} if "cursor" in params else {"nextCursor": "2"}
    return {"resources": [memo], **following}


def _read(params: JsonObject) -> JsonObject:
    uri = str(params.get("uri"))
    if uri == "memo://missing/pages" or not uri.startswith("memo://"):
        raise LookupError(uri)
    return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": f"[{uri!r}]"}]}


def _complete(params: JsonObject) -> JsonObject:
    value = str(_object(params.get("argument")).get("value"))
    return {"completion": {"values": [value + "-completed"], "hasMore": False}}


def _text(text: str) -> JsonObject:
    return {"content": [{"type": "text", "text": text}]}


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _reply(id_: Json, result: JsonObject) -> None:
    _write({"id": id_, "result": result})


def _fail(id_: Json, code: int, message: str) -> None:
    _write({"id": id_, "error": {"code": code, "message": message}})


def _notify(name: str, params: JsonObject) -> None:
    _write({"method": f"notifications/{name}", "params": params})


def _write(message: JsonObject) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    server = Asker()
    for line in sys.stdin.buffer:
        server.receive(json.loads(line))
