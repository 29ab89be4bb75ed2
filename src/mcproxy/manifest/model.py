"""The manifest: the tools of all servers at one moment, ready to be searched. Immutable.

Owns the making of the parts (repair, index, name forms, categories: once for a server's tools) and
the slices that namespaces see, which share the parts. Knows no ranking and no rendering. Pure.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from operator import is_
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from mcproxy.call_errors import UnknownServer, UnknownTool
from mcproxy.foreign_text import bounded, clean, label
from mcproxy.manifest.categories import categorise
from mcproxy.manifest.index import ServerIndex, index_server
from mcproxy.manifest.learned import Returns, unlearned
from mcproxy.manifest.lexicon import Lexicon, merge
from mcproxy.manifest.names import Ambiguous, Forms, call_line, name_forms, resolve
from mcproxy.manifest.results import for_script
from mcproxy.manifest.schema import MAX_TEXT_CHARS, repair
from mcproxy.manifest.spelling import near
from mcproxy.manifest.text import first_sentence, snake
from mcproxy.manifest.tool_schema import ToolSchema
from mcproxy.types import Json, JsonObject, ServerHealth, ServerState, ServerView, Tool, ToolRef

# A server that does not describe itself is described by so many of its tools' names.
MAX_TOOLS_ABOUT = 5
MAX_LABEL_CHARS = 100  # of a name in a note, which may be why there is one


T = TypeVar("T")


class ServerPart(msgspec.Struct, frozen=True):
    """All that depends on one server alone.

    ``source``: the view as it came in. ``view``: the same with mended tools, without those that
    are set aside. ``schemas``: the tools' schemas, ready for calls. ``form``, ``forms``: the
    server's and the tools' names in the form that all spellings share. ``about``: one line on the
    server. ``notes``: what was wrong with which tool.
    """

    source: ServerView
    view: ServerView
    tools: Mapping[str, Tool]
    schemas: Mapping[str, ToolSchema]
    form: str
    forms: Forms
    index: ServerIndex
    about: str
    categories: tuple[str, ...]
    notes: Mapping[ToolRef, str]

    @property
    def held(self) -> tuple[str, ...]:
        """The tools that wait for a person, ``TOOL: REASON`` each."""
        return tuple(f"{name}: {tool.held}" for name, tool in self.tools.items() if tool.held)

    @property
    def repairs(self) -> tuple[str, ...]:
        """What was wrong with tools, ``TOOL: REASON`` each."""
        return tuple(f"{ref.tool}: {note}" for ref, note in self.notes.items())


class Manifest(msgspec.Struct, frozen=True, dict=True):
    """Servers in the order given, their parts by name. Make it with ``build``.

    What concerns all servers together is derived at first use and kept, and so are the slices that
    ``visible_to`` gives.
    """

    parts: Mapping[str, ServerPart]

    @cached_property
    def servers(self) -> Mapping[str, ServerView]:
        """What the servers offer, tools mended."""
        return {name: part.view for name, part in self.parts.items()}

    @cached_property
    def server_forms(self) -> Forms:
        """The servers' names by every form that they are looked up under."""
        return name_forms(self.parts)

    @cached_property
    def tools(self) -> tuple[Tool, ...]:
        """All tools, in the order in which the lexicon numbers them."""
        return tuple(tool for part in self.parts.values() for tool in part.view.tools)

    @property
    def tool_count(self) -> int:
        """How many tools all servers have together."""
        return len(self.tools)

    @cached_property
    def named(self) -> Mapping[str, tuple[Tool, ...]]:
        """Tools by every form that their names are looked up under."""
        found: dict[str, list[Tool]] = {}
        for part in self.parts.values():
            for form, names in part.forms.items():
                found.setdefault(form, []).extend(part.tools[name] for name in names)
        return {form: tuple(tools) for form, tools in found.items()}

    def schema(self, ref: ToolRef) -> ToolSchema:
        """The schemas of a tool that is there, by its exact name."""
        return self.parts[ref.server].schemas[ref.tool]

    @cached_property
    def lexicon(self) -> Lexicon:
        """The words of all servers in sight."""
        return merge([part.index for part in self.parts.values()])

    @property
    def searchable(self) -> bool:
        """Whether what a search needs is there; else the first one derives it: 40 ms for 3,000
        tools."""
        return "lexicon" in vars(self)

    def make_searchable(self) -> None:
        """Derive it now, in whichever thread this is called."""
        _ = self.tools, self.named, self.lexicon

    @cached_property
    def notes(self) -> Mapping[ToolRef, str]:
        """What was wrong with which tool's definition; for logs and ``doctor``."""
        return {ref: note for part in self.parts.values() for ref, note in part.notes.items()}

    def repairs(self, server: str) -> tuple[str, ...]:
        """What was wrong with tools of a server, ``TOOL: REASON`` each."""
        part = self.parts.get(server)
        return part.repairs if part else ()

    def visible_to(self, names: Collection[str]) -> "Manifest":
        """The slice that has only these servers; the others are in no count and no hint of it."""
        wanted = frozenset(names)
        if wanted.issuperset(self.parts):
            return self
        found = self._slices.get(wanted)
        if found is None:
            seen = {name: part for name, part in self.parts.items() if name in wanted}
            found = self._slices[wanted] = Manifest(seen)
        return found

    def as_searched_as(self, before: "Manifest") -> "Manifest":
        """This manifest; what was searched before, whole or slice, is searchable in it too."""
        if before.searchable:
            self.make_searchable()
        for names, slice_before in tuple(before._slices.items()):
            if slice_before.searchable:
                self.visible_to(names).make_searchable()
        return self

    @cached_property
    def _slices(self) -> dict[frozenset[str], "Manifest"]:
        return {}

    def without(
        self, tools: Mapping[str, Collection[str]], before: "Manifest | None" = None
    ) -> "Manifest":
        """The manifest that it would be if these servers did not have these tools; ``before``: as
        for ``build``."""
        known = before.parts if before else {}
        left = {name: _left(self.parts[name].source, gone) for name, gone in tools.items() if gone}
        cut = {name: _part(view, known.get(name)) for name, view in left.items()}
        return Manifest({**self.parts, **cut}) if cut else self


def build(servers: Iterable[ServerView], before: Manifest | None = None) -> Manifest:
    """The manifest of these servers, or the one ``before``, where nothing has changed; of it the
    parts are taken over whose tools are unchanged."""
    known = before.parts if before else {}
    parts = {view.name: _part(view, known.get(view.name)) for view in servers}
    if before and len(parts) == len(known) and all(map(is_, parts.values(), known.values())):
        return before
    return Manifest(parts)


def published(views: Iterable[Manifest], name: str, health: ServerHealth) -> ServerHealth:
    """How a server is, told with the tools that any of these has of it: one that is up counts as
    starting until it is in them as such."""
    parts = [view.parts[name] for view in views if name in view.parts]
    up = ("ready", "idle")
    new = health.state in up and not any(part.view.state in up for part in parts)
    state: ServerState = "starting" if new else health.state
    tools = {tool for part in parts for tool in part.tools}
    repairs = dict.fromkeys(told for part in parts for told in part.repairs)
    held = dict.fromkeys(told for part in parts for told in part.held)
    return replace(health, state=state, tools=len(tools), repairs=tuple(repairs), held=tuple(held))


def _left(view: ServerView, gone: Collection[str]) -> ServerView:
    return replace(view, tools=tuple(tool for tool in view.tools if tool.ref.tool not in gone))


def _part(view: ServerView, before: ServerPart | None) -> ServerPart:
    if before and before.source == view:
        return before
    if before and replace(before.source, state=view.state) == view:
        return replace(before, source=view, view=replace(before.view, state=view.state))
    tools: dict[str, Tool] = {}
    notes: dict[ToolRef, str] = {}
    listed_names: set[str] = set()
    for listed in view.tools:
        tool = replace(listed, ref=ToolRef(view.name, listed.ref.tool))
        definition, note = repair(tool.definition)
        if tool.ref.tool in listed_names:  # the ledger judged the first one, usable or not
            note = "listed twice; the first one counts"
        elif definition is not None:
            tools[tool.ref.tool] = replace(tool, definition=definition)
        listed_names.add(tool.ref.tool)
        if note:
            notes[ToolRef(view.name, label(tool.ref.tool, MAX_LABEL_CHARS))] = note
    description = bounded(clean(view.description), MAX_TEXT_CHARS)
    mended = replace(view, description=description, tools=tuple(tools.values()))
    return ServerPart(
        source=view,
        view=mended,
        tools=tools,
        schemas={name: ToolSchema(tool.definition) for name, tool in tools.items()},
        form=snake(view.name),
        forms=name_forms(tools),
        index=index_server(view.name, description, mended.tools),
        about=first_sentence(description) or ", ".join(list(tools)[:MAX_TOOLS_ABOUT]),
        categories=categorise(view.name, tools),
        notes=notes,
    )


def find_tool(manifest: Manifest, asked: ToolRef, usage: Callable[[Tool], str] = call_line) -> Tool:
    """The tool that ``asked`` stands for, its name and its server's in any form.

    Raises UnknownServer or UnknownTool, with did-you-mean: the ``usage`` of those that come close.
    """
    part = require_server(manifest, asked)
    found = _named(asked.tool, part.tools, part.forms)
    if isinstance(found, Tool):
        return found
    asked = ToolRef(part.view.name, asked.tool)
    if found is None:
        raise UnknownTool(asked, _near_calls(manifest, part, asked.tool, usage))
    lines = [usage(part.tools[name]) for name in found.names]
    why = f"{asked.tool!r} may be any of {', '.join(map(repr, found.names))}: write it exactly."
    raise UnknownTool(asked, lines, why)


def require_server(manifest: Manifest, asked: ToolRef) -> ServerPart:
    """The server that ``asked`` names, in any form. Raises UnknownServer, with did-you-mean."""
    found = _named(asked.server, manifest.parts, manifest.server_forms)
    if isinstance(found, ServerPart):
        return found
    known = list(manifest.parts)
    raise UnknownServer(asked, near(asked.server, known), known)


def _named(asked: str, known: Mapping[str, T], forms: Forms) -> T | Ambiguous | None:
    """What has this name, or else one of the same form."""
    exact = known.get(asked)
    if exact is not None:
        return exact
    name = resolve(forms, asked)
    return known[name] if isinstance(name, str) else name


def schema(manifest: Manifest, server: str, tool: str, returns: Returns = unlearned) -> JsonObject:
    """The tool's whole definition, for ``api.schema``, with what was learned of its results where
    it declares nothing of them. Raises as ``find_tool`` does."""
    found = find_tool(manifest, ToolRef(server, tool))
    learned = None if "outputSchema" in found.definition else returns(found)
    told = for_script(found.definition)
    return {**told, "returns": learned.told} if learned else told


def outline(part: ServerPart) -> JsonObject:
    """What ``api.manifest()`` tells of a server: its description and the names of its tools."""
    names: list[Json] = [tool.ref.tool for tool in part.view.tools]
    return {"description": part.view.description, "tools": names}


def _near_calls(
    manifest: Manifest, part: ServerPart, asked: str, usage: Callable[[Tool], str]
) -> list[str]:
    """The usage of tools that come close: of this server, else of the same name elsewhere."""
    close = [usage(part.tools[name]) for name in near(asked, part.tools)]
    if close:
        return close
    found = ((other, resolve(other.forms, asked)) for other in manifest.parts.values())
    return [usage(other.tools[name]) for other, name in found if isinstance(name, str)]
