"""A call in both styles, at run time: what the names that ``rewrite`` puts into a script do.

``Dual`` is a callable with a blocking and an asynchronous side. ``promised(f)(...)`` takes the
asynchronous side of ``f``; where ``f`` is a function of the script, it asks that function for a
promise instead: the function sees by its caller's frame that it was asked, and passes the wish on
to the call that it returns. Frames, not variables, carry the wish, because it must reach this one
call only: neither what the function calls on the way, nor another task.
"""

import asyncio
import functools
import inspect
import sys
import types
from collections.abc import Awaitable, Callable, Generator

from mcproxy.sandbox.jail.script.promise import SCRIPT, Promise
from mcproxy.sandbox.jail.script.value import MAX_DEPTH

Function = Callable[..., object]
_MAX_CONTAINERS = 100_000  # of a result that are searched for promises
_NOT_PLAIN = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


class Dual:
    """A callable with a blocking side (a call) and an asynchronous one (``_start_call``).

    Its attributes begin with ``_``: on a server's, all other names are those of tools.
    """

    def __init__(
        self,
        name: str,
        start: Callable[..., Awaitable[object]],
        wait: Callable[[Awaitable[object]], object],
    ) -> None:
        self.__name__ = name
        self._start_call = start
        self._wait = wait

    def __call__(self, /, *args: object, **kwargs: object) -> object:
        return self._wait(self._start_call(*args, **kwargs))

    def __repr__(self) -> str:
        return f"<{self.__name__}: call it with (...)>"

    def _is_tool(self) -> bool:
        return True


class Ready:
    """An awaitable that is there already: ``await`` of a plain value gives the value."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, object]:
        return self._value
        yield  # makes this a generator function, which ``__await__`` must be


def promised(function: Function) -> Function:
    """The side of ``function`` that gives a promise, if it has one; else ``function``."""
    if isinstance(function, Dual):
        return function._start_call
    if isinstance(function, functools.partial):
        return functools.partial(promised(function.func), *function.args, **function.keywords)
    return _asking(function) if _is_plain(function) else function


def either(wanted: bool, function: Function) -> Function:
    """``promised(function)`` inside a function that was asked for a promise, else ``function``."""
    return promised(function) if wanted else function


def _is_plain(function: Function) -> bool:
    """A ``def`` or lambda of the script: only those have been rewritten to answer the question."""
    if isinstance(function, types.MethodType):
        function = function.__func__
    if not isinstance(function, types.FunctionType):
        return False
    code = function.__code__
    return code.co_filename == SCRIPT and not code.co_flags & _NOT_PLAIN


def _asking(function: Function) -> Function:
    def asking(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return asking


_ASKING = _asking(len).__code__  # one code object for all closures


def asked() -> bool:
    """Whether the caller of the function that calls this wants a promise."""
    caller = sys._getframe(1).f_back
    return caller is not None and caller.f_code is _ASKING


def awaited(value: object) -> Awaitable[object]:
    """``value`` if it can be awaited, else an awaitable that gives it back."""
    if inspect.isawaitable(value):
        return value
    if isinstance(value, Dual) and value._is_tool():
        raise TypeError(f"{value.__name__} was not called: write {value.__name__}(...)")
    if _holds_promises(value):
        return settled(value)
    return Ready(value)


async def settled(value: object) -> object:
    """``value`` with a promise, or a list of promises, replaced by what they give."""
    if isinstance(value, Promise):
        return await value
    if _holds_promises(value) and isinstance(value, list | tuple):
        return type(value)([await awaited(item) for item in value])
    return value


def _holds_promises(value: object) -> bool:
    return type(value) in (list, tuple) and any(isinstance(item, Promise) for item in value)  # type: ignore[attr-defined]


async def finished(value: object) -> object:
    """A script's result with everything awaitable in it awaited, at any depth; lists and dicts
    are changed in place, which a cycle survives."""
    return await _finished(value, set(), MAX_DEPTH)


async def _finished(value: object, seen: set[int], depth: int) -> object:
    while inspect.isawaitable(value):
        value = await value
    if id(value) in seen or len(seen) > _MAX_CONTAINERS or not depth:
        return value
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple([await _finished(item, seen, depth - 1) for item in value])
    if isinstance(value, list | dict):
        seen.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in list(items):
            if isinstance(item, Awaitable | list | dict | tuple):
                value[key] = await _finished(item, seen, depth - 1)
    return value


async def gathered(items: tuple[object, ...], *, return_exceptions: bool) -> list[object]:
    """The values of ``items`` in order, once all have ended; then the first failure, if any.

    An item is a call, any awaitable, a function without parameters that makes one, or a value.
    """
    calls = [_lifted(promised(item)() if callable(item) else item) for item in items]
    values = await asyncio.gather(*calls, return_exceptions=True)
    if not return_exceptions:
        for value in values:
            if isinstance(value, BaseException):
                raise value
    return list(values)


async def _lifted(value: object) -> object:
    return await awaited(value)
