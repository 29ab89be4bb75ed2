"""The command line: arguments in, exit status out.

Exit status: 0 good; 2 wrong usage; 78 the configuration is refused, or the sandbox cannot reach
``sandbox.min_level`` (``EX_CONFIG`` of sysexits.h); 1 else.

Each command imports what it needs when it runs: the guardian, which forks before the gateway's
imports, stays small that way, and ``--help`` is quick.
"""

# ruff: noqa: PLC0415

import argparse
import asyncio
import contextlib
import errno
import gc
import logging
import os
import shutil
import signal
import sys
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypedDict

import msgspec

import mcproxy
from mcproxy import signals
from mcproxy.commands.chosen import config_path, load_chosen, typed_command
from mcproxy.commands.report import USAGE, WrongUsage
from mcproxy.commands.screen import Screen
from mcproxy.errors import ConfigError, McproxyError, SandboxUnavailable
from mcproxy.guardian import guarded, has_terminal
from mcproxy.heap import LOADING
from mcproxy.subcommands import Parsers, Subcommand, add_subcommands, parsed, port

EX_CONFIG = 78
DEFAULT_PORT = 12010

if TYPE_CHECKING:
    from mcproxy.commands.welcome import Welcome
    from mcproxy.config.load import Loaded
    from mcproxy.observe.logs import Unblocked
    from mcproxy.observe.redact import Redactor
    from mcproxy.serve import Mask

log = logging.getLogger(__name__)


class LogForm(TypedDict):
    """What a log looks like, and from which level on it is written."""

    readable: bool
    level: int


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program and exit."""
    gc.set_threshold(*LOADING)
    try:
        sys.exit(_status(sys.argv[1:] if argv is None else argv))
    finally:
        # Once, for what tells of itself as it goes; as it ends, the interpreter would look through
        # all modules several times more, which takes as long as a small command.
        gc.collect()
        gc.freeze()
        for stream in (sys.stdout, sys.stderr):  # else what cannot be written would be the status
            with _while_read(stream):
                stream.flush()


def _status(argv: Sequence[str]) -> int:
    arguments = parsed(parser(), argv)
    command = _run_subcommand if "subcommand" in arguments else _guarded_serve
    try:
        return command(arguments)
    except (McproxyError, OSError, ModuleNotFoundError) as error:
        return _fail(error, as_json=getattr(arguments, "json", False))
    except KeyboardInterrupt:
        return 0


def _fail(error: Exception, *, as_json: bool) -> int:
    """Say why a command did not do what it should: to programs on stdout, as they wait for it."""
    text, status = str(error), 1
    match error:
        case ConfigError() | SandboxUnavailable():
            status = EX_CONFIG
        case WrongUsage():
            status = USAGE
        case ModuleNotFoundError():
            text = mcproxy.NOT_INSTALLED.format(error.name, sys.executable)
        case OSError(strerror=str(why), filename=str(name)):
            text = f"{name}: {why}"
    if as_json:
        problems = error.problems if isinstance(error, ConfigError) else ()
        Screen(_write).json(
            {"error": text, "problems": [msgspec.structs.asdict(each) for each in problems]}
        )
    else:
        _complain(text if status == EX_CONFIG else f"mcproxy: {text}")
    return status


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument(
        "--config",
        metavar="PATH",
        type=Path,
        default=argparse.SUPPRESS,
        help="default: config/mcp-servers.json, else mcproxy.json, else a bundled demo",
    )
    top = argparse.ArgumentParser(
        prog="mcproxy",
        parents=[config],
        description="An MCP gateway that shows a model two tools: search and execute.",
    )
    top.add_argument("--stdio", action="store_true", help="be an MCP server on stdin and stdout")
    top.add_argument("--log", action="store_true", help="readable log on stdout, level DEBUG")
    top.add_argument("--port", type=port, default=DEFAULT_PORT, help="default: %(default)s")
    top.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    top.add_argument("--no-reload", action="store_true", help="reload only at SIGHUP")
    top.add_argument("--version", action="version", version=f"mcproxy {mcproxy.__version__}")
    commands = add_subcommands(top, config)
    top.set_defaults(parsers=Parsers(top, commands))
    return top


def _run_subcommand(arguments: argparse.Namespace) -> int:
    """Run a sub-command; what it has to say goes to stdout."""
    subcommand: Subcommand = arguments.subcommand
    width = shutil.get_terminal_size().columns
    screen = Screen(_write, styled=_styled(), width=width, called=typed_command())
    run = partial(subcommand.run, arguments, screen)
    return guarded(run) if subcommand.starts_servers else run()


def _styled() -> bool:
    """Whether colours are wanted: by a terminal, and by whoever sits before it."""
    if not sys.stdout.isatty():
        return False
    from mcproxy.config.load import wants_plain_output

    return not wants_plain_output()


def _write(text: str) -> None:
    with _while_read(sys.stdout) as stdout:
        stdout.write(text)
        stdout.flush()


@contextlib.contextmanager
def _while_read(stream: TextIO) -> Iterator[TextIO]:
    """Print for whoever still reads: ``head`` ends before we do, and so does a terminal, which is
    no fault."""
    try:
        yield stream
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # what is still buffered goes there
        os.close(null)


def _guarded_serve(arguments: argparse.Namespace) -> int:
    # nohup means that it goes on without its terminal.
    with_terminal = has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    signals.stop_at_once()
    return guarded(lambda: _serve(arguments), with_terminal=with_terminal)


def _serve(arguments: argparse.Namespace) -> int:
    from mcproxy.observe.logs import Unblocked, configure, tell_counts

    form, to_stdout = _log_form(arguments), arguments.log and not arguments.stdio
    with contextlib.closing(Unblocked(sys.stdout if to_stdout else sys.stderr)) as stream:
        configure(**form, stream=stream)
        try:
            return _serve_logging(arguments, stream, form)
        finally:
            signals.hear_no_more()
            tell_counts()


def _log_form(arguments: argparse.Namespace) -> LogForm:
    """All for people who ask for it; what goes wrong for those at a terminal, whose first screen
    says the rest; else JSON for programs."""
    if arguments.log:
        return {"readable": True, "level": logging.DEBUG}
    at_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    return {"readable": at_terminal, "level": logging.WARNING if at_terminal else logging.INFO}


def _serve_logging(arguments: argparse.Namespace, stream: "Unblocked", form: LogForm) -> int:
    from mcproxy.config.state import state_directory
    from mcproxy.observe import log_files, logs
    from mcproxy.sandbox.zygote_launch import ahead

    ends = _take_stdio() if arguments.stdio else None
    loaded = load_chosen(config_path(arguments))
    with log_files.kept_in(state_directory(loaded.environment)) as files:
        configure = partial(logs.configure, **form, stream=stream, also=(files,))
        configure()
        for note in loaded.notes:
            log.warning("%s", note)

        def mask(redactor: "Redactor") -> None:
            configure(redactor=redactor)
            files.mask(redactor)

        with ahead() if loaded.config.sandbox.level != "none" else contextlib.nullcontext():
            if ends:
                _serve_stdio(arguments, loaded, mask, ends)
            else:
                _serve_http(arguments, loaded, mask, stream)
    return 0


def _serve_stdio(
    arguments: argparse.Namespace, loaded: "Loaded", mask: "Mask", ends: tuple[int, int]
) -> None:
    from mcproxy import serve

    _run(serve.serve_stdio(loaded, mask, *ends, watch=not arguments.no_reload))


def _serve_http(
    arguments: argparse.Namespace, loaded: "Loaded", mask: "Mask", stream: "Unblocked"
) -> None:
    """Bind first: a port that is in use is said before any welcome."""
    from mcproxy import serve

    with serve.bind(arguments.host, arguments.port) as listener:
        welcome = _welcome(arguments, stream, listener.getsockname()[:2])
        if welcome:
            welcome.begin(mcproxy.__version__, demo=loaded.source is None)

        def mask_all(redactor: "Redactor") -> None:
            mask(redactor)
            if welcome:
                welcome.mask(redactor)

        watch = not arguments.no_reload
        _run(serve.serve_http(loaded, mask_all, listener, watch=watch, welcome=welcome))


def _welcome(
    arguments: argparse.Namespace, stream: "Unblocked", address: tuple[str, int]
) -> "Welcome | None":
    """The first screen: on a terminal, or before a log for people; never in one for programs."""
    from mcproxy.commands.welcome import Welcome
    from mcproxy.config.running import url_of

    if not (arguments.log or sys.stdout.isatty()):
        return None

    def write(text: str) -> None:
        stream.write(text) if arguments.log else _write(text)

    screen = Screen(write, styled=_styled(), called=typed_command())
    return Welcome(screen, url_of(*address))


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
    signals.keep()
    try:
        from uvloop import new_event_loop
    except ImportError:
        asyncio.run(main_task)
        return
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main_task)


def _complain(text: str) -> None:
    Screen(sys.stderr.write, called=typed_command()).line(text)
