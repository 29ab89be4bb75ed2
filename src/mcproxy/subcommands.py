"""The sub-commands: their arguments, and what each runs. Nothing here prints or exits.

Each imports what it needs when it runs, so that the command line stays quick and the guardian,
which forks first, stays small.
"""

# ruff: noqa: PLC0415

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mcproxy.commands.report import CommandReport

if TYPE_CHECKING:
    from mcproxy.config.load import Loaded

Add = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace], CommandReport]


@dataclass(frozen=True, slots=True)
class Subcommand:
    """``starts_servers``: it runs under the guardian, so that nothing of them is left."""

    name: str
    about: str
    add_arguments: Add
    run: Run
    starts_servers: bool = False


def config_path(arguments: argparse.Namespace) -> Path | None:
    """The configuration that was named, else the first default that exists, else None."""
    from mcproxy.config.load import default_path

    named: Path | None = getattr(arguments, "config", None)
    return named or default_path(Path.cwd())


def load_chosen(path: Path | None) -> "Loaded":
    """Load a configuration, or the bundled demo. Raises ConfigError."""
    from mcproxy.config.load import load, load_document
    from mcproxy.demo.config import demo_config

    return load(path) if path else load_document(demo_config(sys.executable))


def port(text: str) -> int:
    """A TCP port from the command line; 0 is a free one. Raises ArgumentTypeError, ValueError."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not from 0 to 65535")
    return number


def _add_nothing(command: argparse.ArgumentParser) -> None:
    del command


def _add_path(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", nargs="?", type=Path, metavar="PATH")


def _add_migrate(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", type=Path, metavar="PATH")
    command.add_argument("--write", action="store_true", help="write it, keep PATH.bak")


def _add_import(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", nargs="?", help="claude, cursor, vscode, codex or a file")
    command.add_argument("--write", action="store_true", help="write it, keep a backup")
    command.add_argument("--undo", action="store_true", help="put the last backup back")


def _add_stubs(command: argparse.ArgumentParser) -> None:
    command.add_argument("--output", type=Path, metavar="DIR", help="where to write them")


def _add_doctor(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="as JSON")


def _add_login(command: argparse.ArgumentParser) -> None:
    command.add_argument("server", metavar="SERVER", help="its name in the configuration")
    command.add_argument("--no-browser", action="store_true", help="print the address only")
    command.add_argument(
        "--port",
        type=port,
        default=0,
        dest="redirect_port",
        help="of 127.0.0.1, where the browser comes back (default: a free one)",
    )


def _add_namespaces(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", nargs="?", metavar="NAME", help="a namespace, group or server")


def _check(arguments: argparse.Namespace) -> CommandReport:
    from mcproxy.config.inherit import all_namespaces
    from mcproxy.policy.verifier import authority_of

    path = arguments.path or config_path(arguments)
    loaded = load_chosen(path)
    authority_of(loaded)  # what cannot run here is not good
    config = loaded.config
    summary = (
        f"{path or 'bundled demo'}: good; {len(config.servers)} servers, "
        f"{len(all_namespaces(config))} namespaces"
    )
    notes = [f"note: {note}" for note in loaded.notes]
    lacking = [f"unconfigured: {name}: {why}" for name, why in loaded.unconfigured.items()]
    return CommandReport((*notes, *lacking, summary))


def _schema(arguments: argparse.Namespace) -> CommandReport:
    from mcproxy.config.model import json_schema

    del arguments
    return CommandReport((json.dumps(json_schema(), indent=2, ensure_ascii=False),))


def _migrate(arguments: argparse.Namespace) -> CommandReport:
    from mcproxy.commands import migrate

    return migrate.run(arguments.path, write=arguments.write)


def _namespaces(arguments: argparse.Namespace) -> CommandReport:
    from mcproxy.commands import namespaces

    return namespaces.run(load_chosen(config_path(arguments)).config, arguments.name)


def _import(arguments: argparse.Namespace) -> CommandReport:
    from mcproxy.commands import imports
    from mcproxy.config.load import DEFAULT_FILES, load_document

    target = config_path(arguments) or Path(DEFAULT_FILES[0])
    if arguments.undo:
        return imports.undo(target)
    environment = load_document({}).environment
    machine = imports.Machine(Path.home(), Path.cwd(), environment)
    return imports.run(arguments.source, target, machine, write=arguments.write)


def _stubs(arguments: argparse.Namespace) -> CommandReport:
    from mcproxy import trial
    from mcproxy.commands import stubs
    from mcproxy.policy.access import policy_of

    loaded = load_chosen(config_path(arguments))
    settings = loaded.config.manifests.typed_stub_generation
    output = arguments.output or Path(settings.output_dir)
    policy = policy_of(loaded.config)
    return stubs.run(lambda: trial.learn(loaded), policy, output, settings.languages)


def _doctor(arguments: argparse.Namespace) -> CommandReport:
    from mcproxy import trial
    from mcproxy.commands import doctor
    from mcproxy.config.load import load_document
    from mcproxy.config.state import state_directory

    path = config_path(arguments)
    state = state_directory(load_document({}).environment)
    place = doctor.Location(arguments.host, arguments.port, state)
    return doctor.run(path, lambda: load_chosen(path), trial.attempt, place, as_json=arguments.json)


def _login(arguments: argparse.Namespace) -> CommandReport:
    from mcproxy import login

    way = login.LoginWay(arguments.redirect_port, browser=not arguments.no_browser)
    return login.run(load_chosen(config_path(arguments)), arguments.server, way)


SUBCOMMANDS: tuple[Subcommand, ...] = (
    Subcommand("check", "validate the configuration, all problems at once", _add_path, _check),
    Subcommand("namespaces", "who reaches what, and why", _add_namespaces, _namespaces),
    Subcommand("doctor", "try the sandbox and every server", _add_doctor, _doctor, True),
    Subcommand("schema", "print the configuration's JSON Schema", _add_nothing, _schema),
    Subcommand("stubs", "write typed stubs of all tools", _add_stubs, _stubs, True),
    Subcommand("import", "take over the servers of another client", _add_import, _import),
    Subcommand("migrate", "bring a version 1 configuration to version 2", _add_migrate, _migrate),
    Subcommand("login", "log in to a remote server (OAuth)", _add_login, _login),
)
