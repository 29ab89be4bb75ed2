"""The names that a sandboxed script can never use, each with advice. Pure.

It saves a model one round, nothing more: it is no wall, the walls are. Therefore it looks only at
what is written plainly, and whatever it does not know passes.
"""

import ast
import re
from collections.abc import Iterator, Sequence

from mcproxy.foreign_text import bounded
from mcproxy.preflight.finding import Finding

MODULES = {
    "subprocess": "Scripts cannot start programs. Use a tool: api.search('run command').",
    "socket": "Use urllib.request for allowed hosts, or a tool: api.search('fetch url').",
    "pickle": "Use json: json.dumps(value) and json.loads(text).",
    "marshal": "Use json: json.dumps(value) and json.loads(text).",
    "importlib": "Write an ordinary import statement.",
    "ctypes": "Native code is out of reach. Use the standard library or a tool.",
}
_PROCESSES = "Scripts cannot start processes. Use a tool: api.search('run command')."
_MAX_NAME_CHARS = 200  # a script may make a name of 50 KiB of it
_OF_OS = re.compile(r"system|popen|fork|exec\w*|spawn\w*")


def blocked(nodes: Sequence[ast.AST]) -> list[Finding]:
    """What of a script's nodes is refused."""
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
        yield _finding(line, f"import of {top}", MODULES[top])


def _member_of_os(line: int, name: str) -> Iterator[Finding]:
    if _OF_OS.fullmatch(name):
        yield _finding(line, f"os.{name}", _PROCESSES)


def _finding(line: int, what: str, advice: str) -> Finding:
    return Finding(line, f"{bounded(what, _MAX_NAME_CHARS)} is not available in scripts.", advice)
