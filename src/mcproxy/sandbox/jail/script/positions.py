"""Which calls of a script are meant to give a promise. Pure: a tree in, two sets of calls out.

A call is meant so when its value is awaited or handed to asyncio: directly, or by way of names,
lists and loops that the value flows through. The flow is a graph, from each variable back to the
expressions that are put into it; walking it from everything that is awaited finds the calls.

What is not found is an ordinary blocking call, which is always right and only slower.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mcproxy.sandbox.jail.script.scopes import Key, Names, all_nodes, own_nodes

_TAKES_ALL = {"gather", "parallel"}
_TAKES_FIRST = {
    "wait", "as_completed", "wait_for", "shield", "create_task", "ensure_future", "run",
    "run_until_complete",
}  # fmt: skip
_OF_ANY_OWNER = {"parallel", "create_task", "run_until_complete"}  # api., a task group's, a loop's
_PUTS = {"append", "appendleft", "add", "extend", "insert", "put_nowait", "setdefault", "update"}
_TAKES_OUT = {"values", "items", "copy", "pop", "popleft"}
_SAME_ITEMS = {"list", "tuple", "set", "iter", "reversed", "enumerate", "zip", "dict"}

_HOLDS: dict[type[ast.expr], tuple[str, ...]] = {
    ast.List: ("elts",),
    ast.Tuple: ("elts",),
    ast.Set: ("elts",),
    ast.Dict: ("values",),
    ast.ListComp: ("elt",),
    ast.SetComp: ("elt",),
    ast.GeneratorExp: ("elt",),
    ast.DictComp: ("value",),
    ast.IfExp: ("body", "orelse"),
    ast.BoolOp: ("values",),
    ast.BinOp: ("left", "right"),
    ast.Starred: ("value",),
    ast.NamedExpr: ("value",),
    ast.Subscript: ("value",),
}


class Positions(NamedTuple):
    """``promised``: calls whose value is awaited. ``returned``: calls that a plain function
    returns, which give a promise when that function is asked for one."""

    promised: frozenset[ast.Call]
    returned: frozenset[ast.Call]


def positions(tree: ast.Module) -> Positions:
    """Find the calls of ``tree`` that are meant to give a promise."""
    nodes = all_nodes(tree)
    flow = _Flow(tree, nodes)
    returned = {
        call
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.Lambda)
        for call in flow.returned(node)
    }
    promised = flow.reach(flow.awaited)
    return Positions(frozenset(promised), frozenset(returned - promised))


class _Flow:
    """Where values come from. ``into[key]`` are the expressions whose values, or whose items,
    a variable takes; ``awaited`` are the expressions that are awaited or handed to asyncio."""

    def __init__(self, tree: ast.Module, nodes: list[ast.AST]) -> None:
        self._names = Names(tree)
        self._asyncio = _imports(nodes)
        self.into: defaultdict[Key, list[ast.expr]] = defaultdict(list)
        self.awaited: list[ast.expr] = []
        for node in nodes:
            self._collect(node)

    def _collect(self, node: ast.AST) -> None:
        match node:
            case ast.Await():
                self.awaited.append(node.value)
            case ast.Call():
                self._collect_call(node)
            case ast.Assign():
                for target in node.targets:
                    self._pair(target, node.value)
            case ast.AnnAssign(value=ast.expr() as value) | ast.AugAssign(value=value):
                self._pair(node.target, value)
            case ast.NamedExpr():
                self._pair(node.target, node.value)
            case ast.For() | ast.comprehension():
                self._pair(node.target, node.iter)

    def _collect_call(self, call: ast.Call) -> None:
        self.awaited += self._handed_over(call)
        if isinstance(call.func, ast.Attribute) and call.func.attr in _PUTS and call.args:
            self._pair(call.func.value, call.args[-1])
        for position, argument in enumerate(call.args):
            if key := self._names.parameter(call, position):
                self.into[key].append(argument)

    def _handed_over(self, call: ast.Call) -> list[ast.expr]:
        """The arguments that asyncio, a task group or ``api.parallel`` will await."""
        match call.func:
            case ast.Attribute(ast.Name(owner), name) if self._asyncio.get(owner) == "asyncio":
                pass
            case ast.Attribute(_, name) if name in _OF_ANY_OWNER:
                pass
            case ast.Name(alias):
                name = self._asyncio.get(alias, "")
            case _:
                return []
        if name in _TAKES_ALL:
            return call.args
        return call.args[:1] if name in _TAKES_FIRST else []

    def _pair(self, target: ast.expr, value: ast.expr) -> None:
        """``target`` takes ``value`` or its items; where both have parts, each takes its own."""
        if isinstance(target, ast.Tuple | ast.List):
            parts = _parts(value, len(target.elts))
            for inner, part in zip(target.elts, parts, strict=True):
                if part is not None:
                    self._pair(inner, part)
        elif key := self._names.key(target):
            self.into[key].append(value)

    def reach(self, start: Iterable[ast.expr]) -> set[ast.Call]:
        """The calls whose values get to ``start``, over any number of variables."""
        calls: set[ast.Call] = set()
        seen: set[Key] = set()
        todo = list(start)
        while todo:
            node = todo.pop()
            if isinstance(node, ast.Call):
                calls.add(node)
            key = self._names.key(node)
            if key and key not in seen:
                seen.add(key)
                todo += self.into[key]
            todo += _sources(node)
        return calls

    def returned(self, function: ast.FunctionDef | ast.Lambda) -> set[ast.Call]:
        """The calls that a plain function returns, itself or in a list."""
        if isinstance(function, ast.Lambda):
            return set(_leaves(function.body))
        nodes = list(own_nodes(function))
        if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in nodes):
            return set()
        guarded = _guarded(nodes)  # its error belongs to the handler around it
        values = [n.value for n in nodes if isinstance(n, ast.Return) and n.value]
        values += [item for value in values for item in self._collected(value, nodes)]
        return {call for value in values for call in _leaves(value)} - guarded

    def _collected(self, value: ast.expr, nodes: list[ast.AST]) -> list[ast.expr]:
        """What is put into a list that the function only fills and returns."""
        if not isinstance(value, ast.Name):
            return []
        key = self._names.key(value)
        uses = [n for n in nodes if isinstance(n, ast.Name) and self._names.key(n) == key]
        filled = {
            n.func.value
            for n in nodes
            if isinstance(n, ast.Call)
            and isinstance(n.func, ast.Attribute)
            and n.func.attr in _PUTS
        }
        read = [n for n in uses if isinstance(n.ctx, ast.Load) and n not in filled]
        if key is None or len(read) != 1 or not filled.intersection(uses):
            return []
        return self.into[key]


def _imports(nodes: list[ast.AST]) -> dict[str, str]:
    """Names that mean asyncio ("asyncio") or one of its functions (the function's name)."""
    names = {"asyncio": "asyncio"}
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {a.asname: "asyncio" for a in node.names if a.name == "asyncio" and a.asname}
        elif isinstance(node, ast.ImportFrom) and node.module == "asyncio":
            names |= {a.asname or a.name: a.name for a in node.names}
    return names


def _parts(value: ast.expr, count: int) -> list[ast.expr | None]:
    """What each of ``count`` targets takes of ``value``; None where it cannot be a call's value."""
    match value:
        case ast.Tuple(elts) | ast.List(elts) if len(elts) == count:
            return list(elts)
        case ast.Call(ast.Name("zip"), args) if len(args) == count:
            return list(args)
        case ast.Call(ast.Name("enumerate"), [first, *_]) if count == 2:
            return [None, first]
        case ast.Call(ast.Attribute(owner, "items"), []) if count == 2:
            return [None, owner]
        case _:
            return [value] * count


def _sources(node: ast.expr) -> Iterator[ast.expr]:
    """The expressions inside ``node`` whose values it gives, or holds."""
    if isinstance(node, ast.Call):
        yield from _same_items(node)
    for field in _HOLDS.get(type(node), ()):
        inner: ast.expr | list[ast.expr] = getattr(node, field)
        yield from inner if isinstance(inner, list) else [inner]


def _same_items(call: ast.Call) -> Iterable[ast.expr]:
    """What ``list(x)``, ``zip(x, y)`` or ``x.values()`` hands through."""
    match call.func:
        case ast.Name(name) if name in _SAME_ITEMS:
            return call.args
        case ast.Attribute(owner, name) if name in _TAKES_OUT:
            return [owner]
        case _:
            return []


def _leaves(value: ast.expr) -> Iterator[ast.Call]:
    """The calls that ``value`` is, or is a list of."""
    match value:
        case ast.Call():
            yield value
        case ast.List(elts) | ast.Tuple(elts):
            yield from (item for item in elts if isinstance(item, ast.Call))
        case ast.ListComp(ast.Call() as call):
            yield call
        case ast.IfExp():
            yield from _leaves(value.body)
            yield from _leaves(value.orelse)
        case ast.BoolOp():
            yield from _leaves(value.values[-1])


def _guarded(nodes: list[ast.AST]) -> set[ast.AST]:
    blocks = (ast.Try, ast.TryStar, ast.With)
    return {inner for node in nodes if isinstance(node, blocks) for inner in all_nodes(node)}
