"""Which tools a script's calls reach, and with which arguments, as far as its text tells. Pure.

Names are followed where they are bound once: ``gh = api.server("github")``, an alias, a partial, a
loop over a written list. What has two meanings, or one that only a run can tell, has none here.
"""

import ast
import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from mcproxy.sandbox.jail.script.api import OFFERED
from mcproxy.sandbox.jail.script.outline import CodePlace, Loop, Outline
from mcproxy.sandbox.jail.script.value import Json

_MAX_STEPS = 8  # from a name to another and on
_MAX_ROWS = 16  # of the loops around a call, taken together
_MAX_USES = 500  # a script of 50 KiB has few more
_MAX_SHOWN_CHARS = 60  # of a value
_MAX_TEXT_CHARS = 200
_TYPES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}
_CONTAINERS: Mapping[type, str] = {
    ast.List: "array",
    ast.ListComp: "array",
    ast.Tuple: "array",
    ast.Dict: "object",
    ast.DictComp: "object",
    ast.JoinedStr: "string",
}


class ToolUse(NamedTuple):
    """One call of a tool. ``arguments``: those whose names are written, with what is written, or
    None; ``whole``: there are no others."""

    line: int
    server: str
    tool: str
    arguments: Mapping[str, ast.expr]
    whole: bool
    guarded: bool

    def as_json(self) -> Json:
        """As the gateway is told of it."""
        written: Json = {name: _written(node) for name, node in self.arguments.items()}
        return [self.line, self.server, self.tool, written, self.whole, self.guarded]


def _written(node: ast.expr) -> Json:
    """``[type, how it is shown, its text]`` of a value; ``[]`` where only the run can tell."""
    match node:
        case ast.UnaryOp(ast.USub(), ast.Constant() as operand):
            inner = _written(operand)
            return [inner[0], f"-{inner[1]}"] if isinstance(inner, list) and inner else []
    if not isinstance(node, ast.Constant):
        kind = _CONTAINERS.get(type(node))
        return [kind, f"an {kind}" if kind != "string" else "text"] if kind else []
    value = node.value
    if type(value) not in _TYPES:
        return []  # what is converted on the way, such as bytes
    whole = isinstance(value, float) and value.is_integer()
    kind = "integer" if whole else _TYPES[type(value)]
    if isinstance(value, str):
        return [
            kind,
            repr(value[:_MAX_SHOWN_CHARS]),
            value if len(value) <= _MAX_TEXT_CHARS else None,
        ]
    large = isinstance(value, int) and value.bit_length() > _MAX_SHOWN_CHARS
    return [kind, "a large number" if large else repr(value)]


class _Member(NamedTuple):
    """``api`` itself (""), or one of its functions."""

    name: str = ""


class _Target(NamedTuple):
    """A server, or a tool of it by its attributes, with what a partial has given already."""

    server: str
    path: tuple[str, ...] = ()
    args: tuple[ast.expr, ...] = ()
    keywords: tuple[ast.keyword, ...] = ()


_Meaning: TypeAlias = _Member | _Target | str | None
_Rows: TypeAlias = Mapping[str, ast.expr]


class _Reader(NamedTuple):
    """Reads expressions, with the loops' variables standing for ``rows``."""

    outline: Outline
    rows: _Rows

    def meaning(self, node: ast.AST, steps: int = _MAX_STEPS) -> _Meaning:
        """What an expression stands for; None where the text does not tell."""
        found: _Meaning = None
        match node:
            case _ if steps == 0:
                pass
            case ast.Constant(str(text)):
                found = text
            case ast.Name(name):
                found = self._named(name, steps - 1)
            case ast.Attribute(owner, name):
                found = self._attribute(self.meaning(owner, steps - 1), name)
            case ast.Subscript(owner, ast.Constant(str(name))):
                target = self.meaning(owner, steps - 1)
                found = _Target(name) if target == _Member() else self._item(target, name)
            case ast.Call():
                found = self._called(node, steps - 1)
        return found

    def _named(self, name: str, steps: int) -> _Meaning:
        if name in self.rows:
            return self.meaning(self.rows[name], steps)
        if name in self.outline.loops:
            return None
        bound = self.outline.bindings.get(name, [])
        if name == "api":
            return _Member() if not bound else None
        value = bound[0] if len(bound) == 1 else None
        return self.meaning(value, steps) if value is not None else None

    def _attribute(self, owner: _Meaning, name: str) -> _Meaning:
        if isinstance(owner, _Target) and not name.startswith("__"):
            return owner._replace(path=(*owner.path, name)) if not owner.args else None
        if owner != _Member():
            return None
        return _Member(name) if name in OFFERED else _Target(name)

    def _item(self, owner: _Meaning, name: str) -> _Meaning:
        return self._attribute(owner, name) if isinstance(owner, _Target) else None

    def _called(self, call: ast.Call, steps: int) -> _Meaning:
        if self._is_partial(call.func) and call.args:
            inner = self.meaning(call.args[0], steps)
            if isinstance(inner, _Target):
                return inner._replace(
                    args=(*inner.args, *call.args[1:]),
                    keywords=(*inner.keywords, *call.keywords),
                )
            return None
        if self.meaning(call.func, steps) == _Member("server") and len(call.args) == 1:
            name = self.meaning(call.args[0], steps)
            return _Target(name) if isinstance(name, str) else None
        return None

    def _is_partial(self, node: ast.expr) -> bool:
        imports = self.outline.imports
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return f"{imports.get(node.value.id)}.{node.attr}" == "functools.partial"
        return isinstance(node, ast.Name) and imports.get(node.id) == "functools.partial"

    def use(self, call: ast.Call, place: CodePlace) -> ToolUse | None:
        """The call of a tool that ``call`` is, if it is one."""
        target = self.meaning(call.func)
        args, keywords = tuple(call.args), tuple(call.keywords)
        if target == _Member("call_tool"):
            given = dict(zip(("server", "tool", "arguments"), args, strict=False))
            given |= {word.arg: word.value for word in keywords if word.arg in _OWN}
            keywords = tuple(word for word in keywords if word.arg not in (*_OWN, "raw"))
            server, tool = (self.meaning(given[n]) if n in given else None for n in _OWN[:2])
            if not (isinstance(server, str) and isinstance(tool, str)):
                return None
            target, args = (
                _Target(server, (tool,)),
                tuple(v for n, v in given.items() if n == "arguments"),
            )
        if not isinstance(target, _Target) or not target.path:
            return None
        arguments, whole = _arguments((*target.args, *args), (*target.keywords, *keywords))
        if arguments is None:
            return None
        literal = {name: self.literal(value) for name, value in arguments.items()}
        guarded = self.outline.is_guarded(call, place)
        return ToolUse(call.lineno, target.server, ".".join(target.path), literal, whole, guarded)

    def literal(self, node: ast.expr) -> ast.expr:
        """The expression behind a loop's variable or a name that is bound once."""
        for _ in range(_MAX_STEPS):
            if not isinstance(node, ast.Name):
                break
            bound = self.outline.bindings.get(node.id, [])
            if node.id in self.rows:
                node = self.rows[node.id]
            elif len(bound) == 1 and bound[0] is not None and node.id not in self.outline.loops:
                node = bound[0]
            else:
                break
        return node


_OWN = ("server", "tool", "arguments")


def _arguments(
    args: tuple[ast.expr, ...], keywords: tuple[ast.keyword, ...]
) -> tuple[Mapping[str, ast.expr] | None, bool]:
    """The arguments that are written, and whether these are all; None where it is no such call."""
    written: dict[str, ast.expr] = {}
    whole = True
    if len(args) > 1 or any(isinstance(one, ast.Starred | ast.Constant) for one in args):
        return None, False
    for one in args:
        if not isinstance(one, ast.Dict):
            whole = False
            continue
        for key, value in zip(one.keys, one.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                written[key.value] = value
            else:
                whole = False
    for word in keywords:
        if word.arg is None:
            whole = False
        else:
            written[word.arg] = word.value
    return written, whole


def tool_uses(outline: Outline) -> Iterator[ToolUse]:
    """The calls of tools, those in a loop over a written list once for each of its items."""
    turns: dict[Loop, list[_Rows]] = {}
    found = (
        use
        for call, place in outline.calls
        if _may_reach_api(call.func, outline)
        for use in _uses(call, place, outline, turns)
    )
    return itertools.islice(found, _MAX_USES)


def _may_reach_api(node: ast.expr, outline: Outline) -> bool:
    """Whether what is called begins with ``api`` or a name of the script's own: most do not."""
    for _ in range(_MAX_STEPS):
        if isinstance(node, ast.Name):
            once = len(outline.bindings.get(node.id, ())) == 1
            return node.id == "api" or once or node.id in outline.loops
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            break
    return False


def _uses(
    call: ast.Call, place: CodePlace, outline: Outline, turns: dict[Loop, list[_Rows]]
) -> Iterator[ToolUse]:
    for loop in place.loops:
        if loop not in turns:
            turns[loop] = _turns(loop, outline)
    for rows in _rows([turns[loop] for loop in place.loops if turns[loop]]):
        use = _Reader(outline, rows).use(call, place)
        if use is not None:
            yield use


def _rows(each: list[list[_Rows]]) -> Iterator[_Rows]:
    """What the variables of loops stand for, turn by turn; those of other loops are left out."""
    for turn in itertools.islice(itertools.product(*each), _MAX_ROWS):
        yield {name: value for row in turn for name, value in row.items()}


def _turns(loop: Loop, outline: Outline) -> list[_Rows]:
    listed: ast.expr | None = loop.iter
    if isinstance(listed, ast.Name):
        listed = _unchanged_list(listed.id, outline)
    if not isinstance(listed, ast.List | ast.Tuple):
        return []
    turns = [_bound(loop.target, item, outline) for item in listed.elts[:_MAX_ROWS]]
    return [turn for turn in turns if turn is not None] if None not in turns else []


def _unchanged_list(name: str, outline: Outline) -> ast.expr | None:
    """A list that has a name for nothing but loops over it."""
    bound = outline.bindings.get(name, [])
    only_read = outline.iterated.get(name, 0) == len(outline.reads.get(name, ()))
    return bound[0] if len(bound) == 1 and only_read and name not in outline.loops else None


def _bound(target: ast.expr, item: ast.expr, outline: Outline) -> _Rows | None:
    if isinstance(target, ast.Name):
        free = target.id not in outline.bindings and not isinstance(item, ast.Starred)
        return {target.id: item} if free else None
    if isinstance(target, ast.Tuple) and isinstance(item, ast.Tuple):
        if len(target.elts) != len(item.elts):
            return None
        pairs = [_bound(*pair, outline) for pair in zip(target.elts, item.elts, strict=True)]
        if None in pairs:
            return None
        return {name: value for pair in pairs if pair for name, value in pair.items()}
    return None
