"""``mcproxy import [CLIENT|FILE] [--write] [--undo]``: takes over the servers of other MCP clients.

What is to be done is decided by ``adopt``; here it is shown, written, and undone. No secret is
printed: values of variables and headers are not shown at all, and the rest passes the ``Redactor``.
"""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from mcproxy.commands.adopt import Added, Adoption, adopt
from mcproxy.commands.clients import CLIENTS, WORKSPACE, Entry, files, read_client
from mcproxy.commands.files import keep_copy, last_copy, replace_file, with_block, without_block
from mcproxy.commands.json_edit import with_members
from mcproxy.commands.report import PROBLEMS, USAGE, CommandReport
from mcproxy.config.load import read_document
from mcproxy.config.migrate import is_v1
from mcproxy.errors import ConfigError
from mcproxy.observe.redact import Redactor
from mcproxy.types import Json

BEFORE = ".before-import"
_BACKUP = ".bak"
_PRIVATE = 0o600
_HINT = "nothing is written; add --write to write it (--undo takes it back)"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where clients keep their files: the user's home, the project in which the command runs; and
    the variables of the environment, which win over those of ``.env``."""

    home: Path
    project: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def run(
    source: str | None, config: Path, machine: Machine, *, write: bool = False
) -> CommandReport:
    """Show the servers of a client, of a file, or of all clients (None), that ``config`` lacks.

    With ``write`` add them to it, and their secrets to the ``.env`` beside it. Raises ConfigError
    where a file cannot be understood, OSError where one cannot be written.
    """
    if source is None or source in CLIENTS:
        paths = files(source, machine.home, machine.project)
    elif (path := Path(source).expanduser()).is_file():
        paths = [path]
    else:
        known = ", ".join(CLIENTS)
        return CommandReport((f"{source!r} is no client ({known}) and no file",), USAGE)
    if not paths:
        return CommandReport((f"no server list of {source or 'any client'} is on this machine",))
    document = read_document(config) if config.exists() else {}
    if is_v1(document):
        hint = f"bring it to v2 first: `mcproxy migrate {config} --write`"
        return CommandReport((f"{config}: is a v1 file; {hint}",), PROBLEMS)
    entries, unreadable = _entries(paths, machine.home)
    present = document.get("servers")
    adoption = adopt(
        entries,
        present if isinstance(present, dict) else {},
        stored_variables(config),
        machine.environment,
    )
    if write and adoption.added:
        done = _write(config, adoption)
    else:
        done = _HINT if adoption.added else "nothing to add"
    secrets = {*adoption.variables.values(), *stored_variables(config).values()}
    lines = list(lines_of(paths, adoption))
    text = Redactor(secrets).text("\n".join([*lines, *unreadable, done]))
    return CommandReport(tuple(text.splitlines()), PROBLEMS if unreadable else 0)


def undo(config: Path) -> CommandReport:
    """Take back the last import: the configuration as it was, without the variables added then.

    The configuration as it is now is kept as ``CONFIG.bak``. Raises OSError.
    """
    before = last_copy(config, BEFORE)
    if before is None:
        return CommandReport((f"{config}: no import to undo",), PROBLEMS)
    kept = keep_copy(config, _BACKUP) if config.exists() else None
    text = before.read_text(encoding="utf-8")
    if text:
        replace_file(config, text)
    else:  # there was no configuration
        config.unlink(missing_ok=True)
    env = config.parent / ".env"
    if env.exists():
        left = without_block(env.read_text(encoding="utf-8"), _title(before))
        if left:
            replace_file(env, left)
        else:
            env.unlink()
    before.unlink()
    lines = [f"{config}: is as it was before the import"]
    return CommandReport((*lines, *([f"what it was until now is {kept}"] if kept else [])))


def _entries(paths: list[Path], home: Path) -> tuple[list[Entry], list[str]]:
    """The servers of all files, and what is wrong with those that cannot be read."""
    entries: list[Entry] = []
    problems: list[str] = []
    for path in paths:
        try:
            entries += read_client(path, home)
        except ConfigError as error:
            problems.append(str(error))
    return entries, problems


def _write(config: Path, adoption: Adoption) -> str:
    config.parent.mkdir(parents=True, exist_ok=True)
    config.touch()
    text = config.read_text(encoding="utf-8-sig")
    before = keep_copy(config, BEFORE)
    if adoption.variables:  # first, so that the configuration never names a variable that is not
        env = config.parent / ".env"
        old = env.read_text(encoding="utf-8") if env.exists() else ""
        replace_file(env, with_block(old, _title(before), adoption.variables), mode=_PRIVATE)
    servers: dict[str, Json] = {each.name: each.definition for each in adoption.added}
    replace_file(config, with_members(text, ("servers",), servers))
    return f"{config}: {len(servers)} servers added; `mcproxy import --undo` takes them back"


def _title(before: Path) -> str:
    """What ties the block in ``.env`` to the copy of the configuration."""
    return f"mcproxy import ({before.name})"


def stored_variables(config: Path) -> dict[str, str]:
    """The variables of the ``.env`` beside a configuration."""
    path = config.parent / ".env"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}


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
