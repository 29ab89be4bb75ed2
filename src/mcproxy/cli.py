"""The command line: arguments in, exit status out. The only ``sys.exit``, the only ``print``.

Exit status: 0 good; 2 wrong usage; 78 the configuration is refused, or the sandbox cannot reach
``sandbox.min_level`` (``EX_CONFIG`` of sysexits.h); 1 else.

Each command imports what it needs when it runs: the guardian, which forks before the gateway's
imports, stays small that way, and ``--help`` is quick.
"""

# ruff: noqa: PLC0415

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeAlias

import mcproxy
from mcproxy.errors import ConfigError, SandboxUnavailable
from mcproxy.foreign_text import clean
from mcproxy.guardian import guarded
from mcproxy.subcommands import SUBCOMMANDS, Subcommand, config_path, load_chosen, port

EX_CONFIG = 78
DEFAULT_PORT = 12010

TRY = """\
MCProxy with its bundled demo (servers: notes, calc). In another terminal, try:

  curl -s http://127.0.0.1:{port}/message -H 'Content-Type: application/json' \\
    -d '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"search",\
"arguments":{{"query":"convert units"}}}}}}'

Your own servers: write config/mcp-servers.json, the README shows how. Stop: Ctrl-C.
"""

_Handler: TypeAlias = Callable[[int, FrameType | None], object] | signal.Handlers

if TYPE_CHECKING:
    from mcproxy.observe.logs import Unblocked
    from mcproxy.observe.redact import Redactor

_NOT_INSTALLED = (
    "mcproxy: the package {} is not installed for {}; in a checkout, `make setup` installs it, and "
    ".venv/bin/python main.py runs with it"
)

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
    except ModuleNotFoundError as error:
        _complain(_NOT_INSTALLED.format(error.name, sys.executable))
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
    parser.add_argument("--port", type=port, default=DEFAULT_PORT, help="default: %(default)s")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--no-reload", action="store_true", help="reload only at SIGHUP")
    parser.add_argument("--version", action="version", version=f"mcproxy {mcproxy.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for each in SUBCOMMANDS:
        command = commands.add_parser(
            each.name, parents=[config], help=each.about, description=each.about
        )
        each.add_arguments(command)
        command.set_defaults(run=partial(_tell, each))
    return parser


def _tell(subcommand: Subcommand, arguments: argparse.Namespace) -> int:
    """Run a sub-command and print what it has to say."""

    def run() -> int:
        report = subcommand.run(arguments)
        _say(report.text)
        return report.status

    return guarded(run) if subcommand.starts_servers else run()


def _say(text: str) -> None:
    """Print for whoever still reads: ``head`` ends before we do, which is no fault. Names and
    values that others wrote act on no terminal."""
    try:
        print(clean(text), flush=True)
    except BrokenPipeError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())  # what is still buffered goes there at the exit
        os.close(null)


def _guarded_serve(arguments: argparse.Namespace) -> int:
    _meet_signals(lambda *_: sys.exit(0), lambda *_: None)  # until the event loop takes them
    return guarded(lambda: _serve(arguments))


def _meet_signals(stop: _Handler, hangup: _Handler) -> None:
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, hangup)


def _serve(arguments: argparse.Namespace) -> int:
    from mcproxy.observe.logs import Unblocked, tell_counts

    to_stdout = arguments.log and not arguments.stdio
    with contextlib.closing(Unblocked(sys.stdout if to_stdout else sys.stderr)) as stream:
        try:
            return _serve_logging(arguments, stream)
        finally:
            _meet_signals(signal.SIG_IGN, signal.SIG_IGN)  # it ends, and starts no process any more
            tell_counts()


def _serve_logging(arguments: argparse.Namespace, stream: "Unblocked") -> int:
    from mcproxy import serve
    from mcproxy.observe import logs

    configure = partial(logs.configure, readable=arguments.log, stream=stream)
    configure()
    if arguments.stdio:
        stdin_fd, stdout_fd = _take_stdio()
    loaded = load_chosen(config_path(arguments))
    for note in loaded.notes:
        log.warning("%s", note)

    def mask(redactor: "Redactor") -> None:
        configure(redactor=redactor)

    if arguments.stdio:
        _run(serve.serve_stdio(loaded, mask, stdin_fd, stdout_fd, watch=not arguments.no_reload))
        return 0
    with serve.bind(arguments.host, arguments.port) as listener:
        if loaded.source is None:
            print(TRY.format(port=listener.getsockname()[1]), file=sys.stderr)
        _run(serve.serve_http(loaded, mask, listener, watch=not arguments.no_reload))
    return 0


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


def _complain(text: str) -> None:
    print(clean(text), file=sys.stderr)
