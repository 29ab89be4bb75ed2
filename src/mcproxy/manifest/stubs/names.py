"""Names in stubs: types that no other has, methods as scripts call them. Pure.

A tool's name with dots is a way of attributes (``repos.list``), so the tools of a server form a
tree; a name that is no identifier is reached as ``server["odd name"]``. Both languages write what
this walk over names finds: each method once, with the types of what it takes and gives.
"""

import keyword
import re
from collections.abc import Collection, Iterable

import msgspec

from mcproxy.manifest.learned import Returns
from mcproxy.manifest.results import value_schema
from mcproxy.manifest.stubs.shapes import Record, Shape, record_of, shape_of
from mcproxy.manifest.text import first_sentence, parts
from mcproxy.types import Tool

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Method(msgspec.Struct, frozen=True):
    """A tool as a script calls it. ``path`` is ``server.tool``, ``summary`` one sentence."""

    path: str
    summary: str
    arguments: Record
    result: Shape


class Branch(msgspec.Struct):
    """Methods below one attribute: by their own names, by further attributes, and the odd ones."""

    methods: dict[str, Method] = msgspec.field(default_factory=dict)
    branches: dict[str, "Branch"] = msgspec.field(default_factory=dict)
    odd: dict[str, Method] = msgspec.field(default_factory=dict)


class TypeNames(msgspec.Struct):
    """Gives every type a name of its own."""

    taken: set[str] = msgspec.field(default_factory=set)

    def new(self, *words: str) -> str:
        """A name in capitals made of the words: ``GithubReposList``; with a number if need be."""
        pieces = [piece for word in words for piece in parts(word) if piece.isascii()]
        base = "".join(piece.capitalize() for piece in pieces) or "Unnamed"
        base = base if base[0].isalpha() else f"T{base}"
        name, number = base, 1
        while name in self.taken or keyword.iskeyword(name):
            number += 1
            name = f"{base}{number}"
        self.taken.add(name)
        return name


def is_word(name: str) -> bool:
    """Can the name stand in Python and TypeScript as it is, and mean nothing special there?"""
    return (
        _WORD.fullmatch(name) is not None
        and not keyword.iskeyword(name)
        and not keyword.issoftkeyword(name)
        and name not in ("self", "constructor", "then")
    )


def tree(tools: Iterable[Tool], returns: Returns, reserved: Collection[str] = ()) -> Branch:
    """The tools by the attributes that lead to them; none of those is a ``reserved`` word."""
    root = Branch()
    methods = {tool.ref.tool: _method(tool, returns) for tool in tools}
    for name, method in methods.items():
        steps = name.split(".")
        # A tool that is an attribute of another tool can only be reached by its whole name.
        on_the_way = any(".".join(steps[:length]) in methods for length in range(1, len(steps)))
        if on_the_way or not all(is_word(step) and step not in reserved for step in steps):
            root.odd[name] = method
            continue
        branch = root
        for step in steps[:-1]:
            branch = branch.branches.setdefault(step, Branch())
        branch.methods[steps[-1]] = method
    return root


def _method(tool: Tool, returns: Returns) -> Method:
    definition = tool.definition
    text, output = definition.get("description"), value_schema(definition.get("outputSchema"))
    learned = None if output else returns(tool)
    return Method(
        path=f"{tool.ref.server}.{tool.ref.tool}",
        summary=first_sentence(text) if isinstance(text, str) else "",
        arguments=record_of(definition.get("inputSchema")),
        result=shape_of(learned.schema if learned else output),
    )
