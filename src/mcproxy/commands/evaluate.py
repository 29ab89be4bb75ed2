"""``eval``: how well search finds the tools of the gateway that is asked, and which it does not.

The catalogue is fetched once, as a client in direct mode sees it; what is measured on it is
``manifest.evaluate``'s. The descriptions of servers are those that the gateway's own list has,
which shortens long ones.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from mcproxy.commands.gateway_client import GatewayClient, objects_of
from mcproxy.commands.report import GOOD, PROBLEMS
from mcproxy.commands.screen import Screen
from mcproxy.foreign_text import clean
from mcproxy.gateway.names import item_of
from mcproxy.manifest.evaluate import FOUND_AT, Evaluated, by_server, evaluate, recall
from mcproxy.manifest.model import Manifest, build
from mcproxy.types import Json, JsonObject, ServerView, Tool, ToolRef

MAX_MISSED_SHOWN = 40  # on a screen; JSON and HTML have them all
_SERVER_HEADERS = ("server", "tools", f"recall@{FOUND_AT}")
_MISSED_HEADERS = ("not found", "why", "asked for")


async def evaluated(
    gateway: GatewayClient, screen: Screen, least: float, page: Path | None, *, as_json: bool
) -> int:
    """Print what search finds, and write it as HTML; ``PROBLEMS`` where recall is below ``least``.

    Raises OSError where the page cannot be written.
    """
    screen.passing("fetching the catalogue …")
    manifest = await _catalogue(gateway)
    screen.passing(f"searching for {manifest.tool_count} tools …")
    tools = evaluate(manifest)
    if page:
        _write(page, as_html(gateway.url, tools))
    if as_json:
        screen.json({"url": gateway.url, **as_document(tools), "min": least})
    else:
        _show(screen, tools)
    return GOOD if recall(tools) >= least else PROBLEMS


def _write(page: Path, text: str) -> None:
    page.write_text(text, encoding="utf-8")


async def _catalogue(gateway: GatewayClient) -> Manifest:
    facts = await gateway.tool("search", {"query": "", "max_depth": 1})
    described = {
        str(each.get("server")): str(each.get("description", ""))
        for each in objects_of(facts.get("results"))
    }
    tools: dict[str, list[Tool]] = {name: [] for name in described}
    for definition in await gateway.direct_tools():
        shown = str(definition.get("name"))
        server, name = item_of(shown, described) or (await _owner(gateway, shown), shown)
        named = {**definition, "name": name}
        tools.setdefault(server, []).append(Tool(ToolRef(server, name), named))
    return build(
        ServerView(name, "ready", described.get(name, ""), tuple(listed))
        for name, listed in tools.items()
    )


async def _owner(gateway: GatewayClient, tool: str) -> str:
    """The server of a tool that is listed without it."""
    facts = await gateway.tool("search", {"query": tool, "limit": 1})
    found = objects_of(facts.get("results"))
    return str(found[0].get("server")) if found else ""


def as_document(tools: Sequence[Evaluated]) -> JsonObject:
    """All that was found out, as JSON."""
    servers: list[Json] = [
        {"server": name, "tools": len(own), "recall": _rounded(own)}
        for name, own in by_server(tools).items()
    ]
    missed: list[Json] = [
        {
            "server": tool.ref.server,
            "tool": tool.ref.tool,
            "reason": tool.reason,
            "request": tool.request,
            "instead": [_name(ref) for ref in tool.instead],
        }
        for tool in tools
        if not tool.found
    ]
    return {
        "tools": len(tools),
        "rank": FOUND_AT,
        "recall": _rounded(tools),
        "servers": servers,
        "missed": missed,
    }


def as_html(url: str, tools: Sequence[Evaluated]) -> str:
    """The same as a page of its own, without scripts and without anything from elsewhere."""
    servers = _html_table(_SERVER_HEADERS, _server_rows(tools))
    missed = _html_table((*_MISSED_HEADERS, "found instead"), _missed_rows(tools))
    summary = escape(clean(f"{_summary(tools)}, at {url}"))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Search on this catalogue'
        "</title><style>body{font:16px system-ui;max-width:70em;margin:2em auto;padding:0 1em}"
        "table{border-collapse:collapse;margin:1em 0}td,th{text-align:left;padding:.3em .8em;"
        "border-bottom:1px solid #8886}:root{color-scheme:light dark}</style>"
        f"<h1>Search on this catalogue</h1><p>{summary}</p>{servers}{missed}</html>\n"
    )


def _html_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<td>{escape(clean(cell))}</td>" for cell in row) for row in rows]
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    body = "\n".join(f"<tr>{line}</tr>" for line in (head, *lines))
    return f"<table>\n{body}\n</table>" if rows else ""


def _show(screen: Screen, tools: Sequence[Evaluated]) -> None:
    screen.table(_SERVER_HEADERS, _server_rows(tools))
    missed = [row[: len(_MISSED_HEADERS)] for row in _missed_rows(tools)]
    if missed:
        screen.line()
        screen.table(_MISSED_HEADERS, missed[:MAX_MISSED_SHOWN])
    if len(missed) > MAX_MISSED_SHOWN:
        screen.line(f"and {len(missed) - MAX_MISSED_SHOWN} more: --json or --html has them all")
    screen.line()
    screen.line(_summary(tools))


def _server_rows(tools: Sequence[Evaluated]) -> list[tuple[str, ...]]:
    servers = sorted(by_server(tools).items(), key=lambda each: recall(each[1]))
    return [(name, str(len(own)), f"{recall(own):.2f}") for name, own in servers]


def _missed_rows(tools: Sequence[Evaluated]) -> list[tuple[str, ...]]:
    return [
        (_name(tool.ref), tool.reason, tool.request, ", ".join(map(_name, tool.instead)))
        for tool in tools
        if not tool.found
    ]


def _summary(tools: Sequence[Evaluated]) -> str:
    found = sum(tool.found for tool in tools)
    return f"recall@{FOUND_AT} {recall(tools):.3f}: {found} of {len(tools)} tools are found"


def _rounded(tools: Sequence[Evaluated]) -> float:
    return round(recall(tools), 4)


def _name(ref: ToolRef) -> str:
    return f"{ref.server}.{ref.tool}"
