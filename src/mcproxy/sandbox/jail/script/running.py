"""One script: compiled, run, and its result chosen.

The result is what a top-level ``return`` or ``run()`` gives, else the variable ``result``, else the
value of the last expression, else what was assigned last, where the script shows nothing else. A
script that calls its ``run`` itself is not made to run it twice.
"""

import ast
import asyncio
import inspect
import json
import linecache
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from mcproxy.sandbox.jail.script import styles
from mcproxy.sandbox.jail.script.api import Api
from mcproxy.sandbox.jail.script.loops import rest
from mcproxy.sandbox.jail.script.promise import SCRIPT, ToolError
from mcproxy.sandbox.jail.script.rewrite import RETURNED, rewrite, with_returns
from mcproxy.sandbox.jail.script.scopes import running_nodes
from mcproxy.sandbox.jail.script.source import ScriptSource, read_source

_LAST = "__last__"
_REWRITE_DEPTH = 10_000  # frames; a long chain of operators nests as deeply as it is long
_BLOCKS = (ast.If, ast.Try, ast.TryStar, ast.With, ast.AsyncWith)
_PLAIN = (str, bytes, int, float, list, tuple, dict, set, frozenset)
_LAZY = (types.GeneratorType, map, filter, zip, enumerate, reversed)
_NEEDS_LOOP = {"create_task", "ensure_future", "get_running_loop", "current_task"}


class Program(NamedTuple):
    """A compiled script. ``called``: what its top level calls by name; ``in_loop``: its top level
    needs a running event loop; ``assigned``: its variables, that assigned last first."""

    code: types.CodeType
    called: frozenset[str]
    in_loop: bool
    assigned: tuple[str, ...]


def parse_script(text: str) -> ScriptSource:
    """Raises SyntaxError, with the script's own line and its text."""
    _show_lines(text)
    with _Compiling():
        source = read_source(text)
    _show_lines(source.text)
    return source


def _show_lines(text: str) -> None:
    """Let tracebacks find the script's lines."""
    linecache.cache[SCRIPT] = (len(text), None, text.splitlines(keepends=True), SCRIPT)


def compile_script(tree: ast.Module) -> Program:
    """Compile a script; its tree is used up. Raises SyntaxError as ``parse_script`` does."""
    with _Compiling():
        nodes = list(running_nodes(tree.body))
        called = frozenset(_called_name(node) for node in nodes if isinstance(node, ast.Call))
        returns = any(isinstance(node, ast.Return) for node in nodes)
        assigned = tuple(reversed(list(dict.fromkeys(_assigned(tree.body)))))
        _keep_last(tree.body)
        tree = rewrite(with_returns(tree) if returns else tree)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(tree, SCRIPT, "exec", flags, dont_inherit=True)
    in_loop = bool(code.co_flags & inspect.CO_COROUTINE or called & _NEEDS_LOOP)
    return Program(code, called, in_loop, assigned)


class _Compiling:
    """Within it there is room for trees that nest as deeply as a long chain of operators is long,
    and a SyntaxError has the text of its line."""

    def __enter__(self) -> None:
        self._limit = sys.getrecursionlimit()
        sys.setrecursionlimit(_REWRITE_DEPTH)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        sys.setrecursionlimit(self._limit)
        if isinstance(error, SyntaxError):
            error.text = error.text or linecache.getline(SCRIPT, error.lineno or 0)


def _called_name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Name):
        return call.func.id
    return (
        call.func.attr if isinstance(call.func, ast.Attribute) and call.func.attr != "run" else ""
    )


def _keep_last(body: list[ast.stmt]) -> None:
    """Store the value of the last expression, also at the end of a block that comes last."""
    last = body[-1] if body else None
    if isinstance(last, ast.Expr):
        target = ast.copy_location(ast.Name(_LAST, ast.Store()), last)
        body[-1] = ast.copy_location(ast.Assign([target], last.value), last)
    elif isinstance(last, _BLOCKS):
        for inner in _bodies(last):
            _keep_last(inner)


def _bodies(block: ast.stmt) -> Iterator[list[ast.stmt]]:
    yield block.body  # type: ignore[attr-defined]
    yield from (handler.body for handler in getattr(block, "handlers", ()))
    yield getattr(block, "orelse", [])


def _assigned(body: list[ast.stmt]) -> Iterator[str]:
    """The variables that the top level assigns, in order; what a loop assigns is one turn's."""
    for statement in body:
        match statement:
            case ast.Assign(targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(ast.Name(name), value=ast.expr()) | ast.AugAssign(ast.Name(name)):
                yield name
            case _ if isinstance(statement, _BLOCKS):
                for inner in _bodies(statement):
                    yield from _assigned(inner)


def namespace(api: Api) -> dict[str, object]:
    """The globals of a script, registered as the module ``__main__``."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    module.__dict__.update(
        api=api,
        ToolError=ToolError,
        asyncio=asyncio,
        json=json,
        exit=sys.exit,
        quit=sys.exit,
        __promise__=styles.promised,
        __either__=styles.either,
        __asked__=styles.asked,
        __awaited__=styles.awaited,
        __settled__=styles.settled,
        __waited__=api.wait,
    )
    return module.__dict__


def run(program: Program, names: dict[str, object], loop: asyncio.AbstractEventLoop) -> object:
    """Run a script to its end, and all that it started; gives its result.

    Raises what the script raises. ``exit()`` and ``exit(0)`` are an ordinary end.
    """
    try:
        _run_top_level(program, names, loop)
        value = _result(program, names)
        if loop.is_closed():  # by the script: what it left still needs one
            loop = asyncio.new_event_loop()
        return loop.run_until_complete(_finished(value))
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise
        return names.get("result")


def _run_top_level(
    program: Program, names: dict[str, object], loop: asyncio.AbstractEventLoop
) -> None:
    async def body() -> None:
        pending = eval(program.code, names)  # noqa: S307  # running scripts is what a worker does
        if inspect.iscoroutine(pending):
            await pending

    if program.in_loop:
        loop.run_until_complete(body())
    else:
        exec(program.code, names)  # noqa: S102


async def _finished(value: object) -> object:
    value = await styles.finished(value)
    await rest()
    return value


def _result(program: Program, names: dict[str, object]) -> object:
    value = names.get(RETURNED)
    entry = _entry(program, names) if value is None else None
    if entry is not None:
        value = entry()
    if value is None:
        value = names["result"] if "result" in names else names.get(_LAST)
    return list(value) if isinstance(value, _LAZY) else value


def _entry(program: Program, names: dict[str, object]) -> Callable[[], object] | None:
    """The function that the script wants to be called, and does not call itself: ``run``, or
    ``main`` where there is nothing else to be seen."""
    wanted = ["run"] if "result" in names or _LAST in names else ["run", "main"]
    for name in wanted:
        function = names.get(name)
        if name in program.called or not isinstance(function, types.FunctionType):
            continue
        if _takes(function, ()):
            return function
        api = names.get("api")
        takes_api = [*inspect.signature(function).parameters][:1] == ["api"]
        return partial(function, api) if takes_api and _takes(function, (api,)) else None
    return None


def assigned_last(program: Program, names: dict[str, object]) -> str | None:
    """The variable to show of a script that shows nothing: the plain value assigned last."""
    plain = (name for name in program.assigned if isinstance(names.get(name), _PLAIN))
    return next(plain, None)


def silence(program: Program, names: dict[str, object]) -> str:
    """What to say about a script that shows nothing: no result and no output."""
    entry = names.get("run")
    if "run" not in program.called and isinstance(entry, types.FunctionType):
        if _entry(program, names) is None:
            return "run() takes arguments, so it was not called; write it without any"
        return "run() gave None: return what you want to see"
    return "nothing to see: end with an expression, set the variable `result`, or define run()"


def _takes(function: types.FunctionType, given: tuple[object, ...]) -> bool:
    try:
        inspect.signature(function).bind(*given)
    except TypeError:
        return False
    return function.__code__.co_filename == SCRIPT
