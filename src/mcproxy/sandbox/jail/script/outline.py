"""One pass over a script's tree: its calls and where they stand, what its names are bound to. Pure.

A call is *guarded* where the script may never come to it or is ready for its failure: under a
condition, in ``try``, after a way out, in a function that is called from such a place. What goes
wrong there is no reason to refuse a script. In doubt a call is guarded.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from mcproxy.sandbox.jail.script.scopes import all_nodes, children

Loop: TypeAlias = ast.For | ast.AsyncFor | ast.comprehension
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

MAX_NODES = 20_000  # some 2,000 lines
_EXITS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_EXIT_NAMES = frozenset({"exit", "quit", "_exit"})
# What stands in these is given to others, who may wait for it where a failure is expected.
_HANDED_OVER = frozenset({"create_task", "ensure_future", "submit", "run_in_executor", "to_thread"})
# Context managers that let every exception through; any other may swallow some.
_TRANSPARENT = frozenset({"open", "TaskGroup", "timeout", "ThreadPoolExecutor", "Lock"})


class CodePlace(NamedTuple):
    """Where a node stands: guarded by itself, within which function and which loops."""

    guarded: bool = False
    function: str | None = None
    loops: tuple[Loop, ...] = ()


class Outline:
    """``bindings``: by name what it is bound to, None for what is no plain expression; ``reads``
    where a name is used; ``loops``, ``iterated``: how many loops bind a name, or go over what it
    has. ``used_at_once``: calls that are awaited or stand alone, so that a failure comes up right
    there; ``named``: imports and attributes. ``catches``: the script is ready for failures
    somewhere; ``ready_for_failure``: functions that are used in a guarded place, directly or by way
    of others; ``opaque``: names may mean anything."""

    def __init__(self) -> None:
        self.calls: list[tuple[ast.Call, CodePlace]] = []
        self.bindings: dict[str, list[ast.expr | None]] = {}
        self.loops: dict[str, int] = {}
        self.reads: dict[str, list[CodePlace]] = {}
        self.iterated: dict[str, int] = {}
        self.imports: dict[str, str] = {}
        self.used_at_once: set[ast.AST] = set()
        self.named: list[ast.AST] = []
        self.catches = self.opaque = False
        self.ready_for_failure: frozenset[str] = frozenset()

    def bind(self, name: str, value: ast.expr | None = None) -> None:
        """Note one more binding of a name."""
        self.bindings.setdefault(name, []).append(value)

    def is_guarded(self, call: ast.Call, place: CodePlace) -> bool:
        """Whether a failure of this call may be no failure of the script."""
        if place.guarded or (self.catches and call not in self.used_at_once):
            return True
        return place.function in self.ready_for_failure


_Waiting: TypeAlias = list[tuple[ast.AST, CodePlace]]


def outline(tree: ast.Module) -> Outline:
    """The outline of a script; of one that has very many nodes, only that it is opaque."""
    found = Outline()
    waiting: _Waiting = []
    _block(tree.body, CodePlace(), waiting)
    for _ in range(MAX_NODES):
        if not waiting:
            found.ready_for_failure = _ready_for_failure(found)
            return found
        node, place = waiting.pop()
        enter = _ENTER.get(type(node), _others)
        if enter is not None:
            enter(node, place, found, waiting)
    found.opaque = True
    return found


def _ready_for_failure(found: Outline) -> frozenset[str]:
    """The functions whose failure may be none of the script's. One without a name ("", a lambda)
    may be called from anywhere."""
    guarded = {name for name, places in found.reads.items() if any(p.guarded for p in places)}
    if found.catches:
        guarded.add("")
    users: dict[str, set[str]] = {}  # by function: the names that are used within it
    for name, places in found.reads.items():
        for place in places:
            if place.function is not None:
                users.setdefault(place.function, set()).add(name)
    waiting = list(guarded)
    while waiting:
        for name in users.get(waiting.pop(), set()) - guarded:
            guarded.add(name)
            waiting.append(name)
    return frozenset(guarded)


def _others(node: ast.AST, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    waiting.extend([(inner, place) for inner in children(node)])


def _block(body: list[ast.stmt], place: CodePlace, waiting: _Waiting) -> None:
    """Statements, of which those after a way out are guarded."""
    for statement in body:
        waiting.append((statement, place))
        if not place.guarded and _leaves(statement):
            place = _guarded(place)


def _leaves(statement: ast.stmt) -> bool:
    ends = [statement]  # of the branches, of which any may be a way out
    while ends:
        end = ends.pop()
        if isinstance(end, ast.If):
            ends += (*end.body[-1:], *end.orelse[-1:])
        elif isinstance(end, ast.Expr) and isinstance(end.value, ast.Call):
            if _name_of(end.value.func) in _EXIT_NAMES:
                return True
        elif isinstance(end, (*_EXITS, ast.Assert)):
            return True
    return False


def _name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Call):  # what a call gives is named by what is called
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _guarded(place: CodePlace) -> CodePlace:
    return place if place.guarded else CodePlace(True, place.function, place.loops)


def _name(node: ast.Name, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    if isinstance(node.ctx, ast.Load):
        found.reads.setdefault(node.id, []).append(place)
    else:
        found.bind(node.id)


def _attribute(node: ast.Attribute, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    found.named.append(node)
    if isinstance(node.ctx, ast.Load):
        found.reads.setdefault(node.attr, []).append(place)  # a method of this name, perhaps
    elif isinstance(node.value, ast.Name):
        found.bind(node.value.id)  # what it has is no longer what it had
    waiting.append((node.value, place))


def _call(node: ast.Call, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    found.calls.append((node, place))
    name = _name_of(node.func)
    if name in ("exec", "eval", "setattr", "globals", "locals", "vars"):
        found.opaque = True
    outer = any(word.arg == "return_exceptions" for word in node.keywords)
    found.catches |= outer
    inner = _guarded(place) if outer or name in _HANDED_OVER else place
    waiting.append((node.func, place))
    waiting.extend([(item, inner) for item in node.args])
    waiting.extend([(word.value, inner) for word in node.keywords])


def _at_once(
    node: ast.Await | ast.Expr, place: CodePlace, found: Outline, waiting: _Waiting
) -> None:
    found.used_at_once.add(node.value)
    waiting.append((node.value, place))


def _assign(node: ast.Assign, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    for target in node.targets:
        _target(target, node.value, place, found, waiting)
    waiting.append((node.value, place))


def _annotated(node: ast.AnnAssign, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    if node.value is not None:
        _target(node.target, node.value, place, found, waiting)
        waiting.append((node.value, place))


def _walrus(node: ast.NamedExpr, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    _target(node.target, node.value, place, found, waiting)
    waiting.append((node.value, place))


def _target(
    target: ast.expr, value: ast.expr, place: CodePlace, found: Outline, waiting: _Waiting
) -> None:
    if isinstance(target, ast.Name):
        found.bind(target.id, value)
    else:
        waiting.append((target, place))


def _loop(
    node: ast.For | ast.AsyncFor, place: CodePlace, found: Outline, waiting: _Waiting
) -> None:
    _iterate(node, place, found, waiting)
    inner = CodePlace(place.guarded, place.function, (*place.loops, node))
    _block(node.body, inner, waiting)
    _block(node.orelse, _guarded(place), waiting)


def _iterate(loop: Loop, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    for name in targets(loop.target):
        found.loops[name] = found.loops.get(name, 0) + 1
    waiting.append((loop.iter, place))
    if isinstance(loop.iter, ast.Name):
        found.iterated[loop.iter.id] = found.iterated.get(loop.iter.id, 0) + 1


def targets(target: ast.expr) -> Iterator[str]:
    """The names that a loop binds."""
    for node in all_nodes(target):
        if isinstance(node, ast.Name):
            yield node.id


def _comprehension(node: ast.expr, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    generators: list[ast.comprehension] = node.generators  # type: ignore[attr-defined]
    inner = place
    for generator in generators:
        _iterate(generator, inner, found, waiting)
        inner = CodePlace(inner.guarded, inner.function, (*inner.loops, generator))
        waiting.extend((test, inner) for test in generator.ifs)
        if generator.ifs:
            inner = _guarded(inner)
    for name in ("key", "value", "elt"):
        if hasattr(node, name):
            waiting.append((getattr(node, name), inner))


def _if(node: ast.If | ast.While, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    waiting.append((node.test, place))
    named = isinstance(node.test, ast.Compare) and _name_of(node.test.left) == "__name__"
    endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
    inner = place if named or endless else _guarded(place)
    _block(node.body, inner, waiting)
    _block(node.orelse, _guarded(place), waiting)


def _either(node: ast.IfExp, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    waiting.append((node.test, place))
    waiting.extend((value, _guarded(place)) for value in (node.body, node.orelse))


def _operands(node: ast.BoolOp, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    waiting.append((node.values[0], place))
    waiting.extend((value, _guarded(place)) for value in node.values[1:])


def _try(node: ast.Try | ast.TryStar, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    inner = _guarded(place) if node.handlers else place
    found.catches |= bool(node.handlers)
    _block(node.body, inner, waiting)
    _block(node.orelse, inner, waiting)
    for handler in node.handlers:
        if handler.name:
            found.bind(handler.name)
        _block(handler.body, inner, waiting)
    _block(node.finalbody, inner, waiting)


def _with(
    node: ast.With | ast.AsyncWith, place: CodePlace, found: Outline, waiting: _Waiting
) -> None:
    inner = place
    for item in node.items:
        waiting.append((item.context_expr, place))
        if item.optional_vars is not None:
            waiting.append((item.optional_vars, place))
        if _name_of(item.context_expr) not in _TRANSPARENT:
            inner, found.catches = _guarded(place), True
    _block(node.body, inner, waiting)


def _match(node: ast.Match, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    waiting.append((node.subject, place))
    for case in node.cases:
        for part in all_nodes(case.pattern):
            name = getattr(part, "name", None) or getattr(part, "rest", None)
            if name:
                found.bind(name)
        if case.guard is not None:
            waiting.append((case.guard, place))
        _block(case.body, _guarded(place), waiting)


def _define(node: Function, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    name = "" if isinstance(node, ast.Lambda) else node.name
    given = node.args
    named = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
    for argument in named:
        if argument is not None:
            found.bind(argument.arg)
    waiting.extend((value, place) for value in (*given.defaults, *given.kw_defaults) if value)
    inner = CodePlace(function=name)
    if isinstance(node, ast.Lambda):
        found.reads.setdefault("", []).append(place)
        waiting.append((node.body, inner))
        return
    found.bind(name)
    waiting.extend((decorator, place) for decorator in node.decorator_list)
    if node.decorator_list:
        inner = _guarded(inner)
    # A function's own names may hide the loops around it, and it runs when it is called.
    _block(node.body, inner, waiting)


def _class(node: ast.ClassDef, place: CodePlace, found: Outline, waiting: _Waiting) -> None:
    found.bind(node.name)
    waiting.extend((value, place) for value in (*node.bases, *node.decorator_list))
    _block(node.body, place, waiting)


def _import(
    node: ast.Import | ast.ImportFrom, place: CodePlace, found: Outline, waiting: _Waiting
) -> None:
    found.named.append(node)
    module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    for name in node.names:
        bound = name.asname or name.name.partition(".")[0]
        if bound == "*":
            found.opaque = True
        found.bind(bound)
        found.imports[bound] = module + (name.name if name.asname or module else bound)


def _declared(
    node: ast.Global | ast.Nonlocal, place: CodePlace, found: Outline, waiting: _Waiting
) -> None:
    for name in node.names:
        found.bind(name)


_Enter: TypeAlias = Callable[[Any, CodePlace, Outline, _Waiting], None]
_ENTER: Mapping[type, _Enter | None] = {
    **dict.fromkeys((ast.Constant, ast.Pass, ast.Break, ast.Continue)),
    **dict.fromkeys((ast.Load, ast.Store, ast.Del)),
    **dict.fromkeys((*ast.operator.__subclasses__(), *ast.cmpop.__subclasses__())),
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.Await: _at_once,
    ast.Expr: _at_once,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.NamedExpr: _walrus,
    ast.For: _loop,
    ast.AsyncFor: _loop,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.DictComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.If: _if,
    ast.While: _if,
    ast.IfExp: _either,
    ast.BoolOp: _operands,
    ast.Try: _try,
    ast.TryStar: _try,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Match: _match,
    ast.FunctionDef: _define,
    ast.AsyncFunctionDef: _define,
    ast.Lambda: _define,
    ast.ClassDef: _class,
    ast.Import: _import,
    ast.ImportFrom: _import,
    ast.Global: _declared,
    ast.Nonlocal: _declared,
}
