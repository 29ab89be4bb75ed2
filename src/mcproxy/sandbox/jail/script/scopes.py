"""Which variable a name of a script means. Pure, and a little coarser than Python's own rules.

A class body counts as part of the scope around it, and so do defaults and decorators: for the
question that ``positions`` asks, taking two variables for one does no harm.
"""

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

_Node = TypeVar("_Node", bound=ast.AST)
Key = tuple[int, str]  # the scope's number and the name; scope 0 is the module
Function = ast.FunctionDef | ast.AsyncFunctionDef

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_SCOPES = (*_FUNCTIONS, *_COMPREHENSIONS)
_ATTRIBUTES = -1  # self.tasks and other.tasks are taken for the same variable


class _Scope(NamedTuple):
    number: int
    bound: frozenset[str]


class _Fields(dict[type, tuple[str, ...]]):
    """The fields of a kind of node that may hold others; what a name or an operator is, is said in
    the node itself."""

    _PLAIN = frozenset({"ctx", "op", "ops", "id", "attr", "kind", "type_comment", "lineno"})

    def __missing__(self, kind: type) -> tuple[str, ...]:
        named = () if kind in (ast.Name, ast.Constant) else getattr(kind, "_fields", ())
        self[kind] = tuple(name for name in named if name not in self._PLAIN)
        return self[kind]


fields = _Fields()


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below, without operators. A script is walked several times before it runs:
    this takes a third of the time of ``ast.iter_child_nodes``."""
    found: list[ast.AST] = []
    for name in fields[type(node)]:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


def all_nodes(tree: ast.AST) -> list[ast.AST]:
    """Every node of a tree, each before those below it."""
    found = [tree]
    for node in found:
        found += children(node)
    return found


def place_at(place: ast.AST, made: _Node) -> _Node:
    """A new node, with all that is in it, where another stands."""
    for inner in all_nodes(made):
        ast.copy_location(inner, place)
    return made


def own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of one scope. Inner scopes are given, but not entered."""
    todo = children(scope)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, _SCOPES):
            todo += children(node)


def running_nodes(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Every node that runs when these do: not the bodies of functions in them."""
    todo = list(body)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, _FUNCTIONS):
            todo += children(node)


class Names:
    """The variable behind every name of a script, and the functions that it defines."""

    def __init__(self, tree: ast.Module) -> None:
        self._keys: dict[ast.AST, Key] = {}
        self._functions: dict[Key, Function] = {}
        self._numbers: dict[ast.AST, int] = {}
        self._enter(tree, ())

    def key(self, node: ast.AST) -> Key | None:
        """The variable that an expression reads or writes; for an item, its container's."""
        if isinstance(node, ast.Subscript | ast.Starred):
            return self.key(node.value)
        if isinstance(node, ast.Attribute):
            return (_ATTRIBUTES, node.attr)
        return self._keys.get(node)

    def parameter(self, call: ast.Call, position: int) -> Key | None:
        """The parameter of a function of the script that takes the call's argument."""
        key = self._keys.get(call.func)
        function = self._functions.get(key) if key else None
        if function is None or position >= len(function.args.args):
            return None
        return (self._numbers[function], function.args.args[position].arg)

    def _enter(self, scope: ast.AST, outer: tuple[_Scope, ...]) -> None:
        nodes = list(own_nodes(scope))
        number = self._numbers[scope] = len(self._numbers)
        chain = (*outer, _Scope(number, frozenset(_bound(scope, nodes))))
        for node in nodes:
            if isinstance(node, ast.Name):
                self._keys[node] = _resolve(node.id, chain)
            elif isinstance(node, Function):
                self._functions[_resolve(node.name, chain)] = node
            if isinstance(node, _SCOPES):
                self._enter(node, chain)


def _resolve(name: str, chain: tuple[_Scope, ...]) -> Key:
    found = (scope.number for scope in reversed(chain) if name in scope.bound)
    return (next(found, 0), name)


def _bound(scope: ast.AST, nodes: list[ast.AST]) -> set[str]:
    if isinstance(scope, _COMPREHENSIONS):
        targets = [part.target for part in scope.generators]
        return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    bound |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    bound |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    outer = [n.names for n in nodes if isinstance(n, ast.Global | ast.Nonlocal)]
    return bound.difference(*outer)


def bound_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that these nodes bind, in whatever way; ``*`` for a module's all."""
    names: set[str] = set()
    for node in nodes:
        match node:
            case ast.Name(name, ast.Store() | ast.Del()) | ast.arg(name):
                names.add(name)
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                names.add(name)
            case ast.alias(name, alias):
                names.add(alias or name.partition(".")[0])
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                names.add(name)
            case ast.MatchStar(str(name)) | ast.MatchMapping(rest=str(name)):
                names.add(name)
    return names
