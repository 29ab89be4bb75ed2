"""The arguments of ``search`` and ``execute``, parsed once into frozen values.

Models send integers as strings and invent argument names; what can only mean one thing is read as
that, all else is an ``ArgumentFault`` whose text lets the model mend its call.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import fields

from mcproxy.errors import McproxyError
from mcproxy.manifest.bounds import DEFAULT_DEPTH, MAX_DEPTH, MAX_LIMIT
from mcproxy.manifest.spelling import near
from mcproxy.types import Json, JsonObject

MAX_CODE_BYTES = 50 << 10
_SHOWN_CHARS = 100  # of what a client sent, in a refusal of it
_MAX_ID_CHARS = 100


OnUnknown: TypeAlias = Literal["refuse", "retry", "skip"]


class ArgumentFault(McproxyError):
    """A meta-tool's arguments that cannot be used; answered as a result with ``isError``."""


class SearchArguments(msgspec.Struct, frozen=True):
    """``search``: what to look for, how much to tell (0-3), how many tools (1-50; None: as many as
    are worth reading)."""

    query: str
    namespace: str | None
    max_depth: int
    limit: int | None


class ExecuteArguments(msgspec.Struct, frozen=True):
    """``execute``: the script (at most 50 KiB), its time limit in seconds if one was asked, whether
    it is only to be read, the handle of the session that it belongs to, and the execution that it
    resumes, with what to do about calls whose outcome is unknown."""

    code: str
    namespace: str | None
    timeout_secs: float | None
    check_only: bool = False
    session: str | None = None
    resume: str | None = None
    resume_unknown: OnUnknown = "refuse"


class CallArguments(msgspec.Struct, frozen=True):
    """``call``: a tool by its server's name and its own, and what it is given."""

    server: str
    tool: str
    arguments: JsonObject
    namespace: str | None


def read_call_arguments(arguments: Mapping[str, Json]) -> CallArguments:
    """Read the arguments of ``call``. Raises ArgumentFault."""
    _refuse_unknown("call", arguments, CallArguments)
    server, tool, given = (arguments.get(name) for name in ("server", "tool", "arguments"))
    if not (isinstance(server, str) and isinstance(tool, str)):
        raise ArgumentFault(
            'call needs "server" and "tool", two strings as search gives them, and "arguments", '
            'an object: {"server": "github", "tool": "create_issue", "arguments": {"title": "…"}}.'
        )
    if not isinstance(given, dict | None):
        raise ArgumentFault('"arguments" of call must be an object with the tool\'s arguments.')
    return CallArguments(server, tool, given or {}, _namespace(arguments))


def read_search(arguments: Mapping[str, Json]) -> SearchArguments:
    """Read the arguments of ``search``. Raises ArgumentFault."""
    _refuse_unknown("search", arguments, SearchArguments)
    query = arguments.get("query")
    if not isinstance(query, str):
        raise ArgumentFault(
            'search needs "query", a string: a few words on what you need, or "" for all servers.'
        )
    depth = _integer("max_depth", arguments.get("max_depth", DEFAULT_DEPTH), 0, MAX_DEPTH)
    asked = arguments.get("limit")
    limit = None if asked is None else _integer("limit", asked, 1, MAX_LIMIT)
    return SearchArguments(query, _namespace(arguments), depth, limit)


def read_execute(arguments: Mapping[str, Json]) -> ExecuteArguments:
    """Read the arguments of ``execute``. Raises ArgumentFault."""
    _refuse_unknown("execute", arguments, ExecuteArguments)
    code = arguments.get("code")
    if not isinstance(code, str) or not code.strip():
        raise ArgumentFault(
            'execute needs "code", a string with the Python script to run, for instance '
            '{"code": "api.manifest()"}.'
        )
    size = len(code.encode("utf-8", "surrogatepass"))
    if size > MAX_CODE_BYTES:
        raise ArgumentFault(
            f"code has {size} bytes, the limit is {MAX_CODE_BYTES}. Fetch data with tool calls "
            "inside the script instead of writing it into the code."
        )
    return ExecuteArguments(
        code,
        _namespace(arguments),
        _seconds(arguments.get("timeout_secs")),
        _flag("check_only", arguments.get("check_only", False)),
        _text("session", arguments),
        _text("resume", arguments),
        _on_unknown(arguments.get("resume_unknown", "refuse")),
    )


def _refuse_unknown(
    tool: str,
    arguments: Mapping[str, Json],
    kind: type[SearchArguments | ExecuteArguments | CallArguments],
) -> None:
    known = [each.name for each in fields(kind)]
    for name in arguments:
        if name not in known:
            close = near(name, known, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ArgumentFault(
                f"{tool} has no argument {_shown(name)}.{hint} It takes: {', '.join(known)}."
            )


def _namespace(arguments: Mapping[str, Json]) -> str | None:
    namespace = arguments.get("namespace")
    if namespace is None or namespace == "":
        return None
    if not isinstance(namespace, str):
        raise ArgumentFault("namespace must be a string, the name of a namespace; or leave it out.")
    return namespace


def _integer(name: str, value: Json, low: int, high: int) -> int:
    number = _number(value)
    if number is None or not low <= number <= high or number != int(number):
        raise ArgumentFault(f"{name} must be an integer from {low} to {high}, not {_shown(value)}.")
    return int(number)


def _seconds(value: Json) -> float | None:
    if value is None:
        return None
    number = _number(value)
    if number is None or not 0 < number < float("inf"):
        raise ArgumentFault(
            f"timeout_secs must be a number of seconds above 0, not {_shown(value)}."
        )
    return number


def _text(name: str, arguments: Mapping[str, Json]) -> str | None:
    value = arguments.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _MAX_ID_CHARS:
        raise ArgumentFault(f"{name} must be a text that a reply has told, or be left out.")
    return value


def _on_unknown(value: Json) -> OnUnknown:
    if value in ("refuse", "retry", "skip"):
        return value  # type: ignore[return-value]  # one of them
    raise ArgumentFault(f"resume_unknown must be refuse, retry or skip, not {_shown(value)}.")


def _flag(name: str, value: Json) -> bool:
    flags: Mapping[Json, bool] = {"true": True, "false": False}
    read = flags.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(read, bool):
        raise ArgumentFault(f"{name} must be true or false, not {_shown(value)}.")
    return read


def _shown(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def _number(value: Json) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None
