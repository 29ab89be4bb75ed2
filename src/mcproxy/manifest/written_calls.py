"""What is wrong with a script's calls as they are written, by the tools of a manifest. Pure.

A fault here is a refusal by the gateway that is sure to come once the call is made; what depends on
values that are not written, or on a schema that says more than types, is left to the run. The calls
are what a worker has read off its script: it is not trusted, and gains nothing by lying.
"""

import itertools
from collections.abc import Iterator, Mapping

import msgspec

from mcproxy.call_errors import ToolHeld, UnknownServer, UnknownTool
from mcproxy.manifest.model import Manifest, find_tool
from mcproxy.manifest.names import call_line
from mcproxy.manifest.parameters import properties, required
from mcproxy.manifest.spelling import near
from mcproxy.types import Json, Tool, ToolRef

MAX_FAULTS = 10  # of a script that are told, and looked for
_MAX_CALLS = 500  # a script of 50 KiB has few more
_MAX_PROBLEMS = 10  # of one call
_LISTED = ("ready", "idle")  # the others may have tools that are not known yet
_MAX_CHOICES = 8
_TYPES = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})


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
    others = manifest.schema(tool.ref).unknown(call.arguments)
    problems = list(itertools.islice(_problems(tool, call, others), _MAX_PROBLEMS))
    if problems:
        told = "; ".join(problems)
        what = f"{tool.ref.server}.{tool.ref.tool}: {told}{'' if told.endswith('?') else '.'}"
        yield CallFault(call.line, what, f"Use: {call_line(tool)}", not call.guarded)


def _problems(tool: Tool, call: WrittenCall, unknown: list[str]) -> Iterator[str]:
    schema = tool.definition.get("inputSchema")
    declared = properties(schema)
    missing = sorted(required(schema) - call.arguments.keys()) if call.whole else []
    if missing:
        yield f"missing {', '.join(map(repr, missing))}"
    yield from unknown
    for name, value in call.arguments.items():
        wanted = declared.get(name)
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
