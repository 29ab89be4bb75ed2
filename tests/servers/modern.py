"""An upstream for tests: a stdio MCP server of the stateless era only, 2026-07-28.

Standard library only; run as ``sys.executable modern.py``. It refuses ``initialize``, and every
request whose ``_meta`` does not carry version and client capabilities. Its tools:

- ``echo`` (returns its arguments), ``fail`` (a result with isError)
- ``ask``: needs input. Its first answer is ``input_required`` with one form; the call sent again
  with the responses gives the name that was filled in
- ``count``: three progress notifications where they are asked for
- ``grow``: adds a tool, and tells those who listen with ``subscriptions/listen``
"""

import json
import sys
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

VERSION = "2026-07-28"
KEY = "io.modelcontextprotocol/"
ASK_STATE = "sealed-state-of-ask"  # the client must send it back as it is
FORM: JsonObject = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}


class Fault(Exception):
    """A JSON-RPC error to answer with."""

    def __init__(self, code: int, message: str, **data: Json) -> None:
        self.error: JsonObject = {
            "code": code,
            "message": message,
            **({"data": data} if data else {}),
        }
        super().__init__(message)


class Modern:
    """The server: its tools, and the streams of those who listen."""

    def __init__(self) -> None:
        self._tools = [
            _tool("echo", "Return the arguments."),
            _tool("fail", "Return a result with isError."),
            _tool("ask", "Ask the user for a name."),
            _tool("count", "Count to three, with progress."),
            _tool("grow", "Add a tool."),
        ]
        self._listening: list[Json] = []

    def receive(self, message: JsonObject) -> None:
        """Answer one message; a notification, or a stream that stays open, gets no reply."""
        if "id" not in message:
            return
        request_id, params = message["id"], _as_object(message.get("params"))
        try:
            result = self._result(str(message.get("method")), params, request_id)
        except Fault as fault:
            _write({"jsonrpc": "2.0", "id": request_id, "error": fault.error})
            return
        if result is not None:
            meta: JsonObject = {f"{KEY}serverInfo": {"name": "modern", "version": "1.0.0"}}
            complete = {"resultType": "complete", "_meta": meta, **result}
            _write({"jsonrpc": "2.0", "id": request_id, "result": complete})

    def _result(self, method: str, params: JsonObject, request_id: Json) -> "JsonObject | None":
        meta = _as_object(params.get("_meta"))
        _require_version(method, params, meta)
        match method:
            case "server/discover":
                return {
                    "supportedVersions": [VERSION],
                    "capabilities": {"tools": {"listChanged": True}},
                    "ttlMs": 1000,
                    "cacheScope": "public",
                }
            case "tools/list":
                return {"tools": list(self._tools), "ttlMs": 0, "cacheScope": "private"}
            case "tools/call":
                return self._call(params, meta)
            case "subscriptions/listen":
                self._listen(params, request_id)
                return None
        raise Fault(-32601, f"Method not found: {method}")

    def _call(self, params: JsonObject, meta: JsonObject) -> JsonObject:
        given = _as_object(params.get("arguments"))
        match params.get("name"):
            case "fail":
                return {**_content("told to fail"), "isError": True}
            case "ask":
                return _ask(params)
            case "count":
                return _count(meta.get("progressToken"))
            case "grow":
                return self._grow()
        if all(tool["name"] != params.get("name") for tool in self._tools):
            raise Fault(-32602, f"Unknown tool: {params.get('name')}")
        return {**_content(json.dumps(given)), "structuredContent": given}

    def _listen(self, params: JsonObject, request_id: Json) -> None:
        wanted = _as_object(params.get("notifications")).get("toolsListChanged") is True
        if wanted:
            self._listening.append(request_id)
        honored: JsonObject = {"toolsListChanged": True} if wanted else {}
        _notify("subscriptions/acknowledged", _of_stream(request_id), notifications=honored)

    def _grow(self) -> JsonObject:
        name = f"grown_{len(self._tools)}"
        self._tools.append(_tool(name, "It was not there before."))
        for stream in self._listening:
            _notify("tools/list_changed", _of_stream(stream))
        return _content(name)


def main() -> None:
    """Serve until end of input."""
    server = Modern()
    for line in sys.stdin.buffer:
        server.receive(json.loads(line))


def _require_version(method: str, params: JsonObject, meta: JsonObject) -> None:
    requested = meta.get(f"{KEY}protocolVersion") or params.get("protocolVersion")
    if method == "initialize" or (requested is not None and requested != VERSION):
        raise Fault(
            -32022, "Unsupported protocol version", supported=[VERSION], requested=requested
        )
    if requested is None or not isinstance(meta.get(f"{KEY}clientCapabilities"), dict):
        raise Fault(-32602, "_meta must carry protocolVersion and clientCapabilities")


def _ask(params: JsonObject) -> JsonObject:
    responses = _as_object(params.get("inputResponses"))
    if "who" not in responses:
        form: JsonObject = {"mode": "form", "message": "Your name?", "requestedSchema": FORM}
        return {
            "resultType": "input_required",
            "inputRequests": {"who": {"method": "elicitation/create", "params": form}},
            "requestState": ASK_STATE,
        }
    if params.get("requestState") != ASK_STATE:
        raise Fault(-32602, "requestState is not the one that was sent")
    answer = _as_object(responses["who"])
    if answer.get("action") != "accept":
        return {**_content(f"the user said {answer.get('action')}"), "isError": True}
    return _content(f"hello {_as_object(answer.get('content')).get('name')}")


def _count(token: Json) -> JsonObject:
    for step in range(1, 4) if token is not None else ():
        _notify("progress", {}, progressToken=token, progress=step, total=3)
    return _content("three")


def _tool(name: str, description: str) -> JsonObject:
    return {"name": name, "description": description, "inputSchema": {"type": "object"}}


def _content(text: str) -> JsonObject:
    return {"content": [{"type": "text", "text": text}]}


def _of_stream(request_id: Json) -> JsonObject:
    return {f"{KEY}subscriptionId": request_id}


def _notify(name: str, meta: JsonObject, **params: Json) -> None:
    body: JsonObject = {**params, **({"_meta": meta} if meta else {})}
    _write({"jsonrpc": "2.0", "method": f"notifications/{name}", "params": body})


def _write(message: JsonObject) -> None:
    sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _as_object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


if __name__ == "__main__":
    main()
