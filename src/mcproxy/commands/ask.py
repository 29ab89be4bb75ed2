"""``search``, ``call`` and ``exec``: the gateway's tools from a shell."""

import json
from collections.abc import Sequence
from pathlib import Path

from mcproxy.commands.gateway_client import GatewayClient, GatewayRefused, objects_of, text_of
from mcproxy.commands.report import GOOD, PROBLEMS
from mcproxy.commands.screen import Screen
from mcproxy.gateway.names import aliases
from mcproxy.manifest.names import name_forms, resolve
from mcproxy.types import Json, JsonObject


async def search(
    gateway: GatewayClient, screen: Screen, query: str, options: JsonObject, *, as_json: bool
) -> int:
    """Print the tools that a query finds; ``PROBLEMS`` where it finds none."""
    facts = await gateway.tool("search", {"query": query, **options})
    found = objects_of(facts.get("results"))
    if as_json:
        screen.json(facts)
    elif options.get("max_depth") == 3:  # schemas: as they are
        screen.line(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        rows = [row for server in found for row in _rows(server)]
        screen.table(("server", "tool", "what it does"), rows)
        _say_rest(screen, facts)
    return GOOD if found or not query else PROBLEMS


def _rows(server: JsonObject) -> list[tuple[str, str, str]]:
    name = str(server.get("server"))
    tools = objects_of(server.get("matched_tools"))
    if not tools:
        count = f"{server['tools']} tools" if "tools" in server else ""
        return [(name, count, str(server.get("description", "")))]
    return [(name, _signature(tool), str(tool.get("summary", ""))) for tool in tools]


def _signature(tool: JsonObject) -> str:
    """The tool with its arguments, without what a script writes around them."""
    name, call = str(tool["name"]), str(tool.get("call", ""))
    _, found, arguments = call.partition(f"{name}(")
    return f"{name}({arguments.partition(' -> ')[0]}" if found else name


def _say_rest(screen: Screen, facts: JsonObject) -> None:
    suggestions, cut = facts.get("suggestions"), facts.get("truncated")
    if isinstance(suggestions, list) and suggestions:
        screen.line(f"nothing fits; near are: {', '.join(map(str, suggestions))}")
    elif not facts.get("results"):
        screen.line("nothing fits")
    if isinstance(cut, dict):
        screen.line(f"{cut.get('shown')} of {cut.get('total')} shown; {cut.get('hint')}")


async def call(
    gateway: GatewayClient,
    screen: Screen,
    target: tuple[str, str],
    arguments: JsonObject,
    *,
    as_json: bool,
) -> int:
    """Call a tool as its server has it, and print its result: structured, else its text."""
    name = await _direct_name(gateway, *target)
    result = await gateway.ask("tools/call", {"name": name, "arguments": arguments}, "direct")
    failed = result.get("isError") is True
    if as_json:
        screen.json({"server": target[0], "tool": target[1], "result": result})
    elif "structuredContent" in result and not failed:
        screen.line(json.dumps(result["structuredContent"], ensure_ascii=False, indent=2))
    else:
        screen.line(text_of(result) or json.dumps(result.get("content"), ensure_ascii=False))
    return PROBLEMS if failed else GOOD


async def _direct_name(gateway: GatewayClient, server: str, tool: str) -> str:
    """The name of the tool in direct mode; other forms of it are understood, as in scripts."""
    facts = await gateway.tool("search", {"query": "", "max_depth": 1})
    known = [str(each.get("server")) for each in objects_of(facts.get("results"))]
    if server not in known:
        raise GatewayRefused(f"there is no server {server!r}; there are: {', '.join(known)}")
    shown = [str(each.get("name")) for each in await gateway.direct_tools()]
    exact = next(iter(aliases([(server, tool)])))
    if exact in shown:
        return exact
    own = {name.removeprefix(f"{server}__"): name for name in shown if name.startswith(server)}
    found = resolve(name_forms(own), tool)
    if isinstance(found, str):
        return own[found]
    if tool in shown:  # a server whose tools have no prefix
        return tool
    raise GatewayRefused(
        f"server {server!r} has no tool {tool!r}; `mcproxy search {server}` shows its tools"
    )


async def execute(
    gateway: GatewayClient, screen: Screen, code: str, options: JsonObject, *, as_json: bool
) -> int:
    """Run a script; print what it printed, then its result, or why it failed."""
    facts = await gateway.tool("execute", {"code": code, **options})
    failed = facts.get("status") != "success"
    if as_json:
        screen.json(facts)
        return PROBLEMS if failed else GOOD
    if facts.get("stdout"):
        screen.raw(str(facts["stdout"]))
        if not str(facts["stdout"]).endswith("\n"):
            screen.line()
    if failed:
        _say_failure(screen, facts)
    elif facts.get("result") is not None:
        result = facts["result"]
        screen.line(
            result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, indent=2)
        )
    for note in _texts(facts.get("notes")):
        screen.line(f"note: {note}", "cyan")
    return PROBLEMS if failed else GOOD


def _say_failure(screen: Screen, facts: JsonObject) -> None:
    error = facts.get("error")
    told = error if isinstance(error, dict) else {}
    screen.line(str(facts.get("traceback") or "").rstrip() or _in_words(told), "red")
    if told.get("hint"):
        screen.line(f"→ {told['hint']}")


def _in_words(error: JsonObject) -> str:
    line = f" (line {error['line']})" if error.get("line") else ""
    return f"{error.get('type')}: {error.get('message')}{line}"


def arguments_of(words: Sequence[str]) -> JsonObject:
    """The arguments of a call as they were typed: one JSON object, or ``key=value`` each.

    A value that is JSON is what it says, ``key:=text`` is the text in any case. Raises ValueError.
    """
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        document: Json = json.loads(words[0])
        assert isinstance(document, dict)  # noqa: S101  it begins with a brace
        return document
    arguments: JsonObject = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ValueError(f"{word!r} is neither key=value nor a JSON object")
        verbatim = key.endswith(":")
        arguments[key.removesuffix(":")] = text if verbatim else _value(text)
    return arguments


def _value(text: str) -> Json:
    try:
        value: Json = json.loads(text)
    except ValueError:
        return text
    return value


def script_of(path: str, stdin: str | None) -> str:
    """The script in a file, or that of stdin where the path is ``-``. Raises OSError."""
    return stdin or "" if path == "-" else Path(path).read_text(encoding="utf-8")


def _texts(value: Json) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
