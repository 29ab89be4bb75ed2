"""From what a model sends as a script to its tree.

Models wrap code in Markdown, escape it once more than needed, and slip into JavaScript. Where a
text is Python it is left alone. Where it is none, and becomes Python by taking such a habit back,
that is what was meant; names of JavaScript that a script does not have are its literals. Pure.
"""

import ast
import builtins
import json
import keyword
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from mcproxy.sandbox.jail.script.promise import SCRIPT
from mcproxy.sandbox.jail.script.scopes import all_nodes, bound_names, place_at

# Prose may stand before it, code may not: a fence within a text of the script is none.
_FENCE = re.compile(r"[^\"'=(){}\[\]`~]*(?:`{3,}|~{3,})[ \t]*[\w+.-]*[ \t]*\r?\n")
_FENCE_END = re.compile(r"\n[ \t]*(?:`{3,}|~{3,})[ \t]*(?:\r?\n|$)")
_STRING = "|".join(
    (
        r"\"{3}(?:\\.|[^\\])*?\"{3}",
        r"'{3}(?:\\.|[^\\])*?'{3}",
        r'"(?:\\.|[^"\\\n])*"',
        r"'(?:\\.|[^'\\\n])*'",
    )
)
_ESCAPED = re.compile(rf"(?s:({_STRING}|#[^\n\\]*))|\\r?\\n|\\n|\\t")
_JS = re.compile(
    rf"(?s:({_STRING}))|(?m:^(?P<declared>[ \t]*)(?:const|let|var)[ \t]+(?=[\w, \[\]()]+=(?!=)))"
    r"|(?m:(?P<comment>^[ \t]*|;[ \t]*)//)|(?P<sign>[!=]==|&&|\|\|)"
)
_KEYWORDS = "|".join(keyword.kwlist)
_KEYWORD_GIVEN = re.compile(rf"(?s:({_STRING}|#[^\n]*))|(?<=[(,])(\s*(?:{_KEYWORDS}))(?=\s*=(?!=))")
_SIGNS = {"===": "==", "!==": "!=", "&&": " and ", "||": " or "}
_LITERALS: Mapping[str, bool | None] = {
    "true": True,
    "false": False,
    "null": None,
    "undefined": None,
}
_MEMBERS = {("JSON", "stringify"): "json.dumps", ("JSON", "parse"): "json.loads"}
_MEMBERS |= {("console", name): "print" for name in ("log", "error", "warn", "info", "debug")}
_MAY_BIND = {"exec", "eval", "globals", "locals", "vars"}
_GIVEN = {"api", "ToolError", "asyncio", "json", "exit", "quit"}  # that every script has
_OURS = ("api", "mcproxy")  # modules that scripts import what is there already from
_OFFERED = ("ToolError", "call_tool", "parallel", "schema", "search", "server")
# Whether a tree has to be looked at for names of JavaScript and imports of ours.
_SUSPECT = re.compile(
    r"\b(?:true|false|null|undefined|console|JSON)\b|\b(?:import|from)\b.*\b(?:api|mcproxy)\b"
    r"|[{,]\s*[A-Za-z_]\w*\s*:"
)
_MAX_TOLD = 5  # different repairs in a note


class ScriptSource(NamedTuple):
    """A script as it is run: its text, with the lines where they were sent, and its tree."""

    text: str
    tree: ast.Module
    notes: tuple[str, ...] = ()


def read_source(text: str) -> ScriptSource:
    """Raises SyntaxError, of the text as it was sent."""
    try:
        source = ScriptSource(text, ast.parse(text, SCRIPT))
    except SyntaxError:
        repaired = _repaired(text)
        if repaired is None:
            raise
        source = repaired
    return _without_javascript(source) if _SUSPECT.search(source.text) else source


def _repaired(text: str) -> ScriptSource | None:
    """The text with as few habits taken back as make it Python: each alone, then all in turn."""
    text = without_fence(text)
    for mended, note in _candidates(text):
        try:
            return ScriptSource(mended, ast.parse(mended, SCRIPT), note)
        except SyntaxError:
            continue
    return None


def _candidates(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield text, ()
    for repair, note in _REPAIRS:
        yield repair(text), (note,) if note else ()
    notes: list[str] = []
    for repair, note in _REPAIRS:
        mended = repair(text)
        notes += [note] if note and mended != text else []
        text = mended
    yield text, tuple(notes)


def without_fence(text: str) -> str:
    """What stands in the first Markdown fence, if there is one. Lines keep their numbers."""
    begin = _FENCE.match(text)
    if begin is None:
        return text.strip("`")
    inner = text[begin.end() :]
    end = _FENCE_END.search("\n" + inner)
    body = inner if end is None else inner[: end.start()]
    return "\n" * begin[0].count("\n") + body


def _dedented(text: str) -> str:
    """One level of indentation less, also where the first line has lost it already."""
    first, newline, rest = text.partition("\n")
    if first.strip() and not first[0].isspace():
        return first + newline + textwrap.dedent(rest)
    return textwrap.dedent(text)


def _unescaped(text: str) -> str:
    r"""Where ``\n`` is written between statements, a new line."""

    def mended(found: "re.Match[str]") -> str:
        if found[1] is not None:
            return found[1]
        return "\t" if found[0] == r"\t" else "\n"

    return _ESCAPED.sub(mended, text)


def _decoded(text: str) -> str:
    """A text that was escaped as a whole, quotes too."""
    if '\\"' not in text:
        return text
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


def _of_javascript(text: str) -> str:
    def mended(found: "re.Match[str]") -> str:
        if found["sign"]:
            return _SIGNS[found["sign"]]
        if found["comment"] is not None:
            return f"{found['comment']}#"
        return found["declared"] if found["declared"] is not None else found[0]

    return _JS.sub(mended, text)


def _renamed(text: str) -> str:
    """``f(from=1)`` as ``f(from_=1)``, which the gateway understands."""
    return _KEYWORD_GIVEN.sub(lambda found: found[1] or f"{found[2]}_", text)


_ESCAPES = r"read \n between statements as new lines"
_REPAIRS: tuple[tuple[Callable[[str], str], str], ...] = (
    (_dedented, ""),
    (_unescaped, _ESCAPES),
    (_decoded, _ESCAPES),
    (_of_javascript, "read JavaScript's signs and declarations as Python"),
    (_renamed, "read from= as from_="),
)


def _without_javascript(source: ScriptSource) -> ScriptSource:
    nodes = all_nodes(source.tree)
    bound = bound_names(nodes)
    mender = _Mender(None if any(map(_may_bind_any, nodes)) else bound)
    tree = mender.visit(source.tree)
    if not mender.told:
        return ScriptSource(source.text, ast.fix_missing_locations(tree), source.notes)
    listed = ", ".join(list(dict.fromkeys(mender.told))[:_MAX_TOLD])
    return ScriptSource(
        source.text, ast.fix_missing_locations(tree), (*source.notes, f"read as Python: {listed}")
    )


def _may_bind_any(node: ast.AST) -> bool:
    """Whether a node may bind names that are not written."""
    if isinstance(node, ast.ImportFrom):
        return node.names[0].name == "*" and (node.module or "").partition(".")[0] not in _OURS
    return isinstance(node, ast.Name) and node.id in _MAY_BIND


class _Mender(ast.NodeTransformer):
    """Turns what is JavaScript by its names into Python, and imports of ``api`` into what they
    mean; ``bound`` are the names that the script has (None: it may have any), ``told`` is what was
    changed."""

    def __init__(self, bound: set[str] | None) -> None:
        self._bound = bound
        self.told: list[str] = []

    def _is_free(self, name: str) -> bool:
        taken = self._bound is None or name in self._bound or name in _GIVEN
        return not taken and not hasattr(builtins, name)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id not in _LITERALS or not self._is_free(node.id):
            return node
        self.told.append(f"{node.id} -> {_LITERALS[node.id]}")
        return ast.copy_location(ast.Constant(_LITERALS[node.id]), node)

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        """A bare name as key is meant as text, unless it has a value."""
        bare = [key.id for key in node.keys if isinstance(key, ast.Name)]
        if any(self._is_free(name) and name not in _LITERALS for name in bare):
            # One that Python has too, such as ``type``, is then a text like the others.
            texts = set(bare).difference(self._bound or ())
            node.keys = [
                ast.copy_location(ast.Constant(key.id), key)
                if isinstance(key, ast.Name) and key.id in texts
                else key
                for key in node.keys
            ]
            self.told += [f'{{{name}: …}} -> {{"{name}": …}}' for name in bare if name in texts]
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(ast.Name(owner), name) if self._is_free(owner):
                python = _MEMBERS.get((owner, name), "")
                if python == "print" or (python and len(node.args) == 1):
                    self.told.append(f"{owner}.{name} -> {python}")
                    node.func = place_at(node.func, ast.parse(python, mode="eval").body)
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.stmt]:
        ours = [one for one in node.names if one.name.partition(".")[0] in _OURS]
        if not ours:
            return node
        node.names = [one for one in node.names if one not in ours]
        aliases = [(one.asname or one.name.partition(".")[0], "") for one in ours]
        return [*([node] if node.names else []), *_taken_from_api(node, aliases)]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:
        module, _, inner = (node.module or "").partition(".")
        if node.level or module not in _OURS:
            return node
        if node.names[0].name == "*":
            return _taken_from_api(node, [(name, name) for name in _OFFERED])
        path = [part for part in inner.split(".") if part not in ("", "api")]
        taken = [(one.asname or one.name, ".".join([*path, one.name])) for one in node.names]
        return _taken_from_api(node, taken)


def _taken_from_api(node: ast.stmt, taken: list[tuple[str, str]]) -> list[ast.stmt]:
    """Statements that bind names to ``api`` ("" and ``api``) or to what it has."""
    made = []
    for name, path in taken:
        value = "api" if path in ("", "api") else f"api.{path}"
        text = "pass" if value == name else f"{name} = {value}"
        made.append(place_at(node, ast.parse(text).body[0]))
    return made
