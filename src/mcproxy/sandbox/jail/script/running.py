"""One script: compiled, run, and its result chosen.

The result is what ``run()`` returns, else the variable ``result``, else the value of the last
expression. A script that calls its ``run`` itself is not made to run it twice.
"""

import ast
import asyncio
import inspect
import json
import linecache
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass

from mcproxy.sandbox.jail.script import styles
from mcproxy.sandbox.jail.script.api import Api
from mcproxy.sandbox.jail.script.loops import Tasks, rest
from mcproxy.sandbox.jail.script.promise import SCRIPT, ToolError
from mcproxy.sandbox.jail.script.rewrite import rewrite

_LAST = "__last__"
_REWRITE_DEPTH = 10_000  # frames; a long chain of operators nests as deeply as it is long
_NEEDS_LOOP = {"create_task", "ensure_future", "get_running_loop", "current_task"}


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled script. ``calls_run``: it calls its own ``run``; ``in_loop``: its top level
    needs a running event loop."""

    code: types.CodeType
    calls_run: bool
    in_loop: bool


def compile_script(source: str) -> Program:
    """Raises SyntaxError, with the script's own line and its text."""
    linecache.cache[SCRIPT] = (len(source), None, source.splitlines(keepends=True), SCRIPT)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(_REWRITE_DEPTH)
    try:
        return _compiled(source)
    except SyntaxError as error:
        error.text = error.text or linecache.getline(SCRIPT, error.lineno or 0)
        raise
    finally:
        sys.setrecursionlimit(limit)


def _compiled(source: str) -> Program:
    tree = ast.parse(source, SCRIPT)
    called = {_called_name(node) for node in _top_level(tree.body) if isinstance(node, ast.Call)}
    _keep_last(tree.body)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(rewrite(tree), SCRIPT, "exec", flags, dont_inherit=True)
    in_loop = bool(code.co_flags & inspect.CO_COROUTINE or called & _NEEDS_LOOP)
    return Program(code, "run" in called, in_loop)


def _top_level(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node that runs when the script's top level runs: not the bodies of functions."""
    todo: list[ast.AST] = list(nodes)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo.extend(ast.iter_child_nodes(node))


def _called_name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Name):
        return call.func.id
    return (
        call.func.attr if isinstance(call.func, ast.Attribute) and call.func.attr != "run" else ""
    )


def _keep_last(body: list[ast.stmt]) -> None:
    """Store the value of the last expression, also at the end of ``if __name__ == …:``."""
    last = body[-1] if body else None
    if isinstance(last, ast.Expr):
        target = ast.copy_location(ast.Name(_LAST, ast.Store()), last)
        body[-1] = ast.copy_location(ast.Assign([target], last.value), last)
    elif isinstance(last, ast.If) and "__name__" in ast.dump(last.test):
        _keep_last(last.body)


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
    )
    return module.__dict__


def run(
    program: Program, names: dict[str, object], loop: asyncio.AbstractEventLoop, tasks: Tasks
) -> object:
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
    entry = names.get("run")
    if not program.calls_run and isinstance(entry, types.FunctionType) and _takes_nothing(entry):
        value = entry()
        if value is not None or "result" not in names:
            return value
    return names["result"] if "result" in names else names.get(_LAST)


def silence(program: Program, names: dict[str, object]) -> str:
    """What to say about a script that did nothing to be seen: no result, no output, no call."""
    entry = names.get("run")
    if not program.calls_run and isinstance(entry, types.FunctionType):
        if not _takes_nothing(entry):
            return "run() takes arguments, so it was not called; write it without any"
        return "run() gave None: return what you want to see"
    return "nothing to see: end with an expression, set the variable `result`, or define run()"


def _takes_nothing(function: types.FunctionType) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    return function.__code__.co_filename == SCRIPT
