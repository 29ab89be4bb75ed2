"""``mcproxy connect CLIENT [--undo]``: the client's servers move into the configuration, their
secrets into ``.env``, and the client keeps one server: this gateway.

What cannot be taken over stays with the client. No secret is printed.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mcproxy.commands.adopt import Adoption, adopt
from mcproxy.commands.client_files import (
    ClientFile,
    GatewayEntry,
    client_file,
    connected,
    restored,
)
from mcproxy.commands.clients import read_client
from mcproxy.commands.edit_servers import servers_of, with_servers
from mcproxy.commands.files import file_text, stored_variables
from mcproxy.commands.imports import Machine, lines_of
from mcproxy.commands.layout import layout
from mcproxy.commands.report import CommandReport
from mcproxy.commands.screen import Screen
from mcproxy.commands.undo import change, take_back
from mcproxy.observe.redact import Redactor
from mcproxy.types import JsonObject

_TITLE = "mcproxy connect"


@dataclass(frozen=True, slots=True)
class Connection:
    """What is to become of the files: their new texts, that of ``.env`` first if it changes."""

    file: ClientFile
    texts: Mapping[Path, str]
    adoption: Adoption
    env: Path
    values: frozenset[str] = field(repr=False)

    @property
    def secrets(self) -> set[str]:
        """What must not be shown: of variables and headers, no value is."""
        return {*self.adoption.variables.values(), *self.values}


class CommandPlace(msgspec.Struct, frozen=True):
    """Where things lie: the configuration, the machine, and how we are started."""

    config: Path
    machine: Machine
    platform: str
    entry: GatewayEntry


def file_of(client: str, place: CommandPlace) -> ClientFile | None:
    """The file of this client."""
    return client_file(client, place.machine.home, place.platform)


def plan(file: ClientFile, place: CommandPlace) -> Connection:
    """Decide what to do. Raises CannotChange, CannotEdit, ConfigError, OSError."""
    config, machine = place.config, place.machine
    _, present = servers_of(config)
    entries = read_client(file.path, machine.home) if file.path.exists() else []
    adoption = adopt(entries, present, stored_variables(config), machine.environment)
    taken = {each.origin.name for each in adoption.added}
    taken |= {each.origin.name for each in adoption.left_out if each.served}
    taken -= {each.origin.name for each in adoption.left_out if not each.served}
    servers = {each.name: each.definition for each in adoption.added}
    title = f"{_TITLE} ({file.path.name})"
    texts = with_servers(config, servers, adoption.variables, title)
    if place.entry.url is None and not config.exists():  # what the client starts needs the file
        texts.setdefault(config, layout({"servers": {}}) + "\n")
    texts[file.path] = connected(file_text(file.path), file, taken, place.entry)
    changed = {path: text for path, text in texts.items() if text != file_text(path)}
    values = frozenset(value for entry in entries for value in _values(entry.definition))
    return Connection(file, changed, adoption, config.parent / ".env", values)


def _values(definition: JsonObject) -> Iterator[str]:
    """The values of a server's variables and headers, under whatever name the client has them."""
    for key in ("env", "environment", "headers", "http_headers"):
        members = definition.get(key)
        for value in members.values() if isinstance(members, dict) else ():
            if isinstance(value, str) and "${" not in value:
                yield value


def show(found: Connection, screen: Screen) -> None:
    """Show what will become of each file, but not the values of ``.env``."""
    for line in _masked(found, lines_of([found.file.path], found.adoption)):
        screen.line(line)
    for path, text in found.texts.items():
        if path == found.env:
            screen.line(f"{path}: {', '.join(found.adoption.variables)}")
            continue
        for line in _masked(found, _difference(path, text)):
            style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
            screen.line(line, style)


def carry_out(found: Connection, place: CommandPlace) -> None:
    """Write the files. Raises OSError."""
    change(place.machine.state, _subject(found.file), found.texts, found.env)


def undo(client: str, place: CommandPlace) -> CommandReport:
    """Put all files back as they were before the client was connected. Raises CannotUndo."""
    file = file_of(client, place) or ClientFile(Path(client).expanduser(), ("mcpServers",), "url")

    def merge(before: str, now: str) -> str | None:
        # Clients write their files at any time; what is not a list of servers is theirs.
        return restored(before, now, file)

    return take_back(place.machine.state, _subject(file), {file.path.absolute(): merge})


def in_words(found: Connection, client: str) -> str:
    """What was done, and how to take it back."""
    if not found.texts:
        return f"{found.file.path}: has the gateway alone already; nothing to do"
    moved, left = len(found.adoption.added), _staying(found)
    stay = f"; {', '.join(left)} stay with the client" if left else ""
    return (
        f"{found.file.path}: connected, {moved} servers taken over{stay}; restart the client. "
        f"`mcproxy connect {client} --undo` takes it back"
    )


def _staying(found: Connection) -> list[str]:
    return [each.origin.name for each in found.adoption.left_out if not each.served]


def report(found: Connection, place: CommandPlace) -> JsonObject:
    """The same as facts, for ``--json``."""
    return {
        "client": str(found.file.path),
        "configuration": str(place.config.absolute()),
        "added": [each.name for each in found.adoption.added],
        "left": [*_staying(found)],
        "variables": list(found.adoption.variables),
        "changed": [str(path) for path in found.texts],
    }


def _subject(file: ClientFile) -> str:
    return f"connect {file.path.absolute()}"


def _difference(path: Path, text: str) -> Iterator[str]:
    return difflib.unified_diff(
        file_text(path).splitlines(), text.splitlines(), str(path), str(path), lineterm="", n=2
    )


def _masked(found: Connection, lines: Iterator[str]) -> list[str]:
    return Redactor(found.secrets).text("\n".join(lines)).splitlines()
