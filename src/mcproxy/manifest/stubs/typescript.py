"""TypeScript declarations: ``api`` with an interface for each server. Pure.

For editors and for people who read types; scripts are Python all the same. Types are written in
place, as TypeScript needs no names for them.
"""

import json
from collections.abc import Iterator, Mapping

from mcproxy.manifest.model import Manifest
from mcproxy.manifest.stubs.names import Branch, TypeNames, is_word, tree
from mcproxy.manifest.stubs.shapes import (
    Array,
    Choice,
    Either,
    Map,
    Member,
    Plain,
    PlainName,
    Record,
    Shape,
    record_of,
    shape_of,
)
from mcproxy.manifest.text import first_sentence
from mcproxy.types import Tool

_INDENT = "  "
_PLAIN: Mapping[PlainName, str] = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
    "anything": "unknown",
}
_HEAD = """\
// Types of `api` for scripts that MCProxy executes. Generated; changes are lost.
"""
_API = """\
export interface Api {
  manifest(): Record<string, unknown>;
  server<Name extends keyof Servers>(name: Name): Servers[Name];
  server(name: string): Record<string, (args?: object) => Promise<unknown>>;
  call_tool(server: string, tool: string, args?: object): Promise<unknown>;
  search(query: string, options?: { max_depth?: number; limit?: number }): Promise<unknown>;
  schema(server: string, tool: string): Record<string, unknown>;
  parallel(calls: Promise<unknown>[]): Promise<unknown[]>;
}

export declare const api: Api;
"""


def typescript_stub(manifest: Manifest) -> str:
    """The text of the declaration file."""
    names = TypeNames({"Api", "Servers", "Record", "Promise"})
    interfaces = {name: names.new(name) for name in manifest.servers}
    lines = [_HEAD]
    for name, view in manifest.servers.items():
        lines += _comment(view.description, "")
        lines += [f"export interface {interfaces[name]} {{", *_branch(tree(view.tools), 1), "}", ""]
    listed = [f"{_INDENT}{_key(name)}: {interface};" for name, interface in interfaces.items()]
    return "\n".join([*lines, "export interface Servers {", *listed, "}", "", _API])


def _branch(branch: Branch, depth: int) -> Iterator[str]:
    indent = _INDENT * depth
    for name, inner in branch.branches.items():
        yield f"{indent}{name}: {{"
        yield from _branch(inner, depth + 1)
        yield f"{indent}}};"
    for name, tool in {**branch.tools, **branch.odd}.items():
        description = tool.definition.get("description")
        yield from _comment(description if isinstance(description, str) else "", indent)
        yield f"{indent}{_key(name)}({_arguments(tool)}): Promise<{_value(tool)}>;"


def _arguments(tool: Tool) -> str:
    record = record_of(tool.definition.get("inputSchema"))
    if not record.members:
        return ""
    optional = "" if any(member.required for member in record.members) else "?"
    return f"args{optional}: {_type(record)}"


def _value(tool: Tool) -> str:
    output = tool.definition.get("outputSchema")
    return _type(shape_of(output)) if output else "unknown"


def _type(shape: Shape) -> str:
    match shape:
        case Plain(name):
            return _PLAIN[name]
        case Choice(values):
            return " | ".join(map(json.dumps, values))
        case Array(item):
            return f"Array<{_type(item)}>"
        case Map(value):
            return f"Record<string, {_type(value)}>"
        case Either(options):
            return " | ".join(dict.fromkeys(map(_type, options)))
        case Record(members):
            return f"{{ {'; '.join(map(_member, members))} }}"


def _member(member: Member) -> str:
    return f"{_key(member.name)}{'' if member.required else '?'}: {_type(member.shape)}"


def _comment(text: str, indent: str) -> list[str]:
    line = first_sentence(text).replace("*/", "* /")
    return [f"{indent}/** {line} */"] if line else []


def _key(name: str) -> str:
    return name if is_word(name) else json.dumps(name)
