"""An exception as the error frame that tells the model what went wrong in its script.

Only the script's own lines are shown: frames of the gateway or of libraries help nobody who can
change nothing but the script. With them goes the shape of the values on the failing line, which a
model needs most after a wrong key or type: of plain JSON values only, so that nothing of the script
runs again.
"""

import linecache
import re
import traceback
from collections.abc import Mapping
from typing import NamedTuple

from mcproxy.sandbox.jail.script.hints import hint
from mcproxy.sandbox.jail.script.promise import SCRIPT, ToolError
from mcproxy.sandbox.jail.script.rewrite import BODY

_MAX_TRACEBACK_CHARS = 8000
_MAX_MESSAGE_CHARS = 4000
_WRONG_SHAPE = (KeyError, IndexError, TypeError, AttributeError)


class Report(NamedTuple):
    """The fields of an error frame."""

    type: str
    message: str
    line: int | None = None
    traceback: str | None = None
    hint: str | None = None
    retryable: bool = False


def report(error: BaseException) -> Report:
    """What to tell about an exception that ended a script."""
    message = _message(error)
    where = _innermost(error)
    return Report(
        type=type(error).__name__,
        message=_shortened(message, _MAX_MESSAGE_CHARS),
        line=where.line,
        traceback=_shortened(_traceback(error, where), _MAX_TRACEBACK_CHARS),
        hint=_advice(error, message, where),
        retryable=_retryable(error),
    )


class _Where(NamedTuple):
    """The innermost place of the script that an error went through."""

    line: int | None = None
    names: Mapping[str, object] = {}

    def source(self) -> str:
        return linecache.getline(SCRIPT, self.line) if self.line else ""


def _innermost(error: BaseException) -> _Where:
    if isinstance(error, SyntaxError) and error.filename == SCRIPT:
        return _Where(error.lineno)
    places = [
        _Where(line, {**frame.f_globals, **frame.f_locals})
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == SCRIPT
    ]
    if places:
        return places[-1]
    if isinstance(error, BaseExceptionGroup):
        return _innermost(error.exceptions[0])
    return _Where(error.line if isinstance(error, ToolError) else None)


def _advice(error: BaseException, message: str, where: _Where) -> str | None:
    server = error.name if isinstance(error, NameError | ModuleNotFoundError) else None
    if server and server in where.names.get("api", ()):  # type: ignore[operator]
        return f"It is a server: write api.server({server!r})."
    parts = [hint(type(error).__name__, message, where.source()) or ""]
    if isinstance(error, _WRONG_SHAPE):
        shown = shapes(where.source(), where.names)
        parts.append(f"Here {shown}." if shown else "")
    return " ".join(filter(None, parts)) or None


def _message(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg
    try:
        text = str(error)
    except Exception as fault:  # noqa: BLE001  # a script's __str__ may raise anything
        text = f"its message cannot be shown ({type(fault).__name__})"
    if isinstance(error, BaseExceptionGroup):
        inner = "; ".join(f"{type(e).__name__}: {_message(e)}" for e in error.exceptions)
        return f"{text}: {inner}"
    return text


def _retryable(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_retryable(inner) for inner in error.exceptions)
    return isinstance(error, ToolError) and error.retryable


def _traceback(error: BaseException, where: _Where) -> str:
    summary = traceback.TracebackException.from_exception(error)
    _keep_script(summary)
    if not summary.stack and where.line and not isinstance(error, SyntaxError):
        place = traceback.FrameSummary(SCRIPT, where.line, "<module>")
        summary.stack = traceback.StackSummary.from_list([place])
    text = "".join(summary.format()).rstrip()
    if isinstance(error, BaseExceptionGroup):
        return text  # which has the tracebacks of all within it
    said = "".join(list(summary.format_exception_only())[-1:]).rstrip()
    name, colon, _ = said.partition(":")
    return text.removesuffix(said) + name if colon else text  # the reply has the message already


def _keep_script(summary: traceback.TracebackException) -> None:
    """Drop every frame that is not the script's, in the whole chain of causes."""
    kept = [
        traceback.FrameSummary(frame.filename, frame.lineno, _name(frame.name), line=frame.line)
        for frame in summary.stack
        if frame.filename == SCRIPT
    ]
    summary.stack = traceback.StackSummary.from_list(kept)
    linked = [summary.__cause__, summary.__context__, *(summary.exceptions or ())]
    for other in linked:
        if other is not None:
            _keep_script(other)


def _name(function: str) -> str:
    return "<module>" if function == BODY else function


def _shortened(text: str, limit: int) -> str:
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= limit:
        return text
    return (
        f"{text[: limit // 2]}\n… {len(text) - limit} characters left out …\n{text[-limit // 2 :]}"
    )


_MAX_VALUES = 3
_MAX_KEYS = 12
_MAX_DEPTH = 2
_MAX_KEY_CHARS = 40


def shapes(source_line: str, names: Mapping[str, object]) -> str:
    """``rows is a list of 3 (dict with keys 'id', 'name')`` for the variables of a line."""
    found = dict.fromkeys(re.findall(r"[^\W\d]\w*", source_line))
    told = [
        f"{name} is {shape(names[name])}"
        for name in found
        if type(names.get(name)) in (dict, list, str)
    ]
    return "; ".join(told[:_MAX_VALUES])


def shape(value: object, depth: int = _MAX_DEPTH) -> str:
    """A JSON value in words: its type, its size, its keys."""
    if isinstance(value, dict):
        return _dict(value, depth)
    if isinstance(value, list):
        inner = f" ({shape(value[0], depth - 1)}, …)" if value and depth > 0 else ""
        return f"a list of {len(value)}{inner}"
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    return "None" if value is None else type(value).__name__


def _dict(value: Mapping[object, object], depth: int) -> str:
    keys = [_key(key, value[key], depth - 1) for key in list(value)[:_MAX_KEYS]]
    more = ", …" if len(value) > _MAX_KEYS else ""
    return f"a dict with keys {', '.join(keys)}{more}" if keys else "an empty dict"


def _key(key: object, item: object, depth: int) -> str:
    name = repr(key)[:_MAX_KEY_CHARS]
    return f"{name} ({shape(item, 0)})" if depth > 0 and isinstance(item, dict | list) else name
