"""Pages of tools (MCP Apps, SEP-1865), as one namespace sees them: whose a page is, which tools are
for models, which for pages. Pure; ``apps`` has what of it goes over the wire.

A page is asked for by its URI alone, which two servers may have chosen alike. Then each is shown
under another one, with its server's name in it: neither can take the place of the other.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import count

import msgspec

from mcproxy.types import Json, JsonObject, Tool, ToolRef

SCHEME = "ui://"
_MODEL, _APP = "model", "app"


def for_models(tool: Tool) -> bool:
    """Whether a model may see and call it, and not only pages."""
    return _MODEL in _visibility(tool)


class Pages(msgspec.Struct, frozen=True, dict=True):
    """The pages behind tools; make it with ``pages_of``."""

    tools: tuple[Tool, ...]

    @cached_property
    def shown(self) -> Mapping[tuple[str, str], str]:
        """The URI that clients see, by server and the URI that the server has for it."""
        pages = dict.fromkeys(
            (tool.ref.server, uri) for tool in self.tools if (uri := page_of(tool))
        )
        servers = Counter(uri for _, uri in pages)
        taken = set(servers)
        shown: dict[tuple[str, str], str] = {}
        for server, uri in pages:
            alias = uri if servers[uri] == 1 else _free(server, uri, taken)
            shown[server, uri] = alias
            taken.add(alias)
        return shown

    @cached_property
    def owners(self) -> Mapping[str, tuple[str, str]]:
        """The server, and the URI that it has for it, by the URI that clients see."""
        return {alias: owner for owner, alias in self.shown.items()}

    @cached_property
    def with_page(self) -> Mapping[ToolRef, Tool]:
        """The tools that have one."""
        return {tool.ref: tool for tool in self.tools if page_of(tool)}

    @cached_property
    def callable(self) -> Mapping[str, Tool]:
        """The tools that pages call, by the names by which they do: those that their server gave
        them. One that two servers have is in doubt, and left out."""
        tools = [tool for tool in self.tools if _APP in _visibility(tool)]
        names = Counter(tool.ref.tool for tool in tools)
        return {tool.ref.tool: tool for tool in tools if names[tool.ref.tool] == 1}

    def definition(self, tool: Tool) -> Mapping[str, Json]:
        """A tool's definition, its page under the URI that clients see."""
        uri = page_of(tool)
        alias = self.shown[tool.ref.server, uri] if uri else None
        return tool.definition if alias == uri else _with(tool, resourceUri=alias)

    def for_pages(self, tool: Tool) -> Mapping[str, Json]:
        """The same, of a tool that no model is to see under this name."""
        uri = page_of(tool)
        shown: JsonObject = {"resourceUri": self.shown[tool.ref.server, uri]} if uri else {}
        return _with(tool, **shown, visibility=[_APP])


def pages_of(tools: Iterable[Tool]) -> Pages:
    """The pages behind these tools."""
    return Pages(tuple(tool for tool in tools if "_meta" in tool.definition and _has_ui(tool)))


def page_of(tool: Tool) -> str | None:
    """The URI of a tool's page, at its server."""
    uri = _ui(tool).get("resourceUri", _meta(tool).get("ui/resourceUri"))
    return uri if isinstance(uri, str) and uri.startswith(SCHEME) else None


def _free(server: str, uri: str, taken: set[str]) -> str:
    rest = uri.removeprefix(SCHEME)
    return next(alias for alias in _aliases(server, rest) if alias not in taken)


def _aliases(server: str, rest: str) -> Iterator[str]:
    yield f"{SCHEME}{server}/{rest}"
    for number in count(2):
        yield f"{SCHEME}{server}/{number}/{rest}"


def _with(tool: Tool, **ui: Json) -> Mapping[str, Json]:
    meta = {key: value for key, value in _meta(tool).items() if key != "ui/resourceUri"}
    return {**tool.definition, "_meta": {**meta, "ui": {**_ui(tool), **ui}}}


def _has_ui(tool: Tool) -> bool:
    return bool(_ui(tool)) or page_of(tool) is not None


def _visibility(tool: Tool) -> tuple[Json, ...]:
    said = _ui(tool).get("visibility") if "_meta" in tool.definition else None
    return tuple(said) if isinstance(said, list) else (_MODEL, _APP)


def _ui(tool: Tool) -> Mapping[str, Json]:
    ui = _meta(tool).get("ui")
    return ui if isinstance(ui, dict) else {}


def _meta(tool: Tool) -> Mapping[str, Json]:
    meta = tool.definition.get("_meta")
    return meta if isinstance(meta, dict) else {}
