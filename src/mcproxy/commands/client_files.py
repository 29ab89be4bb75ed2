"""The files of MCP clients as they are edited: where each keeps its servers, what an entry for this
gateway looks like there, and a list that has that entry alone. Pure, but for which files exist.
"""

import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from mcproxy.commands.json_edit import find, with_members, without
from mcproxy.config import jsonc
from mcproxy.errors import McproxyError
from mcproxy.types import Json, JsonObject

NAME = "mcproxy"

Keys: TypeAlias = tuple[str, ...]
Shape: TypeAlias = Literal["typed", "url", "serverUrl", "httpUrl", "toml", "command"]


class ClientFile(msgspec.Struct, frozen=True):
    """A client's list: the object ``keys`` of the file, and how it writes a server."""

    path: Path
    keys: Keys
    shape: Shape


class GatewayEntry(msgspec.Struct, frozen=True):
    """How a client reaches the gateway: by the URL if there is one, else it starts the command."""

    command: tuple[str, ...]
    url: str | None = None


class CannotEdit(McproxyError):
    """The file cannot be changed without harm; nothing was."""


# Relative to the home directory; the first that is there, else the first that this system has.
_FILES: Mapping[str, tuple[Keys, Shape, tuple[str, ...]]] = {
    "claude": (
        ("mcpServers",),
        "command",  # Claude Desktop starts servers only
        (
            ".config/Claude/claude_desktop_config.json",
            "Library/Application Support/Claude/claude_desktop_config.json",
        ),
    ),
    "claude-code": (("mcpServers",), "typed", (".claude.json",)),
    "cursor": (("mcpServers",), "url", (".cursor/mcp.json",)),
    "vscode": (
        ("servers",),
        "typed",
        (".config/Code/User/mcp.json", "Library/Application Support/Code/User/mcp.json"),
    ),
    "codex": (("mcp_servers",), "toml", (".codex/config.toml",)),
    "windsurf": (("mcpServers",), "serverUrl", (".codeium/windsurf/mcp_config.json",)),
    "gemini": (("mcpServers",), "httpUrl", (".gemini/settings.json",)),
}
_LISTS: tuple[Keys, ...] = (("mcpServers",), ("servers",), ("mcp", "servers"))
_HEADER = re.compile(r"^[ \t]*\[\[?([^\[\]\n]+)\]\]?[ \t]*(?:#.*)?$")


def client_file(client: str, home: Path, platform: str) -> ClientFile | None:
    """The file of a client, or that at a path; None where it is neither."""
    if client not in _FILES:
        path = Path(client).expanduser()
        return _unknown(path) if path.is_file() else None
    keys, shape, names = _FILES[client]
    paths = [home / name for name in names]
    usual = paths[-1] if platform == "darwin" else paths[0]
    return ClientFile(next((path for path in paths if path.is_file()), usual), keys, shape)


def _unknown(path: Path) -> ClientFile:
    if path.suffix == ".toml":
        return ClientFile(path, ("mcp_servers",), "toml")
    text = path.read_text(encoding="utf-8-sig")
    good = jsonc.parse(text).value is not None
    keys = next((keys for keys in _LISTS if good and find(text, keys)), _LISTS[0])
    return ClientFile(path, keys, "url" if keys == _LISTS[0] else "typed")


def connected(text: str, file: ClientFile, taken: Collection[str], entry: GatewayEntry) -> str:
    """The file's text without the servers ``taken`` over, with the gateway in their place.

    Raises CannotEdit.
    """
    definition = _definition(file.shape, entry)
    if file.shape == "toml":
        return _toml(text, file, taken, definition)
    if text.strip() and not isinstance(jsonc.parse(text).value, dict):
        raise CannotEdit(f"{file.path} is no JSON object; nothing was changed")
    try:
        for keys in lists(text, file):
            for name in (*taken, NAME):
                text = without(text, (*keys, name))
        return with_members(text, file.keys, {NAME: definition})
    except TypeError as error:
        raise CannotEdit(f"{file.path}: {error}; nothing was changed") from error


def lists(text: str, file: ClientFile) -> list[Keys]:
    """Every list of servers in the text: Claude Code has one for each project, too."""
    document = jsonc.parse(text).value if text.strip() else {}
    projects = document.get("projects") if isinstance(document, dict) else None
    names = projects if isinstance(projects, dict) else {}
    own = [("projects", name, "mcpServers") for name in names]
    return [keys for keys in dict.fromkeys((file.keys, *_LISTS, *own)) if text and find(text, keys)]


def restored(before: str, now: str, file: ClientFile) -> str | None:
    """The text as it is now, with the lists of servers that it had before; None for TOML."""
    if file.shape == "toml":
        return None
    for keys in lists(now, file):
        if find(before, keys) is None:
            now = without(now, keys)
    for keys in lists(before, file):
        old = find(before, keys)
        there = find(now, keys)
        if old and there:
            now = now[: there.value] + before[old.value : old.end] + now[there.end :]
        elif old:
            value: Json = jsonc.parse(before[old.value : old.end]).value
            now = with_members(now, keys[:-1], {keys[-1]: value})
    return now


def _definition(shape: Shape, entry: GatewayEntry) -> JsonObject:
    program, *arguments = entry.command
    command: JsonObject = {"command": program, "args": [*arguments]}
    if entry.url is None:
        return {"type": "stdio", **command} if shape == "typed" else command
    match shape:
        case "typed":
            return {"type": "http", "url": entry.url}
        case "url" | "toml":
            return {"url": entry.url}
        case "serverUrl" | "httpUrl":
            return {shape: entry.url}
        case "command":
            raise CannotEdit("this client starts its servers itself; leave --http out")


def _toml(text: str, file: ClientFile, taken: Collection[str], definition: JsonObject) -> str:
    """The tables of the servers go, that of the gateway comes last; all else stays as it stands."""
    gone = {*taken, NAME}
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CannotEdit(f"{file.path} is no TOML: {error}; nothing was changed") from error
    kept = "".join(_kept_lines(text, file.keys[0], gone)).rstrip()
    values = "".join(f"{key} = {json.dumps(value)}\n" for key, value in definition.items())
    new = f"{kept}\n\n[{file.keys[0]}.{NAME}]\n{values}".lstrip("\n")
    servers = {
        name: value for name, value in document.get(file.keys[0], {}).items() if name not in gone
    }
    wanted = {**document, file.keys[0]: {**servers, NAME: definition}}
    try:
        good = tomllib.loads(new) == wanted
    except tomllib.TOMLDecodeError:
        good = False
    if not good:
        raise CannotEdit(
            f"{file.path} lists its servers otherwise than in tables [{file.keys[0]}.NAME]; "
            "nothing was changed"
        )
    return new


def _kept_lines(text: str, list_key: str, gone: Collection[str]) -> Iterator[str]:
    """The lines outside of these tables; comments before a table are that table's."""
    leaving = False
    pending: list[str] = []
    for line in text.splitlines(keepends=True):
        header = _HEADER.match(line.rstrip("\r\n"))
        if header:
            path = _dotted(header[1])
            leaving = len(path) > 1 and path[0] == list_key and path[1] in gone
        if not header and (not line.strip() or line.lstrip().startswith("#")):
            pending.append(line)
            continue
        if not leaving:
            yield from (*pending, line)
        pending = []
    if not leaving:
        yield from pending


def _dotted(key: str) -> list[str]:
    """The parts of a table's name; none where the line is no header after all."""
    try:
        inner: Json = tomllib.loads(f"[{key}]")
    except tomllib.TOMLDecodeError:
        return []
    parts = []
    while isinstance(inner, dict) and inner:
        ((part, inner),) = inner.items()
        parts.append(part)
    return parts
