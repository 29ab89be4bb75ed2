"""The script's tree with its calls turned towards the side that they are meant for.

Pure: tree in, tree out, lines kept. ``positions`` says which calls are meant to give a promise;
here they are made to. The names that it puts in are what ``styles`` provides:

    await E                           ->  await __awaited__(E)
    a call that is awaited            ->  __promise__(f)(...)
    ``return f(...)`` of a ``def``    ->  return __either__(__wanted__, f)(...)
    a call that is a statement of an  ->  await __settled__(__promise__(f)(...))
    ``async def`` or all its value
    await E in a plain ``def``        ->  __waited__(__promise__(f)(...))

The last but one changes no value and no order: it lets other tasks run while the call is under way.
"""

import ast
import builtins
from collections.abc import Callable
from typing import Any, TypeVar

from mcproxy.sandbox.jail.script.positions import positions
from mcproxy.sandbox.jail.script.scopes import bound_names, fields, place_at, running_nodes

RETURNED = "__returned__"  # the variable that has what the top level returned
BODY = "__body__"
_PLAIN_CALL = f"def {BODY}(): ...\n{RETURNED} = {BODY}()"
_ASYNC = (ast.Await, ast.AsyncFor, ast.AsyncWith)
_WANTED = "__wanted__"
_Node = TypeVar("_Node", bound=ast.AST)


def rewrite(tree: ast.Module) -> ast.Module:
    """Rewrite ``tree`` in place and give it back."""
    found = positions(tree)
    _Rewriter(found.promised, found.returned).visit(tree)
    return tree


class _Rewriter:
    def __init__(self, promised: frozenset[ast.Call], returned: frozenset[ast.Call]) -> None:
        self._promised, self._returned = promised, returned
        self._function: ast.AST | None = None  # the innermost function, or class body
        self._asks = False  # it returns a call, so it has to know whether a promise is wanted
        self._visitors: dict[type[ast.AST], Callable[[Any], ast.AST]] = {
            ast.FunctionDef: self._function_def,
            ast.AsyncFunctionDef: self._within,
            ast.ClassDef: self._within,
            ast.Lambda: self._within,
            ast.Await: self._awaited,
            ast.Call: self._called,
            ast.Assign: self._assigned,
            ast.Expr: self._assigned,
            ast.Return: self._assigned,
        }

    def visit(self, node: ast.AST) -> ast.AST:
        """The node that stands for ``node``, after those below it."""
        visitor = self._visitors.get(type(node))
        if visitor is not None:
            return visitor(node)
        self._visit_below(node)
        return node

    def _visit_below(self, node: ast.AST) -> None:
        for name in fields[type(node)]:
            value = getattr(node, name, None)
            if isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, ast.AST):
                        value[index] = self.visit(item)
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))

    def _within(self, function: _Node) -> _Node:
        outer, self._function = self._function, function
        self._visit_below(function)
        self._function = outer
        return function

    def _function_def(self, node: ast.FunctionDef) -> ast.AST:
        outer, self._asks = self._asks, False
        self._within(node)
        asks, self._asks = self._asks, outer
        if asks:
            wanted = ast.Assign([ast.Name(_WANTED, ast.Store())], _call("__asked__"))
            node.body.insert(_after_docstring(node), place_at(node.body[0], wanted))
        return node

    def _awaited(self, node: ast.Await) -> ast.AST:
        self._visit_below(node)
        if not isinstance(self._function, ast.AsyncFunctionDef | None):
            return _call("__waited__", node.value)
        node.value = _call("__awaited__", node.value)
        return node

    def _called(self, node: ast.Call) -> ast.AST:
        self._visit_below(node)
        if node in self._promised:
            _promise(node)
        elif node in self._returned:
            in_lambda = isinstance(self._function, ast.Lambda)
            wanted = _call("__asked__") if in_lambda else ast.Name(_WANTED, ast.Load())
            self._asks |= not in_lambda
            node.func = _call("__either__", place_at(node, wanted), node.func)
        return node

    def _assigned(self, node: ast.Assign | ast.Expr | ast.Return) -> ast.AST:
        self._visit_below(node)
        if node.value is not None:
            node.value = self._cooperative(node.value)
        return node

    def _cooperative(self, value: ast.expr) -> ast.expr:
        """In an ``async def``: wait for the call as a task does, not by blocking the loop."""
        if not isinstance(self._function, ast.AsyncFunctionDef):
            return value
        if isinstance(value, ast.IfExp):
            value.body = self._cooperative(value.body)
            value.orelse = self._cooperative(value.orelse)
        elif isinstance(value, ast.Tuple | ast.List):
            value.elts = [self._cooperative(item) for item in value.elts]
        elif isinstance(value, ast.Call) and value not in self._promised and not _builtin(value):
            _promise(value)
            return ast.copy_location(ast.Await(_call("__settled__", value)), value)
        return value


def _promise(call: ast.Call) -> None:
    """Make the call give a promise; of ``map``, the calls that it makes."""
    if isinstance(call.func, ast.Name) and call.func.id == "map" and call.args:
        call.args[0] = _call("__promise__", call.args[0])
    else:
        call.func = _call("__promise__", call.func)


def _builtin(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and hasattr(builtins, call.func.id)


def _call(name: str, *args: ast.expr) -> ast.Call:
    function = ast.Name(name, ast.Load())
    made = ast.Call(function, list(args), [])
    if args:
        ast.copy_location(function, args[-1])
        ast.copy_location(made, args[-1])
    return made


def _after_docstring(function: ast.FunctionDef) -> int:
    return 0 if ast.get_docstring(function, clean=False) is None else 1


def with_returns(tree: ast.Module) -> ast.Module:
    """A tree whose top level returns, which is now the body of a function that is called. Its
    variables are the module's all the same."""
    nodes = list(running_nodes(tree.body))
    for node in nodes:
        if isinstance(node, ast.AnnAssign):
            node.simple = 0  # else its name could not be the module's
    outside = [one for one in tree.body if _belongs_to_module(one)]
    names = bound_names(nodes) - {"*"}
    body: list[ast.stmt] = [ast.Global(sorted(names))] if names else []
    body += [one for one in tree.body if one not in outside]
    awaits = any(isinstance(node, _ASYNC) or getattr(node, "is_async", 0) for node in nodes)
    call = f"async def {BODY}(): ...\n{RETURNED} = await {BODY}()" if awaits else _PLAIN_CALL
    made = ast.parse(call)
    made.body[0].body = body  # type: ignore[attr-defined]
    made.body[:0] = outside
    return ast.fix_missing_locations(made)


def _belongs_to_module(statement: ast.stmt) -> bool:
    """Whether it is an import that no function may have."""
    if not isinstance(statement, ast.ImportFrom):
        return False
    return statement.module == "__future__" or statement.names[0].name == "*"
