"""Python stubs: a module in which ``api`` has a Protocol for each server. Pure.

Methods are written as coroutines, for that is what a type checker can say about a call that works
with and without ``await``; arguments are keywords. Objects become ``TypedDict`` classes.

A tool is often called ``list``. Inside its class that word is no type any more, so that built-in
types whose names tools have are written ``builtins.list``; other words that the stub needs for
itself become ``server["Any"]``.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from itertools import chain

import msgspec

from mcproxy.manifest.learned import Returns, unlearned
from mcproxy.manifest.model import Manifest
from mcproxy.manifest.results import PYTHON_TYPES
from mcproxy.manifest.stubs.names import Branch, Method, TypeNames, is_word, tree
from mcproxy.manifest.stubs.shapes import (
    Array,
    Choice,
    Either,
    Map,
    Member,
    Plain,
    Record,
    Shape,
)
from mcproxy.manifest.text import brief, first_sentence
from mcproxy.script_api import FUNCTIONS, STASH, TOOL_ERROR, Function, TypeName

MAX_DOC_BYTES = 100
_INDENT = "    "
_HEAD = '''\
"""Types of `api` for scripts that MCProxy executes. Generated; changes are lost."""

import builtins
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, Literal, NotRequired, Protocol, TypedDict, overload
'''
_SPELLED: Mapping[TypeName, str] = {
    "text": "str",
    "integer": "int",
    "seconds": "float",
    "flag": "bool",
    "arguments": "Mapping[str, Any]",
    "object": "dict[str, Any]",
    "anything": "Any",
    "calls": "Iterable[Awaitable[Any]]",
    "values": "list[Any]",
}
_ERROR = "ToolError"
_BUILTINS = ("bool", "dict", "float", "int", "list", "str")
_TYPING = ("Any", "Literal", "NotRequired", "Protocol", "TypedDict", "overload")
_RESERVED = (
    "Api",
    "Exception",
    _ERROR,
    "Awaitable",
    "Iterable",
    "Mapping",
    "builtins",
    "property",
    *_TYPING,
)


def python_stub(manifest: Manifest, returns: Returns = unlearned) -> str:
    """The text of the module, ready for a type checker."""
    words = {step for tool in manifest.tools for step in tool.ref.tool.split(".")}
    stub = _Stub(words, TypeNames({*_RESERVED, *words}))
    protocols = {
        name: stub.protocol(name, tree(view.tools, returns, _RESERVED), view.description)
        for name, view in manifest.servers.items()
    }
    functions = chain.from_iterable(map(_function, FUNCTIONS))
    stash = [
        f"{_INDENT}{STASH.name}: {_SPELLED['object']}",
        f"{_INDENT}{json.dumps(STASH.meaning)}",
    ]
    api = [*_servers(protocols), *functions, *stash, "", "api: Api", ""]
    return "\n".join([_HEAD, *_tool_error(), *stub.lines, "class Api(Protocol):", *api])


def _tool_error() -> Iterator[str]:
    yield f"class {_ERROR}(Exception):"
    for fact in TOOL_ERROR:
        yield f"{_INDENT}{fact.name}: {_SPELLED[fact.type]}{' | None' * fact.optional}"
    yield ""


def _function(function: Function) -> Iterator[str]:
    listed = ["self"]
    for parameter in function.parameters:
        if parameter.by_name and "*" not in listed:
            listed.append("*")
        default = " = ..." if parameter.default else ""
        listed.append(f"{parameter.name}: {_SPELLED[parameter.type]}{default}")
    head = f"{_INDENT}{'async ' * function.sent}def {function.name}({', '.join(listed)})"
    yield f"{head} -> {_SPELLED[function.gives]}:"
    yield f"{_INDENT * 2}{json.dumps(function.meaning)}"


def _servers(protocols: Mapping[str, str]) -> Iterator[str]:
    for name, protocol in protocols.items():
        yield f"{_INDENT}@overload"
        yield f"{_INDENT}def server(self, name: Literal[{_text(name)}]) -> {protocol}: ..."
    if protocols:  # an overload never stands alone
        yield f"{_INDENT}@overload"
    yield f"{_INDENT}def server(self, name: str) -> Any: ..."


class _Stub(msgspec.Struct):
    """The types written so far: each before those that use it. ``words`` are names of tools."""

    words: Collection[str]
    names: TypeNames
    lines: list[str] = msgspec.field(default_factory=list)

    def protocol(self, path: str, branch: Branch, description: str = "") -> str:
        name = self.names.new(path)
        documentation = _doc(first_sentence(description))
        body = [f"{_INDENT}{documentation}"] if documentation else []
        for step, inner in branch.branches.items():
            protocol = self.protocol(f"{path}.{step}", inner)
            body += [f"{_INDENT}@property", f"{_INDENT}def {step}(self) -> {protocol}: ..."]
        for word, method in branch.methods.items():
            body += self._method(word, method)
        body += self._odd(path, branch.odd)
        self._write(f"class {name}(Protocol):", body)
        return name

    def _method(self, word: str, method: Method) -> Iterator[str]:
        arguments = ", ".join(["self", *self._parameters(method)])
        result = self._type(method.result, f"{method.path}.result")
        yield f"{_INDENT}async def {word}({arguments}) -> {result}:"
        yield f"{_INDENT * 2}{_doc(method.summary) or '...'}"

    def _odd(self, path: str, methods: Mapping[str, Method]) -> Iterator[str]:
        for name, method in methods.items():
            protocol = self.names.new(path, name)
            self._write(f"class {protocol}(Protocol):", [*self._method("__call__", method)])
            yield f"{_INDENT}@overload"
            yield f"{_INDENT}def __getitem__(self, name: Literal[{_text(name)}]) -> {protocol}: ..."
        if methods:
            yield f"{_INDENT}@overload"
        yield f"{_INDENT}def __getitem__(self, name: {self._word('str')}) -> Any: ..."

    def _parameters(self, method: Method) -> list[str]:
        record, path = method.arguments, method.path
        if not record.members:
            return []
        if all(is_word(member.name) for member in record.members):
            return ["*", *(self._parameter(member, path) for member in record.members)]
        optional = "" if any(member.required for member in record.members) else " = ..."
        return [f"arguments: {self._type(record, f'{path}.arguments')}{optional}", "/"]

    def _parameter(self, member: Member, path: str) -> str:
        written = self._type(member.shape, f"{path}.{member.name}")
        return f"{member.name}: {written}{'' if member.required else ' = ...'}"

    def _type(self, shape: Shape, path: str) -> str:
        match shape:
            case Plain(name):
                return self._word(PYTHON_TYPES[name])
            case Choice(values):
                return f"Literal[{', '.join(map(_literal, values))}]"
            case Array(item):
                return f"{self._word('list')}[{self._type(item, f'{path}.item')}]"
            case Map(value):
                inner = self._type(value, f"{path}.value")
                return f"{self._word('dict')}[{self._word('str')}, {inner}]"
            case Either(options):
                return " | ".join(dict.fromkeys(self._type(option, path) for option in options))
            case Record(members):
                return self._typed_dict(members, path)

    def _typed_dict(self, members: tuple[Member, ...], path: str) -> str:
        name = self.names.new(path)
        types = {
            member.name: _presence(self._type(member.shape, f"{path}.{member.name}"), member)
            for member in members
        }
        if all(is_word(key) and key not in (*_BUILTINS, *_TYPING) for key in types):
            self._write(
                f"class {name}(TypedDict):", [f"{_INDENT}{key}: {types[key]}" for key in types]
            )
        else:
            listed = ", ".join(f"{_text(key)}: {written}" for key, written in types.items())
            self._write(f"{name} = TypedDict({_text(name)}, {{{listed}}})", [])
        return name

    def _word(self, word: str) -> str:
        """A type's name, with its module where a tool has the same name."""
        return f"builtins.{word}" if word in self.words and word in _BUILTINS else word

    def _write(self, head: str, body: list[str]) -> None:
        self.lines += [head, *body, ""]


def _presence(written: str, member: Member) -> str:
    return written if member.required else f"NotRequired[{written}]"


def _doc(text: str) -> str:
    """One short line as a docstring; empty for no text."""
    line = brief(text, MAX_DOC_BYTES)
    return json.dumps(line, ensure_ascii=False) if line else ""


def _literal(value: str | bool | int | None) -> str:
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    """A string literal; what JSON escapes, Python reads alike."""
    return json.dumps(text)
