"""What callers have written: the arguments of ``search`` and ``execute``, parsed once into frozen
values, and the calls in a script, held against the tools of a manifest before it runs. Pure.

Models send integers as strings and invent argument names; what can only mean one thing is read as
that, all else is an ``ArgumentFault`` whose text lets the model mend its call.

A fault of a script's calls is a refusal by the gateway that is sure to come once the call is made;
what depends on values that are not written, or on a schema that says more than types, is left to
the run. The calls are what a worker has read off its script: it is not trusted, and gains nothing
by lying.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

import msgspec

from mcproxy.call_errors import ToolHeld, UnknownServer, UnknownTool
from mcproxy.errors import McproxyError
from mcproxy.manifest.bounds import DEFAULT_DEPTH, MAX_DEPTH, MAX_LIMIT
from mcproxy.manifest.model import Manifest, find_tool
from mcproxy.manifest.names import call_line
from mcproxy.manifest.spelling import near
from mcproxy.manifest.tool_schema import ToolSchema
from mcproxy.types import Json, JsonObject, ToolRef

MAX_CODE_BYTES = 50 << 10
_SHOWN_CHARS = 100  # of what a client sent, in a refusal of it
_MAX_ID_CHARS = 100
MAX_FAULTS = 10  # of a script's calls that are told, and looked for
_MAX_CALLS = 500  # a script of 50 KiB has few more
_MAX_PROBLEMS = 10  # of one call
_LISTED = ("ready", "idle")  # the others may have tools that are not known yet
_MAX_CHOICES = 8
_TYPES = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})

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
    known = kind.__struct_fields__
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


class Written(msgspec.Struct, frozen=True, array_like=True):
    """A value that a script has written: its JSON type ("" where only the run can tell), how it is
    shown, and its text where it is one."""

    type: str = ""
    shown: str = ""
    text: str | None = None


class WrittenCall(msgspec.Struct, frozen=True, array_like=True):
    """One call of a tool. ``whole``: it has no other arguments; ``guarded``: the script may never
    come to it, or be ready for its failure."""

    line: int
    server: str
    tool: str
    arguments: dict[str, Written]
    whole: bool
    guarded: bool


class CallFault(msgspec.Struct, frozen=True, array_like=True):
    """What is wrong with the call in ``line``. ``certain``: the script is sure to fail by it."""

    line: int
    message: str
    advice: str = ""
    certain: bool = True


def faults_of_written(calls: Json, manifest: Manifest) -> Json:
    """The first faults of the calls, as JSON both; none where the calls are not such as a worker of
    ours would send."""
    try:
        read = msgspec.convert(calls, list[WrittenCall])
    except msgspec.ValidationError:
        return []
    found = (fault for call in read[:_MAX_CALLS] for fault in _faults(call, manifest))
    faults: Json = msgspec.to_builtins(list(itertools.islice(found, MAX_FAULTS)))
    return faults


def _faults(call: WrittenCall, manifest: Manifest) -> Iterator[CallFault]:
    try:
        tool = find_tool(manifest, ToolRef(call.server, call.tool))
    except UnknownServer as unknown:
        yield CallFault(call.line, unknown.message, certain=not call.guarded)
        return
    except UnknownTool as unknown:
        known = manifest.servers[unknown.ref.server].state in _LISTED
        yield CallFault(call.line, unknown.message, certain=known and not call.guarded)
        return
    if tool.held:
        yield CallFault(call.line, ToolHeld(tool.ref, tool.held).message, certain=not call.guarded)
        return
    problems = list(itertools.islice(_problems(manifest.schema(tool.ref), call), _MAX_PROBLEMS))
    if problems:
        told = "; ".join(problems)
        what = f"{tool.ref.server}.{tool.ref.tool}: {told}{'' if told.endswith('?') else '.'}"
        yield CallFault(call.line, what, f"Use: {call_line(tool)}", not call.guarded)


def _problems(schema: ToolSchema, call: WrittenCall) -> Iterator[str]:
    arguments = schema.respelled(call.arguments)
    missing = sorted(schema.required - arguments.keys()) if call.whole else []
    if missing:
        yield f"missing {', '.join(map(repr, missing))}"
    yield from schema.unknown(arguments)
    for name, value in arguments.items():
        wanted = schema.properties.get(name)
        if isinstance(wanted, dict) and (problem := _problem(wanted, value)):
            yield f"{name!r} {problem}"


def _problem(schema: Mapping[str, Json], value: Written) -> str | None:
    """What is wrong with a written value, by the schema's own type and choices."""
    if not value.type:
        return None
    types, choices = schema.get("type"), schema.get("enum")
    wanted = [str(name) for name in types] if isinstance(types, list) else [str(types)]
    if _TYPES.issuperset(wanted) and not any(_fits(value.type, name) for name in wanted):
        return f"has to be {' or '.join(wanted)}, not {value.shown}"
    if not isinstance(choices, list) or value.text is None or value.text in choices:
        return None
    close = near(value.text, [name for name in choices if isinstance(name, str)], 1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    return f"has to be one of {_listed(choices)}, not {value.shown}{hint}"


def _fits(kind: str, wanted: str) -> bool:
    return kind == wanted or (kind == "integer" and wanted == "number")


def _listed(choices: list[Json]) -> str:
    shown = ", ".join(map(repr, choices[:_MAX_CHOICES]))
    return shown + (", …" if len(choices) > _MAX_CHOICES else "")
