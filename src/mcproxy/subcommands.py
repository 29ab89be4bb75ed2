"""The sub-commands: one table, from which the parser, its help, completion and the documentation
are made. What each does stands in ``config_runs`` and ``gateway_runs``.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from mcproxy import config_runs, gateway_runs
from mcproxy.commands.screen import Screen

Add = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace, Screen], int]

CLIENTS = ("claude", "claude-code", "cursor", "vscode", "codex", "windsurf", "gemini")
SHELLS = ("bash", "zsh", "fish")
_SEPARATOR = "--"


class Subcommand(msgspec.Struct, frozen=True):
    """``starts_servers``: it runs under the guardian, so that nothing of them is left. Without
    ``about`` it is for programs, and in no list."""

    name: str
    about: str
    add_arguments: Add
    run: Run
    starts_servers: bool = False


class Parsers(msgspec.Struct, frozen=True):
    """The whole parser, and those of the commands."""

    top: argparse.ArgumentParser
    commands: Mapping[str, argparse.ArgumentParser]


def add_subcommands(
    parser: argparse.ArgumentParser, common: argparse.ArgumentParser
) -> dict[str, argparse.ArgumentParser]:
    """Add all of them to the parser, each with the ``common`` options; gives each one's own."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    added: dict[str, argparse.ArgumentParser] = {}
    for each in SUBCOMMANDS:
        about = each.about
        command = (
            commands.add_parser(each.name, parents=[common], description=about, help=about)
            if about
            else commands.add_parser(each.name, parents=[common])
        )
        each.add_arguments(command)
        command.set_defaults(subcommand=each)
        added[each.name] = command
    return added


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """The arguments as typed. What stands after ``--`` of ``add`` is another program's (``rest``);
    words of a command that takes any number may stand on both sides of an option.

    Raises SystemExit where they make no sense.
    """
    words, rest = list(argv), []
    at = words.index(_SEPARATOR) if _SEPARATOR in words else len(words)
    if "add" in words[:at]:
        words, rest = words[:at], words[at + 1 :]
    arguments, left = parser.parse_known_args(words, argparse.Namespace(rest=rest))
    if left and ("any_words" not in arguments or any(word.startswith("-") for word in left)):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if left:
        arguments.any_words += left
    return arguments


def port(text: str) -> int:
    """A TCP port from the command line; 0 is a free one. Raises ArgumentTypeError, ValueError."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not from 0 to 65535")
    return number


def share(text: str) -> float:
    """A share from the command line. Raises ArgumentTypeError, ValueError."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return number


def _add_nothing(command: argparse.ArgumentParser) -> None:
    del command


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="as JSON")


def _add_path(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", nargs="?", type=Path, metavar="PATH")
    _add_json(command)


def _add_migrate(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", type=Path, metavar="PATH")
    command.add_argument("--write", action="store_true", help="write it, keep PATH.bak")
    _add_json(command)


def _add_import(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", nargs="?", help="claude, cursor, vscode, codex or a file")
    command.add_argument("--write", action="store_true", help="write it")
    command.add_argument("--undo", action="store_true", help="put all files back as they were")
    _add_json(command)


def _add_stubs(command: argparse.ArgumentParser) -> None:
    command.add_argument("--output", type=Path, metavar="DIR", help="where to write them")
    _add_json(command)


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
    _add_json(command)


def _add_namespaces(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", nargs="?", metavar="NAME", help="a namespace, group or server")
    _add_json(command)


def _add_gateway(command: argparse.ArgumentParser) -> None:
    """What every command has that talks to a gateway."""
    command.add_argument("--url", help="of the gateway (default: the one that runs)")
    command.add_argument("--token", help="for it (default: the variable MCPROXY_TOKEN)")
    command.add_argument("--namespace", default="", help="default: the gateway's default one")
    _add_json(command)


def _add_watch(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--every", type=float, default=2.0, metavar="SECS", help="default: %(default)s"
    )
    command.add_argument("--times", type=int, metavar="N", help="then stop (default: never)")
    _add_gateway(command)


def _add_search(command: argparse.ArgumentParser) -> None:
    command.add_argument("any_words", metavar="QUERY", nargs="*", help="none: all servers")
    command.add_argument(
        "--depth", type=int, choices=range(4), help="default: 2; with no QUERY 1, servers only"
    )
    command.add_argument("--limit", type=int, default=10, help="tools (default: %(default)s)")
    _add_gateway(command)


def _add_eval(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--min", type=share, default=0.0, metavar="SHARE", help="status 1 below this recall, 0 to 1"
    )
    command.add_argument("--html", type=Path, metavar="FILE", help="write the report there too")
    _add_gateway(command)


def _add_call(command: argparse.ArgumentParser) -> None:
    command.add_argument("server", metavar="SERVER")
    command.add_argument("tool", metavar="TOOL")
    command.add_argument(
        "any_words",
        nargs="*",
        metavar="KEY=VALUE",
        help="or one JSON object; a VALUE that is JSON is read as such, KEY:=VALUE is always text",
    )
    _add_gateway(command)


def _add_exec(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="a Python script; - is standard input")
    command.add_argument("--timeout", type=float, metavar="SECS", help="default: the namespace's")
    _add_gateway(command)


def _add_logs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "server", nargs="?", metavar="SERVER", help="its stderr (default: the gateway's own log)"
    )
    command.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    command.add_argument(
        "-n", "--lines", type=int, default=50, help="of the end (default: %(default)s)"
    )
    _add_json(command)


def _add_connect(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "client", metavar="CLIENT", help=f"{', '.join(CLIENTS)}, or the file of another client"
    )
    command.add_argument("--yes", action="store_true", help="do it without asking")
    command.add_argument(
        "--http", metavar="URL", help="let the client use a gateway that runs, at this URL"
    )
    command.add_argument("--undo", action="store_true", help="put all files back as they were")
    _add_json(command)


def _add_add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "name", nargs="?", metavar="NAME", help="for the server; or registry:ID of a registry"
    )
    command.add_argument("--url", help="of a remote server; else: -- COMMAND ARGUMENT…")
    command.add_argument(
        "--openapi", metavar="FILE|URL", help="the OpenAPI description of an HTTP API"
    )
    command.add_argument(
        "--base-url", metavar="URL", help="of the API, where its description is elsewhere"
    )
    command.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for a remote server or an API",
    )
    command.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="kept in .env"
    )
    command.add_argument(
        "--registry", metavar="URL", help="of a registry (default: the variable MCPROXY_REGISTRY)"
    )
    command.add_argument("--as", dest="as_name", metavar="NAME", help="of a registry's server here")
    command.add_argument("--no-doctor", action="store_true", help="do not try the server")
    command.add_argument("--undo", action="store_true", help="take the last change back")
    _add_json(command)


def _add_remove(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", nargs="?", metavar="NAME", help="of the server")
    command.add_argument("--undo", action="store_true", help="take the last change back")
    _add_json(command)


def _add_elsewhere(command: argparse.ArgumentParser) -> None:
    """What a command has that works on the state directory, or at a gateway elsewhere."""
    command.add_argument("--url", help="of a gateway elsewhere (default: this machine's)")
    command.add_argument("--token", help="for it (default: the variable MCPROXY_TOKEN)")
    _add_json(command)


def _add_approvals(command: argparse.ArgumentParser) -> None:
    command.add_argument("action", nargs="?", choices=("approve", "refuse"))
    command.add_argument("id", nargs="?", metavar="ID", help="of a call that waits")
    _add_elsewhere(command)


def _add_trust(command: argparse.ArgumentParser) -> None:
    command.add_argument("server", nargs="?", metavar="SERVER", help="accept what is held of it")
    command.add_argument("name", nargs="?", metavar="NAME", help="accept this tool or prompt alone")
    command.add_argument("--show", action="store_true", help="accept nothing")
    _add_elsewhere(command)


def _add_completion(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=SHELLS)


def _add_complete(command: argparse.ArgumentParser) -> None:
    command.add_argument("words", nargs="*")


SUBCOMMANDS: tuple[Subcommand, ...] = (
    Subcommand(
        "connect",
        "put the gateway before the servers of a client",
        _add_connect,
        config_runs.connect,
    ),
    Subcommand("add", "add a server, and try it", _add_add, config_runs.add, True),
    Subcommand("remove", "take a server out", _add_remove, config_runs.remove),
    Subcommand("status", "servers, tools, memory, calls", _add_gateway, gateway_runs.status, True),
    Subcommand("watch", "the same, again and again", _add_watch, gateway_runs.watch, True),
    Subcommand("search", "find tools", _add_search, gateway_runs.search, True),
    Subcommand("eval", "measure search on your tools", _add_eval, gateway_runs.evaluate, True),
    Subcommand("call", "call one tool", _add_call, gateway_runs.call, True),
    Subcommand("exec", "run a script", _add_exec, gateway_runs.execute, True),
    Subcommand("logs", "the gateway's log, or a server's stderr", _add_logs, gateway_runs.logs),
    Subcommand(
        "approvals", "calls that wait for a person's word", _add_approvals, gateway_runs.approvals
    ),
    Subcommand(
        "trust",
        "what servers changed in their tools and prompts, and accept it",
        _add_trust,
        gateway_runs.trust,
    ),
    Subcommand("doctor", "try the sandbox and every server", _add_json, config_runs.doctor, True),
    Subcommand(
        "check", "validate the configuration, all problems at once", _add_path, config_runs.check
    ),
    Subcommand("namespaces", "who reaches what, and why", _add_namespaces, config_runs.namespaces),
    Subcommand("schema", "print the configuration's JSON Schema", _add_nothing, config_runs.schema),
    Subcommand("stubs", "write typed stubs of all tools", _add_stubs, config_runs.stubs, True),
    Subcommand(
        "import", "take over the servers of another client", _add_import, config_runs.import_
    ),
    Subcommand(
        "migrate", "bring a version 1 configuration to version 2", _add_migrate, config_runs.migrate
    ),
    Subcommand("login", "log in to a remote server (OAuth)", _add_login, config_runs.login),
    Subcommand(
        "completion", "print a script for a shell", _add_completion, gateway_runs.completion
    ),
    Subcommand("complete", "", _add_complete, gateway_runs.complete),
)
