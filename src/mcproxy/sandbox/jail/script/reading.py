"""A script's reading before it runs: what cannot work is refused with nothing sent, all at once.

It saves a model a round, nothing more: it is no wall, the walls are. Therefore it looks only at
what is written plainly, and whatever it does not know passes. It is done here, where a text that
takes long to read takes the script's own time; which tools there are, only the gateway knows.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mcproxy.sandbox.jail.script.outline import outline
from mcproxy.sandbox.jail.script.tool_uses import tool_uses
from mcproxy.sandbox.jail.script.value import Json

MODULES = {
    "subprocess": "Scripts cannot start programs. Use a tool: api.search('run command').",
    "socket": "Use urllib.request for allowed hosts, or a tool: api.search('fetch url').",
    "pickle": "Use json: json.dumps(value) and json.loads(text).",
    "marshal": "Use json: json.dumps(value) and json.loads(text).",
    "importlib": "Write an ordinary import statement.",
    "ctypes": "Native code is out of reach. Use the standard library or a tool.",
}
_PROCESSES = "Scripts cannot start processes. Use a tool: api.search('run command')."
_OF_OS = re.compile(r"system|popen|fork|exec\w*|spawn\w*")
_BLOCKED = ("os", *MODULES)  # without these words nothing is blocked
_MAX_NAME_CHARS = 100  # a script may make a name of 50 KiB of it
_MAX_TOLD = 10


class Finding(NamedTuple):
    """What does not work. ``certain`` False: only where the script gets there, and then it may be
    ready for that."""

    line: int
    message: str
    advice: str = ""
    certain: bool = True


def read(source: str, tree: ast.Module) -> tuple[list[Finding], list[Json]]:
    """The blocked names of a script, and its calls of tools as the gateway is told of them."""
    may_be_blocked = any(word in source for word in _BLOCKED)
    if not may_be_blocked and "api" not in source:
        return [], []
    whole = outline(tree)
    names = blocked(whole.named) if may_be_blocked else []
    return names, [] if whole.opaque else [use.as_json() for use in tool_uses(whole)]


def findings(names: list[Finding], faults: Json) -> list[Finding]:
    """What does not work in a script, by line. ``faults`` are those that the gateway finds in its
    calls: ``[line, message, advice, certain]`` of each."""
    told = faults if isinstance(faults, list) else []
    calls = [Finding(*fault) for fault in told if isinstance(fault, list)]  # type: ignore[arg-type]
    return sorted({*names, *calls})


def blocked(nodes: Sequence[ast.AST]) -> list[Finding]:
    """The names among a script's imports and attributes that no script can use."""
    names = _names_of_os(nodes)
    return [finding for node in nodes for finding in _refusals(node, names)]


def _names_of_os(nodes: Sequence[ast.AST]) -> set[str]:
    imported = [name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    names = {name.asname for name in imported if name.name == "os" and name.asname}
    plain = any(name.name.partition(".")[0] == "os" and not name.asname for name in imported)
    return names | {"os"} if plain else names


def _refusals(node: ast.AST, os_names: set[str]) -> Iterator[Finding]:
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


def _module(line: int, name: str) -> Iterator[Finding]:
    top = name.partition(".")[0]
    if top in MODULES:
        yield _unavailable(line, f"import of {top}", MODULES[top])


def _member_of_os(line: int, name: str) -> Iterator[Finding]:
    if _OF_OS.fullmatch(name):
        yield _unavailable(line, f"os.{name[:_MAX_NAME_CHARS]}", _PROCESSES)


def _unavailable(line: int, what: str, advice: str) -> Finding:
    return Finding(line, f"{what} is not available in scripts.", advice)


def notes(found: Sequence[Finding]) -> list[str]:
    """Findings that are no reason to refuse a script, as notes."""
    return [f"line {one.line}: {_told(one)}" for one in found]


def refusal(found: Sequence[Finding]) -> Finding | None:
    """Everything that is wrong as one, if a script is refused for any of it."""
    certain = [one for one in found if one.certain]
    if not certain or len(found) == 1:
        return certain[0] if certain else None
    lines = "\n".join(notes(found[:_MAX_TOLD]))
    return Finding(certain[0].line, f"Nothing was run or sent.\n{lines}")


def _told(finding: Finding) -> str:
    return f"{finding.message} {finding.advice}".rstrip()
