"""TypeScript declarations: ``api`` with an interface for each server. Pure.

For editors and for people who read types; scripts are Python all the same. Types are written in
place, as TypeScript needs no names for them.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import chain

from mcproxy.manifest.learned import Returns, unlearned
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
)
from mcproxy.manifest.text import first_sentence
from mcproxy.script_api import FUNCTIONS, STASH, TOOL_ERROR, Function, Parameter, TypeName

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
_SERVER = """\
export interface Api {
  server<Name extends keyof Servers>(name: Name): Servers[Name];
  server(name: string): Record<string, (args?: object) => Promise<unknown>>;
"""
_SPELLED: Mapping[TypeName, str] = {
    "text": "string",
    "integer": "number",
    "seconds": "number",
    "flag": "boolean",
    "arguments": "object",
    "object": "Record<string, unknown>",
    "anything": "unknown",
    "calls": "Promise<unknown>[]",
    "values": "unknown[]",
}
_ERROR = "ToolError"


def typescript_stub(manifest: Manifest, returns: Returns = unlearned) -> str:
    """The text of the declaration file."""
    names = TypeNames({"Api", "Array", "Error", "Servers", "Record", "Promise", _ERROR})
    interfaces = {name: names.new(name) for name in manifest.servers}
    lines = [_HEAD, *_tool_error()]
    for name, view in manifest.servers.items():
        lines += _comment(first_sentence(view.description), "")
        branch = _branch(tree(view.tools, returns), 1)
        lines += [f"export interface {interfaces[name]} {{", *branch, "}", ""]
    listed = [f"{_INDENT}{_key(name)}: {interface};" for name, interface in interfaces.items()]
    lines += ["export interface Servers {", *listed, "}", "", _SERVER.rstrip("\n")]
    lines += chain.from_iterable(map(_function, FUNCTIONS))
    lines += [*_comment(STASH.meaning, _INDENT), f"{_INDENT}{STASH.name}: {_SPELLED['object']};"]
    return "\n".join([*lines, "}", "", "export declare const api: Api;\n"])


def _tool_error() -> Iterator[str]:
    yield f"export interface {_ERROR} extends Error {{"
    for fact in TOOL_ERROR:
        yield f"{_INDENT}{fact.name}: {_SPELLED[fact.type]}{' | null' * fact.optional};"
    yield "}\n"


def _function(function: Function) -> Iterator[str]:
    """What Python takes by name stands in a last object."""
    listed = [_parameter(each) for each in function.parameters if not each.by_name]
    named = [_parameter(each) for each in function.parameters if each.by_name]
    if named:
        listed.append(f"options?: {{ {'; '.join(named)} }}")
    result = _SPELLED[function.gives]
    result = f"Promise<{result}>" if function.sent else result
    yield from _comment(function.meaning, _INDENT)
    yield f"{_INDENT}{function.name}({', '.join(listed)}): {result};"


def _parameter(parameter: Parameter) -> str:
    name = f"{parameter.name}{'?' * bool(parameter.default)}"
    return f"{name}: {_SPELLED[parameter.type]}"


def _branch(branch: Branch, depth: int) -> Iterator[str]:
    indent = _INDENT * depth
    for name, inner in branch.branches.items():
        yield f"{indent}{name}: {{"
        yield from _branch(inner, depth + 1)
        yield f"{indent}}};"
    for name, method in {**branch.methods, **branch.odd}.items():
        yield from _comment(method.summary, indent)
        taken, given = _arguments(method.arguments), _type(method.result)
        yield f"{indent}{_key(name)}({taken}): Promise<{given}>;"


def _arguments(record: Record) -> str:
    if not record.members:
        return ""
    optional = "" if any(member.required for member in record.members) else "?"
    return f"args{optional}: {_type(record)}"


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
    line = text.replace("*/", "* /")
    return [f"{indent}/** {line} */"] if line else []


def _key(name: str) -> str:
    return name if is_word(name) else json.dumps(name)
