"""``mcproxy import [CLIENT|FILE] [--write] [--undo]``: takes over the servers of other MCP clients.

What is to be done is decided by ``adopt``; here it is shown, and written in a way that ``undo`` can
take back. No secret is printed: values of variables and headers are not shown at all, and the rest
passes the ``Redactor``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mcproxy.commands.adopt import Added, Adoption, adopt
from mcproxy.commands.clients import CLIENTS, WORKSPACE, Entry, files, read_client
from mcproxy.commands.edit_servers import servers_of, with_servers
from mcproxy.commands.files import stored_variables
from mcproxy.commands.report import GOOD, PROBLEMS, CommandReport, WrongUsage
from mcproxy.commands.undo import change, take_back
from mcproxy.errors import ConfigError
from mcproxy.observe.redact import Redactor
from mcproxy.types import JsonObject

_HINT = "nothing is written; add --write to write it (--undo takes it back)"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where clients keep their files: the user's home, the project in which the command runs; the
    directory of our state; and the variables of the environment, which win over those of ``.env``.
    """

    home: Path
    project: Path
    state: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def run(
    source: str | None, config: Path, machine: Machine, *, write: bool = False
) -> CommandReport:
    """Show the servers of a client, of a file, or of all clients (None), that ``config`` lacks.

    With ``write`` add them to it, and their secrets to the ``.env`` beside it. Raises WrongUsage,
    CannotChange, ConfigError, OSError.
    """
    paths = _paths(source, machine)
    _, present = servers_of(config)
    entries, unreadable = _entries(paths, machine.home)
    stored = stored_variables(config)
    adoption = adopt(entries, present, stored, machine.environment)
    written = write and bool(adoption.added)
    if written:
        servers: JsonObject = {each.name: each.definition for each in adoption.added}
        texts = with_servers(config, servers, adoption.variables, "mcproxy import")
        change(machine.state, _subject(config), texts, config.parent / ".env")
        done = f"{config}: {len(servers)} servers added; `mcproxy import --undo` takes them back"
    elif not paths:
        done = f"no server list of {source or 'any client'} is on this machine"
    else:
        done = _HINT if adoption.added else "nothing to add"
    masked = Redactor({*adoption.variables.values(), *stored.values()})
    lines = masked.text("\n".join([*lines_of(paths, adoption), *unreadable, done]))
    facts: JsonObject = {
        "configuration": str(config),
        "written": written,
        "lists": [str(path) for path in paths],
        "added": [each.name for each in adoption.added],
        "left_out": [
            {"name": each.origin.name, "reason": masked.text(each.reason)}
            for each in adoption.left_out
        ],
        "variables": list(adoption.variables),
        "unreadable": [*unreadable],
    }
    return CommandReport(tuple(lines.splitlines()), PROBLEMS if unreadable else GOOD, facts)


def undo(config: Path, machine: Machine) -> CommandReport:
    """Take back the last import, byte for byte. Raises CannotUndo, OSError."""
    return take_back(machine.state, _subject(config))


def _subject(config: Path) -> str:
    return f"import {config.absolute()}"


def _paths(source: str | None, machine: Machine) -> list[Path]:
    """The lists that are meant and exist. Raises WrongUsage."""
    if source is None or source in CLIENTS:
        return files(source, machine.home, machine.project)
    path = Path(source).expanduser()
    if not path.is_file():
        raise WrongUsage(f"{source!r} is no client ({', '.join(CLIENTS)}) and no file")
    return [path]


def _entries(paths: Sequence[Path], home: Path) -> tuple[list[Entry], list[str]]:
    """The servers of all files, and what is wrong with those that cannot be read."""
    entries: list[Entry] = []
    problems: list[str] = []
    for path in paths:
        try:
            entries += read_client(path, home)
        except ConfigError as error:
            problems.append(str(error))
    return entries, problems


def lines_of(paths: list[Path], adoption: Adoption) -> Iterator[str]:
    """What is to be done, a line each: a name or an argument of another's file is no line of
    ours."""
    for line in _lines(paths, adoption):
        yield line.replace("\n", " ").replace("\r", " ")


def _lines(paths: list[Path], adoption: Adoption) -> Iterator[str]:
    for path in paths:
        yield str(path)
        for added in adoption.added:
            if added.origin.origin == path:
                yield from _added(added)
        for left_out in adoption.left_out:
            if left_out.origin.origin == path:
                yield f"  - {left_out.origin.name}: {left_out.reason}"


def _added(added: Added) -> Iterator[str]:
    definition = added.definition
    args = definition.get("args")
    words = [definition.get("command"), *(args if isinstance(args, list) else [])]
    yield f"  + {added.name}: {definition.get('url') or ' '.join(map(str, words))}"
    for place, variable in added.moved.items():
        yield f"      {place}: its secret moves into .env as {variable}"
    if f"${{{WORKSPACE}}}" in json.dumps(definition):
        yield f"      set {WORKSPACE} in .env: the folder it may use; its client means the open one"
    if added.dropped:
        yield f"      not taken over: {', '.join(added.dropped)}"
