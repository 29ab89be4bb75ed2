"""The friendly check: what a sandboxed script can never use, refused before the run, with advice.

It saves a model one round, nothing more: it is no wall, the walls are. Therefore it looks only at
what is written plainly, and whatever it does not know passes.
"""

import ast
import logging
import re
import warnings
from collections.abc import Iterator

from mcproxy.foreign_text import bounded
from mcproxy.types import CallTool, Job, Outcome, RunCode, ScriptError

_MODULES = {
    "subprocess": "Scripts cannot start programs. Use a tool: api.search('run command').",
    "socket": "Use urllib.request for allowed hosts, or a tool: api.search('fetch url').",
    "pickle": "Use json: json.dumps(value) and json.loads(text).",
    "marshal": "Use json: json.dumps(value) and json.loads(text).",
    "importlib": "Write an ordinary import statement.",
    "ctypes": "Native code is out of reach. Use the standard library or a tool.",
}
_PROCESSES = "Scripts cannot start processes. Use a tool: api.search('run command')."
_OF_OS = re.compile(r"system|popen|fork|exec\w*|spawn\w*")

_MAX_TOLD_CHARS = 200  # a script may make a name of 50 KiB of it

log = logging.getLogger(__name__)

_Refusal = tuple[int, str, str]  # line, what, advice


def checked(run: RunCode) -> RunCode:
    """The same runner for scripts that pass; the log tells of the others, without their text."""

    async def checked_run(job: Job, call: CallTool) -> Outcome:
        refused = check(job.source)
        if refused is None:
            return await run(job, call)
        log.info(
            "sandbox: a script in namespace %s is blocked before it runs, line %s: %s",
            job.profile,
            refused.line,
            refused.message,
            extra={"namespace": job.profile},
        )
        return Outcome(error=refused)

    return checked_run


def check(source: str) -> ScriptError | None:
    """The first thing in a script that is refused; None when there is nothing.

    A script that does not parse passes: its run reports the error with its line.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of the script's text: not for our stderr
            nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    names = _names_of_os(nodes)
    refusals = [refusal for node in nodes for refusal in _refusals(node, names)]
    if not refusals:
        return None
    line, what, advice = min(refusals)
    what = bounded(what, _MAX_TOLD_CHARS)
    return ScriptError("CheckError", f"{what} is not available in scripts.", line, advice)


def _names_of_os(nodes: list[ast.AST]) -> set[str]:
    imported = [name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    names = {name.asname for name in imported if name.name == "os" and name.asname}
    plain = any(name.name.partition(".")[0] == "os" and not name.asname for name in imported)
    return names | {"os"} if plain else names


def _refusals(node: ast.AST, os_names: set[str]) -> Iterator[_Refusal]:
    match node:
        case ast.Import(names):
            for name in names:
                yield from _module(node.lineno, name.name)
        case ast.ImportFrom("os", names, 0):
            for name in names:
                yield from _member_of_os(node.lineno, name.name)
        case ast.ImportFrom(str(module), _, 0):
            yield from _module(node.lineno, module)
        case ast.Attribute(ast.Name(owner), name) if owner in os_names:
            yield from _member_of_os(node.lineno, name)


def _module(line: int, name: str) -> Iterator[_Refusal]:
    top = name.partition(".")[0]
    if top in _MODULES:
        yield line, f"import of {top}", _MODULES[top]


def _member_of_os(line: int, name: str) -> Iterator[_Refusal]:
    if _OF_OS.fullmatch(name):
        yield line, f"os.{name}", _PROCESSES
