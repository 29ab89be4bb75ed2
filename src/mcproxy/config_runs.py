"""What the commands about the configuration do with what was typed; each gives its exit status.
Nothing here prints or exits.

Each imports what it needs when it runs, so that the command line stays quick and the guardian,
which forks first, stays small.
"""

# ruff: noqa: PLC0415

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mcproxy.commands.chosen import (
    config_path,
    environment,
    lasting_command,
    load_chosen,
    state,
)
from mcproxy.commands.report import GOOD, PROBLEMS, CommandReport, WrongUsage
from mcproxy.commands.screen import Screen
from mcproxy.types import JsonObject

if TYPE_CHECKING:
    from mcproxy.commands.connect import CommandPlace
    from mcproxy.commands.edit_servers import NewServer
    from mcproxy.commands.imports import Machine
    from mcproxy.commands.registry import Input

REGISTRY_VARIABLE = "MCPROXY_REGISTRY"
_REGISTRY = "registry:"


def _told(report: CommandReport, screen: Screen, arguments: argparse.Namespace) -> int:
    if arguments.json:
        screen.json(report.facts)
    else:
        screen.line(report.text)
    return report.status


def check(arguments: argparse.Namespace, screen: Screen) -> int:
    """Whether the configuration is good."""
    from mcproxy.commands.tool_verdicts import doubts, known_tools
    from mcproxy.config.inherit import all_namespaces
    from mcproxy.policy.verifier import authority_of

    path = arguments.path or config_path(arguments)
    loaded = load_chosen(path)
    authority_of(loaded)  # what cannot run here is not good
    config = loaded.config
    shown, namespaces = str(path or "bundled demo"), len(all_namespaces(config))
    told = (*loaded.notes, *doubts(config, known_tools(loaded, state())))
    notes = [f"note: {note}" for note in told]
    lacking = {name: str(why) for name, why in loaded.unconfigured.items()}
    lines = [f"unconfigured: {name}: {why}" for name, why in lacking.items()]
    summary = f"{shown}: good; {_counted(len(config.servers), 'server')}, "
    summary += _counted(namespaces, "namespace")
    facts: JsonObject = {
        "file": shown,
        "servers": len(config.servers),
        "namespaces": namespaces,
        "notes": [*told],
        "unconfigured": {**lacking},
    }
    return _told(CommandReport((*notes, *lines, summary), facts=facts), screen, arguments)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def schema(arguments: argparse.Namespace, screen: Screen) -> int:
    """The JSON Schema of the configuration."""
    from mcproxy.config.editor_schema import json_schema

    del arguments
    screen.line(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return GOOD


def migrate(arguments: argparse.Namespace, screen: Screen) -> int:
    """A version 2 file of a version 1 file."""
    from mcproxy.commands import migrate

    return _told(migrate.run(arguments.path, write=arguments.write), screen, arguments)


def namespaces(arguments: argparse.Namespace, screen: Screen) -> int:
    """Who reaches what."""
    from mcproxy.commands import namespaces
    from mcproxy.commands.tool_verdicts import known_tools

    loaded = load_chosen(config_path(arguments))
    tools = known_tools(loaded, state())
    return _told(namespaces.run(loaded.config, arguments.name, tools), screen, arguments)


def import_(arguments: argparse.Namespace, screen: Screen) -> int:
    """The servers of other clients."""
    from mcproxy.commands import imports
    from mcproxy.config.load import DEFAULT_FILES

    target = config_path(arguments) or Path(DEFAULT_FILES[0])
    machine = _machine()
    if arguments.undo:
        return _told(imports.undo(target, machine), screen, arguments)
    report = imports.run(arguments.source, target, machine, write=arguments.write)
    return _told(report, screen, arguments)


def _machine() -> "Machine":
    from mcproxy.commands.imports import Machine

    return Machine(Path.home(), Path.cwd(), state(), environment())


def stubs(arguments: argparse.Namespace, screen: Screen) -> int:
    """Typed stubs of all tools."""
    from mcproxy import trial
    from mcproxy.commands import stubs
    from mcproxy.policy.access import policy_of

    loaded = load_chosen(config_path(arguments))
    settings = loaded.config.manifests.typed_stub_generation
    output = arguments.output or Path(settings.output_dir)
    policy = policy_of(loaded.config)
    learned = partial(stubs.learned_before, loaded)
    report = stubs.run(lambda: trial.learn(loaded), policy, output, settings.languages, learned)
    return _told(report, screen, arguments)


def doctor(arguments: argparse.Namespace, screen: Screen) -> int:
    """Whether all that a gateway needs is there."""
    from mcproxy import trial
    from mcproxy.commands import doctor

    path = config_path(arguments)
    place = doctor.Location(arguments.host, arguments.port, state())
    way = doctor.Way(lambda: load_chosen(path), trial.attempt)
    return doctor.run(path, way, place, screen, as_json=arguments.json)


def login(arguments: argparse.Namespace, screen: Screen) -> int:
    """A login at a remote server."""
    from mcproxy import login

    way = login.LoginWay(arguments.redirect_port, browser=not arguments.no_browser)
    report = login.run(load_chosen(config_path(arguments)), arguments.server, way)
    return _told(report, screen, arguments)


def connect(arguments: argparse.Namespace, screen: Screen) -> int:
    """The gateway stands before the servers of a client, or no longer."""
    from mcproxy.commands import connect

    place = _place(arguments)
    if arguments.undo:
        return _told(connect.undo(arguments.client, place), screen, arguments)
    file = connect.file_of(arguments.client, place)
    if file is None:
        raise WrongUsage(f"{arguments.client!r} is no client that is known, and no file")
    found = connect.plan(file, place)
    if not arguments.json:
        connect.show(found, screen)
    if found.texts and not (arguments.yes or arguments.json) and _declined(screen):
        return PROBLEMS
    if found.texts:
        connect.carry_out(found, place)
    if arguments.json:
        screen.json(connect.report(found, place))
    else:
        screen.line(connect.in_words(found, arguments.client))
    return GOOD


def _declined(screen: Screen) -> bool:
    """Whether the person at the terminal, if there is one, does not want it."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    screen.raw("Write these files? [y/N] ")
    return sys.stdin.readline().strip().lower() not in ("y", "yes")


def _place(arguments: argparse.Namespace) -> "CommandPlace":
    from mcproxy.commands.client_files import GatewayEntry
    from mcproxy.commands.connect import CommandPlace
    from mcproxy.config.load import DEFAULT_FILES

    config = (config_path(arguments) or Path(DEFAULT_FILES[0])).absolute()
    command = (*lasting_command(), "--stdio", "--config", str(config))
    entry = GatewayEntry(command, getattr(arguments, "http", None))
    return CommandPlace(config, _machine(), sys.platform, entry)


def add(arguments: argparse.Namespace, screen: Screen) -> int:
    """The configuration has a server more, which was tried."""
    from mcproxy.commands import edit_servers
    from mcproxy.commands.undo import change

    if arguments.undo:
        return _undo_edit(arguments, screen)
    place = _place(arguments)
    try:
        new = _new_server(arguments, place)
    except ValueError as error:
        raise WrongUsage(f"add: {error}") from error
    texts = edit_servers.with_server(place.config, new, place.machine.environment)
    change(place.machine.state, f"edit {place.config}", texts, place.config.parent / ".env")
    if not arguments.json:
        screen.line(f"{place.config}: {new.name} is added; `mcproxy add --undo` takes it back")
    if arguments.no_doctor:
        if arguments.json:
            screen.json({"added": new.name, "configuration": str(place.config)})
        return GOOD
    return _try_server(place.config, new.name, screen, as_json=arguments.json)


def _new_server(arguments: argparse.Namespace, place: "CommandPlace") -> "NewServer":
    """The server that is meant. Raises ValueError, CannotChange."""
    from mcproxy.commands import registry
    from mcproxy.commands.edit_servers import Pairs, Reached, typed
    from mcproxy.config.hosts import is_http_url

    name: str | None = arguments.name
    if not name:
        raise ValueError("a NAME is needed, or registry:ID")
    pairs = Pairs(arguments.env, arguments.header)
    if not name.startswith(_REGISTRY):
        description = arguments.openapi
        if description and not is_http_url(description):
            description = str(Path(description).expanduser().resolve())
        how = Reached(arguments.rest, arguments.url, description, arguments.base_url)
        return typed(name, how, pairs)
    base = arguments.registry or place.machine.environment.get(REGISTRY_VARIABLE)
    if not base:
        raise ValueError(f"--registry URL says which registry, or {REGISTRY_VARIABLE}")
    entry = registry.fetch(base, name.removeprefix(_REGISTRY))
    found = registry.offered(entry, arguments.as_name)
    given = {**place.machine.environment, **pairs.values}
    return registry.filled(found, given, _asked if sys.stdin.isatty() else None)


def _asked(wanted: "Input") -> str:
    """What the person at the terminal says."""
    import getpass

    about = f" ({wanted.description})" if wanted.description else ""
    prompt = f"{wanted.variable}{about}: "
    return getpass.getpass(prompt) if wanted.secret else input(prompt)


def _try_server(config: Path, name: str, screen: Screen, *, as_json: bool) -> int:
    from mcproxy import trial
    from mcproxy.commands import doctor

    loaded = load_chosen(config)
    return doctor.run_for_server(loaded, name, trial.attempt, screen, as_json=as_json)


def remove(arguments: argparse.Namespace, screen: Screen) -> int:
    """The configuration has a server less."""
    from mcproxy.commands.edit_servers import without_server
    from mcproxy.commands.undo import change

    if arguments.undo:
        return _undo_edit(arguments, screen)
    if not arguments.name:
        raise WrongUsage("remove: a NAME is needed")
    place = _place(arguments)
    change(
        place.machine.state,
        f"edit {place.config}",
        without_server(place.config, arguments.name),
        None,
    )
    if arguments.json:
        screen.json({"removed": arguments.name, "configuration": str(place.config)})
    else:
        done = f"{arguments.name} is taken out; `mcproxy remove --undo` puts it back"
        screen.line(f"{place.config}: {done}")
    return GOOD


def _undo_edit(arguments: argparse.Namespace, screen: Screen) -> int:
    from mcproxy.commands.undo import take_back

    place = _place(arguments)
    report = take_back(place.machine.state, f"edit {place.config}")
    return _told(report, screen, arguments)
