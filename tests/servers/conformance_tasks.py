"""An upstream for tests: the tools that the conformance suite wants for tasks (SEP-2663).

Standard library only; run as ``sys.executable conformance_tasks.py``: a stdio server of the
stateless era, whose tasks are moved on by the clock. What each tool does is said by the suite's own
description of its scenarios (``tasks-*``).
"""

import json
import sys
import time
from dataclasses import dataclass
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

VERSION, TASKS = "2026-07-28", "io.modelcontextprotocol/tasks"
TOOLS = {
    "greet": {"name": "string"},
    "slow_compute": {"seconds": "number", "label": "string"},
    "failing_job": {},
    "protocol_error_job": {},
    "confirm_delete": {"filename": "string"},
    "multi_input": {},
    "test_tool_with_task": {},
}
WANTS = {"confirm_delete": ("confirm",), "multi_input": ("first", "second")}
JOB_SECS = 1.0


@dataclass
class Job:
    """A task: its tool, when it is done, and what it has yet to hear."""

    id: str
    tool: str
    ready: float
    said: JsonObject
    wants: tuple[str, ...] = ()
    cancelled: bool = False

    def told(self) -> JsonObject:
        """How it is now."""
        told: JsonObject = {"taskId": self.id, "createdAt": NOW, "lastUpdatedAt": NOW}
        told |= {"ttlMs": None, "pollIntervalMs": 100}
        if self.cancelled:
            return {**told, "status": "cancelled"}
        if self.wants:
            asked: JsonObject = {key: form(f"{key}?") for key in self.wants}
            return {**told, "status": "input_required", "inputRequests": asked}
        if time.monotonic() < self.ready:
            return {**told, "status": "working"}
        if self.tool == "protocol_error_job":
            return {**told, "status": "failed", "error": {"code": -32603, "message": "it broke"}}
        return {**told, "status": "completed", "result": self.said}


NOW = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
JOBS: dict[str, Job] = {}


def result(method: str, params: JsonObject) -> JsonObject:
    """The result of a request. Raises ValueError for what there is not."""
    match method:
        case "server/discover":
            known: JsonObject = {"tools": {}, "extensions": {TASKS: {}}}
            return {"supportedVersions": [VERSION], "capabilities": known}
        case "tools/list":
            return {"tools": [definition(name, given) for name, given in TOOLS.items()]}
        case "tools/call":
            return called(str(params["name"]), as_object(params.get("arguments")), params)
    job = JOBS.get(str(params.get("taskId")))
    if job is None:
        raise ValueError(f"{method}: no such method or task")
    if method == "tasks/get":
        return job.told()
    if method == "tasks/cancel":
        job.cancelled = True
    elif method == "tasks/update":
        answered = as_object(params.get("inputResponses"))
        job.wants = tuple(key for key in job.wants if key not in answered)
    return {}


def called(tool: str, arguments: JsonObject, params: JsonObject) -> JsonObject:
    """The result of a call, a task, or what is wanted before."""
    if tool == "greet":
        return text(f"Hello, {arguments.get('name')}!")
    secs = float(str(arguments.get("seconds", JOB_SECS)))
    if tool == "slow_compute" and secs == 0:
        return text("computed at once")
    said = text(f"computed for {secs:g} s")
    if tool == "failing_job":
        said = {**text("the job failed"), "isError": True}
    if tool == "test_tool_with_task":
        answers = as_object(params.get("inputResponses"))
        if "user_name" not in answers:
            wanted: JsonObject = {"user_name": form("Your name?")}
            return {"resultType": "input_required", "inputRequests": wanted}
        said = text(f"done for {json.dumps(answers['user_name'])}")
    id_ = f"job-{len(JOBS)}"
    job = Job(id_, tool, time.monotonic() + secs, said, WANTS.get(tool, ()))
    JOBS[id_] = job
    working: JsonObject = {"resultType": "task", "status": "working"}
    told = {key: value for key, value in job.told().items() if key != "inputRequests"}
    return {**told, **working}


def definition(name: str, given: dict[str, str]) -> JsonObject:
    """A tool as it is listed."""
    properties: JsonObject = {key: {"type": kind} for key, kind in given.items()}
    schema: JsonObject = {"type": "object", "properties": properties}
    return {"name": name, "description": f"The suite's {name}.", "inputSchema": schema}


def form(message: str) -> JsonObject:
    """A form with one text."""
    schema: JsonObject = {"type": "object", "properties": {"name": {"type": "string"}}}
    params: JsonObject = {"mode": "form", "message": message, "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


def text(words: str) -> JsonObject:
    """A result with a text."""
    return {"content": [{"type": "text", "text": words}]}


def as_object(value: Json) -> JsonObject:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def main() -> None:
    """Serve until end of input."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" not in message:
            continue
        reply: JsonObject = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            given = result(str(message.get("method")), as_object(message.get("params")))
            reply["result"] = {"resultType": "complete", **given}
        except ValueError as fault:
            reply["error"] = {"code": -32602, "message": str(fault)}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
