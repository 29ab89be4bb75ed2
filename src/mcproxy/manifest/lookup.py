"""From what a script asked for to the tool that it meant, or the error that teaches.

What a caller may not see is not in the manifest that it is given, so it is unknown in the same
words as what does not exist.
"""

from collections.abc import Callable

from mcproxy.call_errors import UnknownServer, UnknownTool
from mcproxy.manifest.learned import Returns, unlearned
from mcproxy.manifest.model import Manifest, ServerPart
from mcproxy.manifest.names import Ambiguous, call_line, resolve
from mcproxy.manifest.results import for_script
from mcproxy.manifest.spelling import near
from mcproxy.types import Json, JsonObject, Tool, ToolRef


def find_tool(manifest: Manifest, asked: ToolRef, usage: Callable[[Tool], str] = call_line) -> Tool:
    """The tool that ``asked`` stands for, its name and its server's in any form.

    Raises UnknownServer or UnknownTool, with did-you-mean: the ``usage`` of those that come close.
    """
    part = require_server(manifest, asked)
    asked = ToolRef(part.view.name, asked.tool)
    exact = part.tools.get(asked.tool)
    if exact is not None:
        return exact
    name = resolve(part.forms, asked.tool)
    if isinstance(name, str):
        return part.tools[name]
    if isinstance(name, Ambiguous):
        lines = [usage(part.tools[exact]) for exact in name.names]
        why = f"{asked.tool!r} may be any of {', '.join(map(repr, name.names))}: write it exactly."
        raise UnknownTool(asked, lines, why)
    raise UnknownTool(asked, _near_calls(manifest, part, asked.tool, usage))


def require_server(manifest: Manifest, asked: ToolRef) -> ServerPart:
    """The server that ``asked`` names, in any form. Raises UnknownServer, with did-you-mean."""
    part = manifest.parts.get(asked.server)
    if part is not None:
        return part
    name = resolve(manifest.server_forms, asked.server)
    if isinstance(name, str):
        return manifest.parts[name]
    known = list(manifest.parts)
    raise UnknownServer(asked, near(asked.server, known), known)


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
