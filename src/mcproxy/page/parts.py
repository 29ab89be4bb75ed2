"""What each part of the page shows: from a viewer's request to its facts and their template."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import msgspec
from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

import mcproxy
from mcproxy.foreign_text import one_line
from mcproxy.frontends.responses import http_error, json, unavailable
from mcproxy.gateway.approval_records import STATES, ApprovalRecord, ApprovalRecords
from mcproxy.gateway.definition_ledger import DefinitionLedger
from mcproxy.gateway.snapshot import Published
from mcproxy.manifest.bounds import MAX_QUERY_CHARS
from mcproxy.manifest.learned import Returns
from mcproxy.observe.activity import Activity
from mcproxy.page import facts
from mcproxy.page.live import LiveParts, Viewings
from mcproxy.page.playground import played
from mcproxy.page.rendering import HEADERS, fragment, html, render
from mcproxy.page.viewers import Viewer, viewer_of
from mcproxy.policy.access import AccessDenied
from mcproxy.types import Caller, ToolRef

RETRY_SECS = 5
TABS = (
    ("Overview", "/"),
    ("Executions", "/ui/executions"),
    ("Search", "/ui/search"),
    ("Tools", "/ui/tools"),
    ("Tokens", "/ui/tokens"),
)


class Console(msgspec.Struct, frozen=True):
    """What the page shows and can do: the state in force, ``/health`` of a caller, what happens,
    the configuration's ``notes``, with secrets hidden by ``mask``; a server restarted, turned off
    and on; calls and definitions that wait for a person; what tools were seen to return."""

    published: Published
    health: Callable[[Caller], facts.Health]
    mask: facts.Mask
    activity: Activity
    notes: Callable[[], tuple[str, ...]]
    enabled: Callable[[], bool]
    turned_off: Callable[[], frozenset[str]]
    actions: Mapping[str, Callable[[str], None]]
    approvals: ApprovalRecords
    ledger: DefinitionLedger
    returns: Returns

    async def settle(self, id_: str, action: str) -> ApprovalRecord | None:
        """Approve or refuse a call that waits (``action`` is a key of ``STATES``); None where none
        waits so. Only an operator may: no token of an agent approves the agent's own calls."""
        said = STATES.get(action)
        record = await self.approvals.settle(id_, said) if said else None
        if record is not None:
            self.activity.touch()
        return record

    async def accept(self, source: str, name: str, shown: str) -> None:
        """Accept a definition that is held, as it was ``shown_as``; one that is something else by
        now still waits. Only an operator may."""
        await self.ledger.accept(source, {name: shown})
        self.activity.touch()


class Look(msgspec.Struct, frozen=True):
    """One request of a viewer."""

    console: Console
    viewings: Viewings
    request: Request
    viewer: Viewer

    def again(self) -> "Look":
        """The same by the rules of now. Raises AccessDenied."""
        policy, viewer = self.console.published.snapshot.policy, self.viewer
        return replace(self, viewer=viewer_of(policy, viewer.caller, viewer.csrf))

    def shown(self, template: str, told: Mapping[str, object], status: int = 200) -> Response:
        """A whole page."""
        return html(render(template, {**self.frame(), **told}), status)

    def frame(self) -> dict[str, object]:
        """What every page shows around its own."""
        return {
            "csrf": self.viewer.csrf,
            "tabs": TABS,
            "here": self.request.url.path,
            "version": mcproxy.__version__,
            "who": self.viewer.name if self.viewer.caller.token else "",
        }

    def asked(self, name: str) -> str:
        """A parameter of the query, as one line."""
        return one_line(self.request.query_params.get(name, "")[:MAX_QUERY_CHARS])


Shows: TypeAlias = Callable[[Look], Awaitable[Response]]
Tells: TypeAlias = Callable[[Look], Awaitable[dict[str, object]]]


async def _overview(look: Look) -> Response:
    return look.shown("overview.html", await _overview_facts(look))


async def _overview_facts(look: Look) -> dict[str, object]:
    console, viewer = look.console, look.viewer
    health = console.health(viewer.caller)
    listed = facts.executions(console.activity, viewer)
    return {
        "health": health,
        "servers": facts.server_rows(health, console.activity, console.turned_off(), console.mask),
        "problems": facts.problems(
            health, console.notes() if viewer.everything else (), console.mask
        ),
        "running": [one for one in listed if one.outcome is None],
        "recent": [one for one in listed if one.outcome is not None][:8],
        "held": facts.held_definitions(console.ledger.waiting()) if viewer.operator else (),
        "approvals": await console.approvals.listed() if viewer.operator else (),
        "csrf": viewer.csrf,
    }


async def _live(look: Look) -> Response:
    """A stream of the parts of one page."""
    part = look.request.path_params["part"]
    if part not in _LIVE:
        return http_error(look.request, HTTPException(404))
    if look.viewings.full:
        return unavailable("too many look on", RETRY_SECS)
    template, names, tell = _LIVE[part]

    async def parts() -> Mapping[str, str] | None:
        try:
            told = await tell(look.again())
        except (AccessDenied, HTTPException):
            return None
        return {name: fragment(template, name, told) for name in names}

    return LiveParts(look.viewings, look.console.activity, parts)


async def _history(look: Look) -> Response:
    figures = look.console.activity.history.figures()
    told = {name: getattr(figures, name) for name in figures.__struct_fields__}
    return json(told, headers=HEADERS)


async def _executions_facts(look: Look) -> dict[str, object]:
    return {"executions": facts.executions(look.console.activity, look.viewer)}


async def _executions(look: Look) -> Response:
    return look.shown("executions.html", await _executions_facts(look))


async def _execution_facts(look: Look) -> dict[str, object]:
    id_ = look.request.path_params.get("id") or look.asked("id")
    found = look.console.activity.execution(id_)
    if found is None or not look.viewer.sees(found):
        raise HTTPException(404)
    bars = facts.time_line(found, time.monotonic())
    return {"execution": found, "bars": bars, "width": facts.WIDTH}


async def _execution(look: Look) -> Response:
    try:
        told = await _execution_facts(look)
    except HTTPException:
        text = "There is no such execution (any more): the latest 200 are kept."
        return look.shown("notice_page.html", {"title": "Not here", "text": text}, 404)
    return look.shown("execution.html", told)


async def _search(look: Look) -> Response:
    snapshot, viewer = look.console.published.snapshot, look.viewer
    found = facts.view_of(snapshot, viewer, look.asked("namespace"))
    query = look.asked("q")
    told = played(found[1].manifest, found[0], query) if found and query else None
    facts_shown = {
        "query": query,
        "namespace": found[0] if found else "",
        "namespaces": facts.namespaces(viewer),
        "played": told,
    }
    return look.shown("search.html", facts_shown)


async def _tools(look: Look) -> Response:
    found = facts.view_of(look.console.published.snapshot, look.viewer, look.asked("namespace"))
    words = look.asked("q")
    tools, total = facts.tools_like(found[1].manifest, words) if found else ([], 0)
    told = {
        "words": words,
        "tools": tools,
        "total": total,
        "namespace": found[0] if found else "",
        "namespaces": facts.namespaces(look.viewer),
    }
    return look.shown("tools.html", told)


async def _tool(look: Look) -> Response:
    found = facts.view_of(look.console.published.snapshot, look.viewer, look.asked("namespace"))
    ref = ToolRef(look.request.path_params["server"], look.request.path_params["tool"])
    part = found[1].manifest.parts.get(ref.server) if found else None
    tool = part.tools.get(ref.tool) if part else None
    if found is None or tool is None:
        text = "There is no such tool in this namespace."
        return look.shown("notice_page.html", {"title": "Not here", "text": text}, 404)
    told = facts.tool_facts(found[1], tool, look.console.returns)
    return look.shown("tool.html", {**told, "namespace": found[0]})


async def _tokens(look: Look) -> Response:
    shown = await look.console.activity.tokens.counted() if look.viewer.everything else {}
    snapshot = look.console.published.snapshot
    listed = {name for one in shown.values() for name in one.lists}
    direct = {name: snapshot.views[name].direct_tokens for name in listed if name in snapshot.views}
    rows = facts.client_rows(shown, direct)
    return look.shown("tokens.html", {"rows": rows, "everything": look.viewer.everything})


_LIVE: Mapping[str, tuple[str, tuple[str, ...], Tells]] = {
    "overview": (
        "overview.html",
        ("state", "approvals", "held", "problems", "servers", "lately"),
        _overview_facts,
    ),
    "executions": ("executions.html", ("executions",), _executions_facts),
    "execution": ("execution.html", ("execution",), _execution_facts),
}

PARTS: Mapping[str, Shows] = {
    "/": _overview,
    "/ui/": _overview,
    "/ui/live/{part}": _live,
    "/ui/history.json": _history,
    "/ui/executions": _executions,
    "/ui/executions/{id}": _execution,
    "/ui/search": _search,
    "/ui/tools": _tools,
    "/ui/tools/{server}/{tool:path}": _tool,
    "/ui/tokens": _tokens,
}
"""The parts by their paths."""
