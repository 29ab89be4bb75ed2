"""What is wrong with the calls of a script, by the tools that its namespace has. Pure.

A finding here is a refusal by the gateway that is sure to come once the call is made; what depends
on values that are not written, or on a schema that says more than types, is left to the run.
"""

import ast
from collections.abc import Iterator, Mapping

from mcproxy.errors import UnknownServer, UnknownTool
from mcproxy.manifest.lookup import find_tool
from mcproxy.manifest.model import Manifest
from mcproxy.manifest.names import call_line
from mcproxy.manifest.parameters import properties, required, unknown_parameters
from mcproxy.manifest.spelling import near
from mcproxy.preflight.finding import Finding
from mcproxy.preflight.tool_uses import ToolUse
from mcproxy.types import Json, Tool, ToolRef

MAX_FINDINGS = 10
_LISTED = ("ready", "idle")  # the others may have tools that are not known yet
_MAX_SHOWN_CHARS = 60
_MAX_CHOICES = 8
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list, tuple, set),
    "object": (dict,),
}


def findings(use: ToolUse, manifest: Manifest) -> Iterator[Finding]:
    """What is wrong with one call."""
    try:
        tool = find_tool(manifest, ToolRef(use.server, use.tool))
    except UnknownServer as unknown:
        yield Finding(use.line, unknown.message, certain=not use.guarded)
        return
    except UnknownTool as unknown:
        known = manifest.servers[use.server].state in _LISTED
        yield Finding(use.line, unknown.message, certain=known and not use.guarded)
        return
    problems = list(_problems(tool, use))
    if problems:
        named = f"{tool.ref.server}.{tool.ref.tool}"
        yield Finding(
            use.line,
            f"{named}: {'; '.join(problems)}.",
            f"Use: {call_line(tool)}",
            not use.guarded,
        )


def _problems(tool: Tool, use: ToolUse) -> Iterator[str]:
    schema = tool.definition.get("inputSchema")
    declared = properties(schema)
    missing = sorted(required(schema) - use.arguments.keys()) if use.whole else []
    if missing:
        yield f"missing {', '.join(map(repr, missing))}"
    yield from unknown_parameters(schema, use.arguments)
    for name, node in use.arguments.items():
        wanted = declared.get(name)
        if isinstance(wanted, dict) and (fault := _fault(wanted, node)):
            yield f"{name!r} {fault}"


def _fault(schema: Mapping[str, Json], node: ast.expr) -> str | None:
    """What is wrong with a written value, by the schema's own type and choices."""
    kind = _literal_type(node)
    if kind is None:
        return None
    types, choices = schema.get("type"), schema.get("enum")
    wanted = [str(name) for name in types] if isinstance(types, list) else [str(types)]
    known = types is not None and all(name in _TYPES for name in wanted)
    if known and not any(_fits(kind, node, name) for name in wanted):
        return f"has to be {' or '.join(wanted)}, not {_shown(node)}"
    if not isinstance(choices, list) or not isinstance(node, ast.Constant):
        return None
    return _no_choice(choices, node) if kind is str and node.value not in choices else None


def _no_choice(choices: list[Json], node: ast.Constant) -> str:
    close = near(str(node.value), [name for name in choices if isinstance(name, str)], 1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    return f"has to be one of {_listed(choices)}, not {_shown(node)}{hint}"


def _literal_type(node: ast.expr) -> type | None:
    if isinstance(node, ast.Constant):
        return type(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _literal_type(node.operand)
    if isinstance(node, ast.JoinedStr):
        return str
    if isinstance(node, ast.List | ast.ListComp):
        return list
    return dict if isinstance(node, ast.Dict | ast.DictComp) else None


def _fits(kind: type, node: ast.expr, name: str) -> bool:
    if kind not in {one for types in _TYPES.values() for one in types}:
        return True  # what is converted on the way, such as bytes
    if kind is float:
        whole = isinstance(node, ast.Constant) and float(node.value).is_integer()  # type: ignore[arg-type]
        return name == "number" or (name == "integer" and whole)
    return kind in _TYPES[name]


def _listed(choices: list[Json]) -> str:
    shown = ", ".join(map(repr, choices[:_MAX_CHOICES]))
    return shown + (", …" if len(choices) > _MAX_CHOICES else "")


def _shown(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}…"
