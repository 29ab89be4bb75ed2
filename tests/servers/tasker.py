"""An upstream for tests: a stdio MCP server whose tools become tasks.

Standard library only; run as ``sys.executable tasker.py [--handshake] [--silent]``: of the
stateless era with the extension for tasks (SEP-2663), or of 2025-11-25, where tasks are of the
core. With ``--silent`` it never tells how a task is. Its tools:

- ``job`` becomes a task, which works for ``polls`` looks at it and then gives ``{"done": polls}``;
  ``then`` lets it end otherwise: ``tool_error``, ``rpc_error``, ``cancelled``, ``odd``. With
  ``ask`` it wants a name first, and gives that too
- ``maybe``: likewise, but of the handshake era it is a task only where one is asked for
- ``seen`` tells what was asked: the methods of tasks with how often, and the tasks cancelled
"""

import json
import sys
from collections import Counter
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

KEY = "io.modelcontextprotocol/"
TASKS = f"{KEY}tasks"
NOW = "2026-11-29T12:00:00Z"
FORM: JsonObject = {"type": "object", "properties": {"name": {"type": "string"}}}


class Fault(Exception):
    """A JSON-RPC error to answer with."""

    def __init__(self, code: int, message: str) -> None:
        self.error: JsonObject = {"code": code, "message": message}
        super().__init__(message)


class Task:
    """A task; it moves on with each look at it."""

    def __init__(self, number: int, arguments: JsonObject) -> None:
        self.id = f"task-{number}"
        self.arguments = arguments
        self.left = int(str(arguments.get("polls", 1)))
        self.name: Json = None
        self.status = "working"
        self.waiting: list[Json] = []  # requests for its result

    def look(self) -> None:
        """Work a little."""
        if self.status != "working":
            return
        self.left -= 1
        if self.left > 0:
            return
        if self.arguments.get("ask") and self.name is None:
            self.status = "input_required"
            return
        then = self.arguments.get("then")
        ends = {"rpc_error": "failed", "cancelled": "cancelled", "odd": "resting"}
        self.status = ends.get(str(then), "completed")

    def give(self, answer: Json) -> None:
        """Take the name that was asked for."""
        self.name = _as_object(_as_object(answer).get("content")).get("name")
        self.status = "working"
        self.look()

    def result(self) -> JsonObject:
        """Raises Fault."""
        if self.arguments.get("then") == "rpc_error":
            raise Fault(-32050, "the job broke")
        if self.status == "cancelled":
            raise Fault(-32000, "cancelled")
        if self.arguments.get("then") == "tool_error":
            return {"content": [{"type": "text", "text": "no such job"}], "isError": True}
        done: JsonObject = {"done": self.arguments.get("polls", 1)}
        if self.name is not None:
            done["name"] = self.name
        text: JsonObject = {"type": "text", "text": json.dumps(done)}
        return {"content": [text], "structuredContent": done}


class Server:
    """The server and its tasks."""

    def __init__(self, *, handshake: bool) -> None:
        self._handshake = handshake
        self._tasks: dict[str, Task] = {}
        self._seen: Counter[str] = Counter()
        self._cancelled: list[Json] = []
        self._questions: dict[str, Task] = {}

    def receive(self, message: JsonObject) -> None:
        """Answer one message."""
        if "method" not in message:
            self._answered(message)
            return
        if "id" not in message:
            return
        id_, method, params = message["id"], message["method"], _as_object(message.get("params"))
        try:
            result = self._result(str(method), params, id_)
        except Fault as fault:
            _write({"jsonrpc": "2.0", "id": id_, "error": fault.error})
            return
        if result is not None:
            self._reply(id_, result)

    def _reply(self, id_: Json, result: JsonObject) -> None:
        if not self._handshake:
            result = {"resultType": "complete", **result}
        _write({"jsonrpc": "2.0", "id": id_, "result": result})

    def _result(self, method: str, params: JsonObject, id_: Json) -> "JsonObject | None":
        match method:
            case "initialize" | "server/discover":
                return self._hello(method)
            case "tools/list":
                return {"tools": self._tools()}
            case "tools/call":
                return self._call(params)
            case "ping":
                return {}
        if method.startswith("tasks/"):
            self._seen[method] += 1
            if method == "tasks/get" and "--silent" in sys.argv:
                return None
            return self._of_task(method, params, id_)
        raise Fault(-32601, f"Method not found: {method}")

    def _hello(self, method: str) -> JsonObject:
        if (method == "initialize") != self._handshake:
            raise Fault(-32601, f"Method not found: {method}")
        if not self._handshake:
            known: JsonObject = {"tools": {}, "extensions": {TASKS: {}}}
            return {"supportedVersions": ["2026-07-28"], "capabilities": known}
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {
                "tools": {},
                "tasks": {"cancel": {}, "requests": {"tools": {"call": {}}}},
            },
            "serverInfo": {"name": "tasker", "version": "1"},
        }

    def _tools(self) -> list[Json]:
        modes = {"job": "required", "maybe": "optional"} if self._handshake else {}
        return [
            {
                "name": name,
                "description": f"The tool {name}.",
                "inputSchema": {"type": "object"},
                **({"execution": {"taskSupport": modes[name]}} if name in modes else {}),
            }
            for name in ("job", "maybe", "seen")
        ]

    def _call(self, params: JsonObject) -> JsonObject:
        name, arguments = params.get("name"), _as_object(params.get("arguments"))
        if name == "seen":
            seen: JsonObject = {"methods": {**self._seen}, "cancelled": self._cancelled}
            return {"content": [], "structuredContent": seen}
        if self._handshake and "task" not in params:
            if name == "job":
                raise Fault(-32601, "job is called as a task only")
            return {"content": [{"type": "text", "text": '"no task"'}]}
        if not self._handshake:
            capabilities = _as_object(
                _as_object(params.get("_meta")).get(f"{KEY}clientCapabilities")
            )
            if TASKS not in _as_object(capabilities.get("extensions")):
                raise Fault(-32021, "Missing required client capability")
        task = Task(len(self._tasks) + 1, arguments)
        self._tasks[task.id] = task
        if self._handshake:
            return {"task": self._told(task)}
        return {**self._told(task), "resultType": "task"}

    def _told(self, task: Task) -> JsonObject:
        told: JsonObject = {"taskId": task.id, "status": task.status, "statusMessage": "as told"}
        told |= {"createdAt": NOW, "lastUpdatedAt": NOW}
        if self._handshake:
            return {**told, "ttl": None, "pollInterval": 1}
        told |= {"ttlMs": None, "pollIntervalMs": 1}
        if task.status == "input_required":
            told["inputRequests"] = {"who": {"method": "elicitation/create", "params": _form()}}
        if task.status == "completed":
            told["result"] = task.result()
        if task.status == "failed":
            told["error"] = {"code": -32050, "message": "the job broke"}
        return told

    def _of_task(self, method: str, params: JsonObject, id_: Json) -> "JsonObject | None":
        task = self._tasks.get(str(params.get("taskId")))
        if task is None:
            raise Fault(-32602, "Task not found")
        match method:
            case "tasks/get":
                task.look()
                return self._told(task)
            case "tasks/cancel":
                self._cancelled.append(task.id)
                task.status = "cancelled"
                return self._told(task) if self._handshake else {}
            case "tasks/update" if not self._handshake:
                task.give(_as_object(params.get("inputResponses")).get("who"))
                return {}
            case "tasks/result" if self._handshake:
                if task.status != "input_required":
                    return self._settled(task)
                task.waiting.append(id_)
                question = f"q{len(self._questions)}"
                self._questions[question] = task
                related: JsonObject = {f"{KEY}related-task": {"taskId": task.id}}
                asked: JsonObject = {
                    "jsonrpc": "2.0",
                    "id": question,
                    "method": "elicitation/create",
                    "params": {**_form(), "_meta": related},
                }
                _write(asked)
                return None
        raise Fault(-32601, f"Method not found: {method}")

    def _settled(self, task: Task) -> JsonObject:
        return {**task.result(), "_meta": {f"{KEY}related-task": {"taskId": task.id}}}

    def _answered(self, message: JsonObject) -> None:
        task = self._questions.pop(str(message.get("id")), None)
        if task is None:
            return
        if "result" in message:
            task.give(message["result"])
            for id_ in task.waiting:
                self._reply(id_, self._settled(task))


def _form() -> JsonObject:
    return {"mode": "form", "message": "Your name?", "requestedSchema": FORM}


def _write(message: JsonObject) -> None:
    sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _as_object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


def main() -> None:
    """Serve until end of input."""
    server = Server(handshake="--handshake" in sys.argv)
    for line in sys.stdin.buffer:
        server.receive(json.loads(line))


if __name__ == "__main__":
    main()
