"""An upstream for tests that uses extensions of the protocol (SEP-2133), in one era.

Standard library only; run as ``sys.executable extended.py NAME ERA [--own]``; the era is
``handshake`` or ``2026-07-28``. Every method is answered as its extension says; ``--own`` adds
``com.example/echo``, an extension that nobody else knows: the method ``echo/say``, how often it was
called, and the notification ``notifications/echo/heard``. Its tools:

- ``told``: the extensions that this server was told of, with this request or when it began
- ``board``: has a page (MCP Apps), which ``refresh`` keeps up to date; that is for the page alone
- ``odd`` and ``echoed``: results of types that are no part of the protocol; ``echoed`` is one of
  ``com.example/echo``
"""

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

NAME, ERA = sys.argv[1:3]
OWN = "--own" in sys.argv
VERSION = "2026-07-28"
KEY = "io.modelcontextprotocol/"
UI, SKILLS, ECHO = f"{KEY}ui", f"{KEY}skills", "com.example/echo"
PAGE = "text/html;profile=mcp-app"

EXTENSIONS = {UI: {}, SKILLS: {"directoryRead": True}, **({ECHO: {"loud": True}} if OWN else {})}
CAPABILITIES = {"tools": {}, "resources": {}, "extensions": EXTENSIONS}
ANY = {"type": "object"}
# Pages and some skills have the same URI at every such server; pages are listed nowhere.
TOOLS = [
    {"name": "told", "description": "Tell the extensions.", "inputSchema": ANY},
    {
        "name": "board",
        "description": "Show the numbers of a board.",
        "inputSchema": {"type": "object", "properties": {"rows": {"type": "integer"}}},
        "_meta": {"ui": {"resourceUri": "ui://board"}, "com.example/kept": NAME},
    },
    {
        "name": "refresh",
        "description": "Bring the page of a board up to date.",
        "inputSchema": ANY,
        "_meta": {"ui": {"resourceUri": "ui://board", "visibility": ["app"]}},
    },
    {"name": "odd", "description": "Give an odd result.", "inputSchema": ANY},
    {"name": "echoed", "description": "Give a result of an extension.", "inputSchema": ANY},
]
UNLISTED = "skill://unlisted/SKILL.md"
FILES = {
    "skill://refunds/SKILL.md": f"---\nname: refunds\ndescription: Refunds by {NAME}.\n---\n",
    "skill://refunds/notes/when.md": f"When {NAME} refunds.",
    f"skill://teams/{NAME}-only/SKILL.md": (
        f"---\nname: {NAME}-only\ndescription: Only {NAME} has it.\n---\n"
    ),
    UNLISTED: f"---\nname: unlisted\ndescription: In no list of {NAME}.\n---\n",
}
PAGES = {"ui://board": f"<!doctype html><title>{NAME}</title>"}
known: dict[str, Any] = {}


class Fault(Exception):
    """A JSON-RPC error to answer with."""


def skills() -> list[dict[str, Any]]:
    return [skill(uri) for uri in FILES if uri.endswith("/SKILL.md") and uri != UNLISTED]


def skill(uri: str) -> dict[str, Any]:
    root = uri.removesuffix("SKILL.md")
    _, name, description = (line.partition(": ")[2] for line in FILES[uri].splitlines()[:3])
    files = [file for file in FILES if file.startswith(root)]
    return {
        "uri": uri,
        "frontmatter": {"name": name, "description": description},
        "resources": [resource(file) for file in files],
    }


def resource(uri: str) -> dict[str, Any]:
    content = FILES[uri].encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"uri": uri, "digest": digest, "size": len(content)}


def directory(uri: str) -> list[dict[str, Any]]:
    inside = [file.removeprefix(f"{uri}/") for file in FILES if file.startswith(f"{uri}/")]
    folders = {name.partition("/")[0] for name in inside if "/" in name}
    entries = [(name, "text/markdown") for name in inside if "/" not in name]
    entries += [(name, "inode/directory") for name in sorted(folders)]
    return [{"uri": f"{uri}/{name}", "name": name, "mimeType": kind} for name, kind in entries]


def call(name: str, arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    match name:
        case "told":
            declared = meta.get(f"{KEY}clientCapabilities", known)
            return structured({"extensions": declared.get("extensions", {})})
        case "board":
            return structured({"server": NAME, "rows": arguments.get("rows", 0)})
        case "refresh":
            return structured({"fresh": NAME})
        case "odd":
            return {"resultType": "surprise", "surprise": NAME}
        case "echoed":
            return {"resultType": "echo", "echo": NAME}
    raise Fault(f"Unknown tool: {name}")


def structured(value: dict[str, Any]) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": json.dumps(value)}], "structuredContent": value}


def read(uri: str) -> dict[str, Any]:
    if uri in PAGES:
        page = {"uri": uri, "mimeType": PAGE, "text": PAGES[uri]}
        return {"contents": [{**page, "_meta": {"ui": {"prefersBorder": True}}}]}
    if uri in FILES:
        return {"contents": [{"uri": uri, "mimeType": "text/markdown", "text": FILES[uri]}]}
    raise Fault(f"Unknown resource: {uri}")


def a_skill(params: dict[str, Any]) -> dict[str, Any]:
    uri = params["uri"]
    if uri not in FILES or not uri.endswith("/SKILL.md"):
        raise Fault(f"No skill is served at {uri}")
    return {"skill": skill(uri), **CACHED}


def a_directory(params: dict[str, Any]) -> dict[str, Any]:
    listed = directory(params["uri"])
    if not listed:
        raise Fault(f"{params['uri']} is not a directory resource")
    return {"resources": listed}


said: list[str] = []


def say(params: dict[str, Any]) -> dict[str, Any]:
    said.append(params["text"])
    send({"method": "notifications/echo/heard", "params": {"text": params["text"]}})
    return {"said": params["text"], "by": NAME, "times": len(said)}


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


CACHED = {"ttlMs": 1000, "cacheScope": "public"} if ERA == VERSION else {}
METHODS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "tools/list": lambda _: {"tools": TOOLS, **CACHED},
    "tools/call": lambda given: call(
        given["name"], given.get("arguments", {}), given.get("_meta", {})
    ),
    "resources/list": lambda _: {"resources": [], **CACHED},
    "resources/templates/list": lambda _: {"resourceTemplates": [], **CACHED},
    "resources/read": lambda given: {**read(given["uri"]), **CACHED},
    "skills/list": lambda _: {"skills": skills(), **CACHED},
    "skills/get": a_skill,
    "resources/directory/read": a_directory,
}
if OWN:
    METHODS["echo/say"] = say


def began(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """The opening, as the era has it; None for another request."""
    if ERA != VERSION and method == "initialize":
        known.update(params["capabilities"])
        version, info = params["protocolVersion"], {"name": NAME, "version": "1"}
        return {"protocolVersion": version, "capabilities": CAPABILITIES, "serverInfo": info}
    if ERA == VERSION and method == "server/discover":
        versions = {"supportedVersions": [VERSION], "ttlMs": 1000, "cacheScope": "public"}
        return {"capabilities": CAPABILITIES, **versions}
    return {} if method == "ping" else None


def answer(message: dict[str, Any]) -> dict[str, Any]:
    method, params = message["method"], message.get("params") or {}
    try:
        opening = began(method, params)
        body = METHODS[method](params) if opening is None else opening
    except Fault as fault:
        return {"error": {"code": -32602, "message": str(fault)}}
    except LookupError:
        return {"error": {"code": -32601, "message": f"Method not found: {method}"}}
    return {"result": {"resultType": "complete", **body} if ERA == VERSION else body}


for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked and "method" in asked and asked["method"] != "subscriptions/listen":
        send({"id": asked["id"], **answer(asked)})
