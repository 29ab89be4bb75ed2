"""Servers with tools for the tests of the manifest: a few told by hand, and as many as wanted."""

import json
from collections.abc import Mapping

from mcproxy.manifest.model import Manifest, build
from mcproxy.types import Json, JsonObject, ServerState, ServerView, Tool, ToolRef

NOUNS = ("issue", "branch", "invoice", "report", "ticket", "page", "photo", "order", "user", "map")
VERBS = ("list", "get", "create", "delete", "update", "search", "export", "merge", "archive", "tag")


def tool(server: str, name: str, description: str = "", /, **parameters: str) -> Tool:
    """A tool with these parameters; those said to be ``"required"`` are."""
    needed: list[Json] = [key for key, value in parameters.items() if value == "required"]
    schema: JsonObject = {
        "type": "object",
        "properties": {key: {"type": "string"} for key in parameters},
        "required": needed,
    }
    return Tool(
        ToolRef(server, name), {"name": name, "description": description, "inputSchema": schema}
    )


def view(
    name: str, *tools: Tool, state: ServerState = "ready", description: str = ""
) -> ServerView:
    return ServerView(name, state, description, tools)


def github(state: ServerState = "ready") -> ServerView:
    return view(
        "github",
        tool(
            "github", "repos.list", "List the repositories of an owner.", owner="required", page=""
        ),
        tool("github", "create_issue", "Open a new issue.", repo="required", title="required"),
        tool("github", "search_code", "Find code in all repositories.", q="required"),
        tool("github", "merge-pull-request", "Merge a pull request.", number="required"),
        state=state,
        description="Repositories, issues and pull requests. Made for developers.",
    )


def weather() -> ServerView:
    return view(
        "weather",
        tool("weather", "get_forecast", "Forecast for the next days.", city="required", days=""),
        tool("weather", "getAlerts", "Warnings of storms and floods.", region=""),
        tool("weather", "天气查询", "查询指定城市的天气预报", 城市="required"),
        description="Weather of the world.",
    )


def two_servers() -> Manifest:
    return build([github(), weather()])


def many(servers: int, tools_each: int, words: int = 12) -> list[ServerView]:
    """``servers`` servers whose tools are called like real ones."""
    return [one_of_many(number, tools_each, words) for number in range(servers)]


def one_of_many(number: int, tools: int, words: int) -> ServerView:
    name = f"server-{number:03}"
    made = []
    for at in range(tools):
        called = f"{VERBS[at % 10]}_{NOUNS[(at // 10 + number) % 10]}_{at}"
        told = " ".join(NOUNS[(at + word) % 10] for word in range(words))
        made.append(tool(name, called, told, owner="required", page=""))
    about = f"Server number {number}: everything about {NOUNS[number % 10]}s."
    return view(name, *made, description=about)


def size(reply: Mapping[str, Json]) -> int:
    """Bytes on the wire; also shows that the reply is JSON."""
    text = json.dumps(reply, ensure_ascii=False, separators=(",", ":"))
    assert json.loads(text) == reply
    return len(text.encode())


def results(reply: Mapping[str, Json]) -> list[JsonObject]:
    """The entries of a reply, for reading."""
    entries = reply["results"]
    assert isinstance(entries, list)
    return [entry for entry in entries if isinstance(entry, dict)]


def tools_of(reply: Mapping[str, Json]) -> list[JsonObject]:
    """All matched tools of a reply in the order shown."""
    found: list[JsonObject] = []
    for entry in results(reply):
        matched = entry.get("matched_tools", [])
        assert isinstance(matched, list)
        found.extend(tool for tool in matched if isinstance(tool, dict))
    return found


def names(reply: Mapping[str, Json]) -> list[Json]:
    return [found["name"] for found in tools_of(reply)]
