"""A reply of ``search`` as text: the same facts as its JSON in far fewer tokens. Pure.

Owns the form of a line. A heading and a line below it are, put together, the Python that calls the
tool, so that a server's name is said once::

    api.server("github") - restarting
    .create_issue(repo, title, labels?) -> {number: int, url: str} — Open a new issue
"""

import json
from collections.abc import Iterator, Mapping

from mcproxy.manifest.names import below_server, plain_form, server_call
from mcproxy.types import Json, JsonObject

ALSO = "Also (search a name for its call): "


def as_text(reply: Mapping[str, Json], *, plain: bool = False) -> str:
    """The reply as a model reads it. Schemas stay JSON: whole, they have no shorter form.
    ``plain``: for one that writes no Python, names and arguments only."""
    if any("inputSchema" in tool for entry in _objects(reply["results"]) for tool in _tools(entry)):
        return json.dumps(reply, ensure_ascii=False, separators=(",", ":"))
    lines = [line for entry in _objects(reply["results"]) for line in _entry(entry, plain)]
    return "\n".join([*(lines or _nothing(reply)), *_also(reply), *_left_out(reply)])


def in_plain_words(reply: Mapping[str, Json]) -> JsonObject:
    """The reply for one that writes no Python: each ``call`` is the server's name, the tool's, and
    its arguments by name."""
    entries: list[Json] = [
        {**entry, "matched_tools": [_plain(str(entry["server"]), tool) for tool in _tools(entry)]}
        if "matched_tools" in entry
        else entry
        for entry in _objects(reply["results"])
    ]
    return {**reply, "results": entries}


def _plain(server: str, tool: JsonObject) -> JsonObject:
    if "call" not in tool:
        return tool
    said = line(server, {**tool, "summary": ""}, plain=True)
    return {**tool, "call": f"{server}: {said}"}


def heading(server: str, state: Json = None, *, plain: bool = False) -> str:
    """What stands above a server's tools: how a script names it, and its state where it is ill."""
    named = server if plain else server_call(server)
    return f"{named} - {state}" if state else named


def line(server: str, tool: Mapping[str, Json], *, plain: bool = False) -> str:
    """One tool below its server's heading: the rest of the call, and what it does."""
    call = str(tool["call"])
    call = plain_form(call, server, str(tool["name"])) if plain else below_server(call, server)
    return f"{call} — {tool['summary']}" if tool["summary"] else call


def _entry(entry: JsonObject, plain: bool) -> Iterator[str]:
    server, state = str(entry["server"]), entry.get("state")
    tools = _tools(entry)
    if any("call" in tool for tool in tools):
        yield heading(server, state, plain=plain)
        yield from (line(server, tool, plain=plain) for tool in tools)
        return
    categories = entry.get("categories")
    said = [
        f" ({entry['tools']} tools)" if "tools" in entry else "",
        f" - {state}" if state else "",
        f" — {entry['description']}" if entry.get("description") else "",
        f" [{', '.join(map(str, categories))}]"
        if isinstance(categories, list) and categories
        else "",
        f": {', '.join(str(tool['name']) for tool in tools)}" if tools else "",
    ]
    yield server + "".join(said)


def _nothing(reply: Mapping[str, Json]) -> Iterator[str]:
    suggestions = reply.get("suggestions")
    if isinstance(suggestions, list):
        yield "No tool matches. Perhaps:"
        yield from map(str, suggestions)


def _also(reply: Mapping[str, Json]) -> Iterator[str]:
    also = reply.get("also")
    if isinstance(also, dict):
        named = (
            f"{server}: {', '.join(map(str, names))}"
            for server, names in also.items()
            if isinstance(names, list)
        )
        yield f"{ALSO}{'; '.join(named)}"


def _left_out(reply: Mapping[str, Json]) -> Iterator[str]:
    truncated = reply.get("truncated")
    shown = sum("call" in tool for entry in _objects(reply["results"]) for tool in _tools(entry))
    total = reply["total_matches"]
    if isinstance(truncated, dict):
        yield f"{truncated['shown']} of {truncated['total']} shown: {truncated['hint']}"
    elif shown and isinstance(total, int) and shown < total:
        yield f"{shown} of {total} matches"


def _tools(entry: JsonObject) -> list[JsonObject]:
    return _objects(entry.get("matched_tools"))


def _objects(value: Json) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
