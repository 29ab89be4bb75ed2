"""An upstream for tests: a stdio MCP server of the handshake era with six issues.

Standard library only; run as ``sys.executable tracker.py``. ``list_issues`` and ``get_issue`` read,
``add_comment`` gives what it was given, ``assign`` takes a person by name or by number (``anyOf``),
``whoami`` says in an ordinary result that it failed, ``close`` refuses, ``wait`` never answers.
"""

import json
import sys
from collections.abc import Callable
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"
Answer: TypeAlias = "Callable[[JsonObject], JsonObject | None]"

TEXT: JsonObject = {"type": "string"}
INTEGER: JsonObject = {"type": "integer"}
STATE: JsonObject = {"type": "string", "enum": ["open", "closed", "all"]}
PERSON: JsonObject = {
    "anyOf": [
        {"type": "object", "properties": {"name": TEXT}, "required": ["name"]},
        {"type": "object", "properties": {"id": INTEGER, "team": TEXT}, "required": ["id", "team"]},
    ]
}
TITLES = ("Crash on start", "Slow search", "Typo in help", "Dark mode", "Lost cursor", "Old icon")
ISSUES: list[Json] = [
    {
        "number": number,
        "title": title,
        "state": "open" if number % 2 else "closed",
        "labels": [{"name": "bug"}] if number < 4 else [],
    }
    for number, title in enumerate(TITLES, 1)
]


def _list(given: JsonObject) -> JsonObject:
    state = given.get("state", "open")
    shown = [one for one in ISSUES if isinstance(one, dict) and state in ("all", one["state"])]
    limit = given.get("limit", len(shown))
    return _said(json.dumps(shown[:limit] if isinstance(limit, int) else shown))


def _get(given: JsonObject) -> JsonObject:
    number = given["number"]
    if not isinstance(number, int) or not 0 < number <= len(ISSUES):
        return {**_said(f"Issue {number} not found"), "isError": True}
    found = ISSUES[number - 1]
    return {**_said(json.dumps(found)), "structuredContent": found}


def _said(text: str) -> JsonObject:
    return {"content": [{"type": "text", "text": text}]}


def _tool(name: str, required: tuple[str, ...] = (), **properties: Json) -> JsonObject:
    schema: JsonObject = {"type": "object", "properties": properties, "required": [*required]}
    return {"name": name, "description": name.replace("_", " "), "inputSchema": schema}


TOOLS: dict[str, tuple[JsonObject, Answer]] = {
    "list_issues": (_tool("list_issues", owner=TEXT, state=STATE, limit=INTEGER), _list),
    "get_issue": (_tool("get_issue", ("number",), number=INTEGER), _get),
    "add_comment": (
        _tool("add_comment", ("number", "body"), number=INTEGER, body=TEXT),
        lambda given: {**_said(json.dumps(given)), "structuredContent": given},
    ),
    "assign": (
        _tool("assign", ("number", "person"), number=INTEGER, person=PERSON),
        lambda given: {**_said(json.dumps(given)), "structuredContent": given},
    ),
    "move": (
        _tool("move", ("from", "to"), **{"from": TEXT, "to": TEXT, "except": INTEGER}),
        lambda given: {**_said(json.dumps(given)), "structuredContent": given},
    ),
    "whoami": (_tool("whoami"), lambda given: _said("Error: Bad credentials (401)")),
    "close": (
        _tool("close", ("number",), number=INTEGER),
        lambda given: {**_said("You may not close issues"), "isError": True},
    ),
    "wait": (_tool("wait"), lambda given: None),
}


def _answer(method: str, params: JsonObject) -> "JsonObject | None":
    if method == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "tracker", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [tool for tool, _ in TOOLS.values()]}
    if method == "tools/call":
        given = params.get("arguments") or {}
        return TOOLS[str(params["name"])][1](given) if isinstance(given, dict) else None
    return {}


def main() -> None:
    """Serve until end of input."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" not in asked:
            continue
        reply: JsonObject = {"jsonrpc": "2.0", "id": asked["id"]}
        if asked["method"] == "server/discover":
            reply["error"] = {"code": -32601, "message": "no such method"}
        else:
            result = _answer(asked["method"], asked.get("params") or {})
            if result is None:
                continue
            reply["result"] = result
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
