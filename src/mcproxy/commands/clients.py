"""Where other MCP clients keep their lists of servers, and how those are read.

Gives the definitions as the client wrote them, except that the variables of its language are those
of ours; what becomes of them is for ``adopt``. The home directory is passed in.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mcproxy.config import jsonc
from mcproxy.errors import ConfigError, Problem
from mcproxy.types import Json, JsonObject

# Relative to the home directory (Linux, macOS) or to the project's, which is the working directory.
_HOME: Mapping[str, tuple[str, ...]] = {
    "claude": (
        ".config/Claude/claude_desktop_config.json",
        "Library/Application Support/Claude/claude_desktop_config.json",
        ".claude.json",
    ),
    "cursor": (".cursor/mcp.json",),
    "vscode": (
        ".config/Code/User/mcp.json",
        "Library/Application Support/Code/User/mcp.json",
        ".config/Code/User/settings.json",
        "Library/Application Support/Code/User/settings.json",
    ),
    "codex": (".codex/config.toml",),
}
_PROJECT: Mapping[str, tuple[str, ...]] = {
    "claude": (".mcp.json",),
    "cursor": (".cursor/mcp.json",),
    "vscode": (".vscode/mcp.json",),
    "codex": (".codex/config.toml",),
}
CLIENTS = tuple(_HOME)
WORKSPACE = "WORKSPACE_FOLDER"
_LISTS = ("mcpServers", "mcp_servers", "servers")
_CLIENT_VARIABLE = re.compile(r"\$\{(?:(env|input):([^}]+)|workspaceFolder|userHome)\}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One server of a client's list, with the client's keys."""

    name: str
    definition: JsonObject = field(repr=False)
    origin: Path


def files(client: str | None, home: Path, project: Path) -> list[Path]:
    """The lists of this client, or of all, that exist on this machine."""
    wanted = CLIENTS if client is None else (client,)
    paths = [
        base / name
        for each in wanted
        for base, names in ((home, _HOME[each]), (project, _PROJECT[each]))
        for name in names
    ]
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def read_client(path: Path, home: Path) -> list[Entry]:
    """The servers that the file lists. Raises ConfigError for a file that cannot be read.

    A list that is not of one project has no folder to put for ``${workspaceFolder}``: the client
    means whichever is open. It becomes the variable ``WORKSPACE``, which the user has to set.
    """
    document = _document(path)
    return [
        Entry(name, _ours(definition, path, home), path)
        for name, definition in _listed(document)
        if isinstance(definition, dict)
    ]


def _document(path: Path) -> JsonObject:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".toml":
            return tomllib.loads(text)
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or no TOML
        raise ConfigError(str(path), [Problem("", f"cannot be read: {error}")]) from error
    parsed = jsonc.parse(text)
    if not isinstance(parsed.value, dict):
        raise ConfigError(str(path), parsed.problems or [Problem("", "must be an object")])
    return parsed.value


def _listed(document: JsonObject) -> Iterator[tuple[str, Json]]:
    for key in _LISTS:
        servers = document.get(key)
        if isinstance(servers, dict):
            yield from servers.items()
    inner = document.get("mcp")  # the settings of VS Code
    if isinstance(inner, dict):
        yield from _listed(inner)
    projects = document.get("projects")  # Claude Code: servers of one directory
    for project in projects.values() if isinstance(projects, dict) else ():
        if isinstance(project, dict):
            yield from _listed({"mcpServers": project.get("mcpServers")})


def _ours(definition: JsonObject, path: Path, home: Path) -> JsonObject:
    """The definition with variables as this program writes them."""
    workspace = _workspace(path, home)

    def replacement(match: re.Match[str]) -> str:
        kind, name = match[1], match[2]
        if kind == "env":
            return f"${{{name}}}"
        if kind == "input":
            return f"${{{variable_name(name)}}}"
        return str(home) if "userHome" in match[0] else workspace

    def translated(value: Json) -> Json:
        if isinstance(value, str):
            return _CLIENT_VARIABLE.sub(replacement, value)
        if isinstance(value, list):
            return [translated(item) for item in value]
        if isinstance(value, dict):
            return {key: translated(item) for key, item in value.items()}
        return value

    return {key: translated(value) for key, value in definition.items()}


def _workspace(path: Path, home: Path) -> str:
    """What ``${workspaceFolder}`` is in a list: the project's folder, else a variable of ours."""
    # A list of a project is in a directory of the project, as .vscode/mcp.json
    project = path.parent.parent if path.parent.name.startswith(".") else path.parent
    of_home = {home / name for names in _HOME.values() for name in names}
    return f"${{{WORKSPACE}}}" if project == home or path in of_home else str(project)


def variable_name(text: str) -> str:
    """A name for an environment variable made of the text: ``--api-key`` -> ``API_KEY``."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").upper() or "VALUE"
    return words if not words[0].isdigit() else f"_{words}"
