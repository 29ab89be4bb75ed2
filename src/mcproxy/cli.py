"""The command line: arguments in, exit status out. The only ``sys.exit``, the only ``print``.

Exit status: 0 good; 2 wrong usage; 78 the configuration is refused, or the sandbox cannot reach
``sandbox.min_level`` (``EX_CONFIG`` of sysexits.h); 1 else.

Each command imports what it needs when it runs: the guardian, which forks before the gateway's
imports, stays small that way, and ``--help`` is quick.
"""

# ruff: noqa: PLC0415

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import mcproxy
from mcproxy.errors import ConfigError, SandboxUnavailable
from mcproxy.guardian import guarded

if TYPE_CHECKING:
    from mcproxy.commands.report import Report
    from mcproxy.config.load import Loaded

EX_CONFIG = 78
DEFAULT_PORT = 12010

TRY = """\
MCProxy with its bundled demo (servers: notes, calc). In another terminal, try:

  curl -s http://127.0.0.1:{port}/message -H 'Content-Type: application/json' \\
    -d '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"search",\
"arguments":{{"query":"convert units"}}}}}}'

Your own servers: write config/mcp-servers.json, the README shows how. Stop: Ctrl-C.
"""

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program and exit."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.run
    try:
        status = command(arguments)
    except (ConfigError, SandboxUnavailable) as error:
        _complain(str(error))
        status = EX_CONFIG
    except OSError as error:
        _complain(f"mcproxy: {error}")
        status = 1
    except KeyboardInterrupt:
        status = 0
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument(
        "--config",
        metavar="PATH",
        type=Path,
        default=argparse.SUPPRESS,
        help="default: config/mcp-servers.json, else mcproxy.json, else a bundled demo",
    )
    parser = argparse.ArgumentParser(
        prog="mcproxy",
        parents=[config],
        description="An MCP gateway that shows a model two tools: search and execute.",
    )
    parser.set_defaults(run=_guarded_serve)
    parser.add_argument("--stdio", action="store_true", help="be an MCP server on stdin and stdout")
    parser.add_argument("--log", action="store_true", help="readable log on stdout, level DEBUG")
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help="default: %(default)s")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--no-reload", action="store_true", help="reload only at SIGHUP")
    parser.add_argument("--version", action="version", version=f"mcproxy {mcproxy.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, run, add_arguments, text in _COMMANDS:
        command = commands.add_parser(name, parents=[config], help=text, description=text)
        command.set_defaults(run=run)
        add_arguments(command)
    return parser


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


def _add_namespaces(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", nargs="?", metavar="NAME", help="a namespace, group or server")


def _guarded_serve(arguments: argparse.Namespace) -> int:
    return guarded(lambda: _serve(arguments))


def _serve(arguments: argparse.Namespace) -> int:
    from mcproxy import app
    from mcproxy.observe import logs

    stdout = sys.stdout
    if arguments.stdio:
        stdin_fd, stdout_fd = _take_stdio()
        logs.configure(readable=arguments.log, stream=sys.stderr)
    else:
        logs.configure(readable=arguments.log, stream=stdout if arguments.log else sys.stderr)
    loaded = _load(_config_path(arguments))
    for note in loaded.notes:
        log.warning("%s", note)
    if arguments.stdio:
        _run(app.serve_stdio(loaded, stdin_fd, stdout_fd, watch=not arguments.no_reload))
        return 0
    if loaded.source is None:
        print(TRY.format(port=arguments.port), file=sys.stderr)
    watch = not arguments.no_reload
    _run(app.serve_http(loaded, arguments.host, arguments.port, watch=watch))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from mcproxy.config.inherit import all_namespaces

    path = arguments.path or _config_path(arguments)
    loaded = _load(path)
    for note in loaded.notes:
        print(f"note: {note}")
    for name, reason in loaded.unconfigured.items():
        print(f"unconfigured: {name}: {reason}")
    config = loaded.config
    print(
        f"{path or 'bundled demo'}: good; {len(config.servers)} servers, "
        f"{len(all_namespaces(config))} namespaces"
    )
    return 0


def _schema(arguments: argparse.Namespace) -> int:
    from mcproxy.config.schema import json_schema

    del arguments
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0


def _migrate(arguments: argparse.Namespace) -> int:
    from mcproxy.commands import migrate

    return _tell(migrate.run(arguments.path, write=arguments.write))


def _namespaces(arguments: argparse.Namespace) -> int:
    from mcproxy.commands import namespaces

    return _tell(namespaces.run(_load(_config_path(arguments)).config, arguments.name))


def _import(arguments: argparse.Namespace) -> int:
    from mcproxy.commands import imports
    from mcproxy.config.load import DEFAULT_FILES, load_document

    target = _config_path(arguments) or Path(DEFAULT_FILES[0])
    if arguments.undo:
        return _tell(imports.undo(target))
    environment = load_document({}).environment
    machine = imports.Machine(Path.home(), Path.cwd(), environment)
    return _tell(imports.run(arguments.source, target, machine, write=arguments.write))


def _stubs(arguments: argparse.Namespace) -> int:
    from mcproxy import trial
    from mcproxy.commands import stubs

    loaded = _load(_config_path(arguments))
    settings = loaded.config.manifests.typed_stub_generation
    output = arguments.output or Path(settings.output_dir)
    return guarded(
        lambda: _tell(stubs.run(lambda: trial.learn(loaded), output, settings.languages))
    )


def _doctor(arguments: argparse.Namespace) -> int:
    from mcproxy import trial
    from mcproxy.commands import doctor
    from mcproxy.config.load import load_document
    from mcproxy.config.state import state_directory

    path = _config_path(arguments)
    state = state_directory(load_document({}).environment)
    place = doctor.Place(arguments.host, arguments.port, state)
    return guarded(
        lambda: _tell(
            doctor.run(path, lambda: _load(path), trial.attempt, place, as_json=arguments.json)
        )
    )


def _tell(report: "Report") -> int:
    print(report.text)
    return report.status


def _config_path(arguments: argparse.Namespace) -> Path | None:
    from mcproxy.config.load import default_path

    named: Path | None = getattr(arguments, "config", None)
    return named or default_path(Path.cwd())


def _load(path: Path | None) -> "Loaded":
    from mcproxy.config.load import load, load_document
    from mcproxy.demo.config import demo_config

    return load(path) if path else load_document(demo_config(sys.executable))


def _take_stdio() -> tuple[int, int]:
    """The protocol's own copies of stdin and stdout; a stray print then goes to stderr."""
    stdin_fd, stdout_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return stdin_fd, stdout_fd


def _run(main_task: Coroutine[None, None, None]) -> None:
    """Run on uvloop where it is installed, which is everywhere but on odd platforms."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        asyncio.run(main_task)
        return
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main_task)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not from 0 to 65535")
    return number


def _complain(text: str) -> None:
    print(text, file=sys.stderr)


_Run: TypeAlias = Callable[[argparse.Namespace], int]
_Add: TypeAlias = Callable[[argparse.ArgumentParser], None]

_COMMANDS: tuple[tuple[str, _Run, _Add, str], ...] = (
    ("check", _check, _add_path, "validate the configuration, all problems at once"),
    ("namespaces", _namespaces, _add_namespaces, "who reaches what, and why"),
    ("doctor", _doctor, _add_doctor, "try the sandbox and every server; what is wrong, the cure"),
    ("schema", _schema, _add_nothing, "print the configuration's JSON Schema"),
    ("stubs", _stubs, _add_stubs, "write typed stubs of all tools"),
    ("import", _import, _add_import, "take over the servers of another client's configuration"),
    ("migrate", _migrate, _add_migrate, "bring a version 1 configuration to version 2"),
)
