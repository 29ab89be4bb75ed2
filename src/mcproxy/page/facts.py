"""What each part of the page shows, as plain values for the templates. Pure.

A viewer's own view of things is cut out here, and nowhere else: templates show all that they are
given.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal

import msgspec

from mcproxy.gateway.snapshot import Snapshot, View
from mcproxy.manifest.learned import Returns
from mcproxy.manifest.model import Manifest
from mcproxy.manifest.names import call_line
from mcproxy.observe.activity import Activity, ClientTokens, SeenExecution, estimate
from mcproxy.observe.health import Status, in_a_word
from mcproxy.page.viewers import Viewer
from mcproxy.policy.definition_records import SeenDefinition, difference, name_of, shown_as
from mcproxy.types import Json, SandboxReport, ServerHealth, ServerState, Tool

MAX_LISTED = 50  # executions in the list
MAX_HELD, MAX_DIFFERENCE = 50, 60  # definitions, and lines of one
MAX_TOOLS_LISTED = 300  # in the tool browser at a time; the filter finds the others
WIDTH = 1000  # of the time line, in its own units

_TONES: Mapping[ServerState, str] = {
    "ready": "good",
    "idle": "calm",
    "starting": "busy",
    "restarting": "busy",
    "failed": "bad",
    "unconfigured": "bad",
    "disabled": "off",
}

_RUN: Collection[ServerState] = ("ready", "idle", "starting", "restarting", "failed")

Mask = Callable[[str], str]


class Health(msgspec.Struct, frozen=True):
    """How everything is that the viewer may see, as ``/health`` tells it."""

    status: Status
    servers: Mapping[str, ServerHealth]
    sandbox: SandboxReport

    @property
    def word(self) -> str:
        """``ok``, ``degraded`` or ``stopping``."""
        return in_a_word(self.status, self.servers)

    @property
    def tools(self) -> int:
        """How many tools there are."""
        return sum(server.tools for server in self.servers.values())


class ServerRow(msgspec.Struct, frozen=True):
    """A server in the table; ``tone`` is its state's colour, ``offers`` what can be done: one that
    the configuration does not run can only be changed there."""

    name: str
    health: ServerHealth
    tone: str
    last_error: str
    calls: int
    running: int
    offers: Literal["enable", "restart", ""]


class Trouble(msgspec.Struct, frozen=True):
    """Something that wants the operator's attention, and what can be done about it."""

    what: str
    why: str
    tone: str = "bad"


class HeldDefinition(msgspec.Struct, frozen=True):
    """A definition that waits for a person, against the one that counts."""

    source: str
    name: str
    mark: str
    shown: str
    reasons: str
    difference: str


class Bar(msgspec.Struct, frozen=True):
    """One call in the time line: where it begins and how long it is, in units of ``WIDTH``."""

    x: float
    width: float
    tone: str


class ClientRow(msgspec.Struct, frozen=True):
    """What one client's model was sent, in tokens, beside what direct mode would have sent it."""

    name: str
    lists: float
    searches: float
    executions: float
    replies: int
    direct: float
    estimated: bool

    @property
    def total(self) -> float:
        """All that was sent."""
        return self.lists + self.searches + self.executions

    @property
    def saved(self) -> float | None:
        """The share that direct mode would have cost more; None where it would not."""
        return 1 - self.total / self.direct if self.direct > self.total > 0 else None


def server_rows(
    health: Health, activity: Activity, off: Collection[str], mask: Mask
) -> list[ServerRow]:
    """The servers, those that need attention first; ``mask`` hides secrets in their words."""
    calls, running = activity.calls_by_server()
    rows = [
        ServerRow(
            name,
            one,
            _TONES[one.state],
            mask(one.last_error or ""),
            calls[name],
            running[name],
            "enable" if name in off else "restart" if one.state in _RUN else "",
        )
        for name, one in health.servers.items()
    ]
    return sorted(rows, key=lambda row: (row.tone not in ("bad", "busy"), row.name))


def problems(health: Health, notes: Sequence[str], mask: Mask) -> list[Trouble]:
    """What is wrong, the worst first; ``notes`` are the configuration's."""
    found: list[Trouble] = []
    if health.status.config_error:
        text = "The changed configuration is not in force"
        found.append(Trouble(text, mask(health.status.config_error)))
    for name, one in health.servers.items():
        if one.state in ("failed", "unconfigured"):
            found.append(Trouble(f"{name} is {one.state}", mask(one.last_error or "")))
    for name, one in health.servers.items():
        told = f"{name}: a tool was mended"
        found.extend(Trouble(told, mask(note), "busy") for note in one.repairs)
    level = f"The sandbox is {health.sandbox.level}, not strict"
    found.extend(Trouble(level, lack, "busy") for lack in health.sandbox.missing)
    found.extend(Trouble("The configuration", mask(note), "busy") for note in notes)
    return found


def held_definitions(
    waiting: Mapping[str, Mapping[str, SeenDefinition]],
) -> list[HeldDefinition]:
    """What waits, at most ``MAX_HELD``."""
    found = (
        HeldDefinition(
            source,
            name,
            shown_as(seen),
            name_of(source, name),
            "; it ".join(seen.reasons),
            "\n".join(difference(seen)[:MAX_DIFFERENCE]),
        )
        for source, each in waiting.items()
        for name, seen in each.items()
    )
    return list(islice(found, MAX_HELD))


def executions(activity: Activity, viewer: Viewer, most: int = MAX_LISTED) -> list[SeenExecution]:
    """Those that the viewer may see, the latest first."""
    return list(islice(filter(viewer.sees, activity.executions()), most))


def time_line(execution: SeenExecution, now: float) -> list[Bar]:
    """The calls as bars over the execution's time; ``now``: on the clock of its ``started``."""
    whole = now - execution.started if execution.ms is None else execution.ms / 1000
    return list(_bars(execution, max(whole, 0.001)))


def _bars(execution: SeenExecution, whole_secs: float) -> Iterator[Bar]:
    for call in execution.calls:
        secs = whole_secs - call.began if call.ms is None else call.ms / 1000
        x = min(WIDTH - 2.0, WIDTH * call.began / whole_secs)
        width = max(2.0, min(WIDTH - x, WIDTH * secs / whole_secs))
        tone = "bad" if call.failed else "busy" if call.outcome is None else "good"
        yield Bar(round(x, 1), round(width, 1), tone)


def namespaces(viewer: Viewer) -> list[str]:
    """The names of the endpoints that the viewer may use."""
    return [place.name for place in viewer.namespaces]


def view_of(snapshot: Snapshot, viewer: Viewer, asked: str) -> tuple[str, View] | None:
    """The endpoint that is asked for, or the default one, or the first that the viewer may use;
    None where there is none."""
    names = namespaces(viewer)
    preferred = (asked, snapshot.policy.default, *names)
    name = next((each for each in preferred if each in names), None)
    return (name, snapshot.views[name]) if name in snapshot.views and name else None


def tools_like(manifest: Manifest, words: str) -> tuple[list[Tool], int]:
    """The tools whose name, or server's name, has all of these words, and how many there are."""
    wanted = words.lower().split()
    found = [
        tool
        for tool in manifest.tools
        if all(word in f"{tool.ref.server}.{tool.ref.tool}".lower() for word in wanted)
    ]
    return found[:MAX_TOOLS_LISTED], len(found)


def tool_facts(view: View, tool: Tool, returns: Returns) -> dict[str, object]:
    """All that is known of a tool."""
    definition = tool.definition
    learned = None if "outputSchema" in definition else returns(tool)
    return {
        "tool": tool,
        "call": call_line(tool),
        "description": definition.get("description") or "",
        "annotations": definition.get("annotations") or {},
        "input": _pretty(definition.get("inputSchema")),
        "output": _pretty(definition.get("outputSchema")),
        "learned": _pretty(learned.told) if learned else "",
        "ruling": view.ruling(tool.ref),
        "note": view.manifest.parts[tool.ref.server].notes.get(tool.ref, ""),
    }


def client_rows(
    shown: Mapping[str, ClientTokens], direct_tokens: Mapping[str, float]
) -> list[ClientRow]:
    """What clients were sent; ``direct_tokens``: what a list of a namespace's tools would cost in
    direct mode."""
    rows = [
        ClientRow(
            name or "(no name given)",
            one.tokens.get("list", 0.0),
            one.tokens.get("search", 0.0),
            one.tokens.get("execute", 0.0),
            sum(one.replies.values()),
            sum(times * direct_tokens.get(place, 0.0) for place, times in one.lists.items())
            + estimate(one.spared_bytes),
            one.estimated,
        )
        for name, one in shown.items()
    ]
    return sorted(rows, key=lambda row: -row.total)


def _pretty(value: Json) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() if value else ""
