"""What a script's ``api`` offers, said once.

The stubs are made of it. The worker's own ``api``, which imports nothing of ours, the description
of ``execute``, the hints of errors and docs/writing-scripts.md are held against it by
tests/test_script_api.py. Knows no language and no tool: types are words that each writer of stubs
has a spelling for.
"""

from typing import Final, Literal, TypeAlias

import msgspec

TypeName: TypeAlias = Literal[
    "text", "integer", "seconds", "flag", "arguments", "object", "anything", "calls", "values"
]


class Parameter(msgspec.Struct, frozen=True):
    """``default`` is Python text, empty where the parameter has to be given. ``by_name``: it can be
    given by name only."""

    name: str
    type: TypeName
    default: str = ""
    by_name: bool = False


class Function(msgspec.Struct, frozen=True):
    """``sent``: it is a call to the gateway, which works with ``await`` and without it; what is
    not is answered in the script's own process."""

    name: str
    parameters: tuple[Parameter, ...]
    gives: TypeName
    meaning: str
    sent: bool = True

    @property
    def usage(self) -> str:
        """How to write it: ``await api.schema(server, tool)``."""
        listed: list[str] = []
        for parameter in self.parameters:
            if parameter.by_name and "*" not in listed:
                listed.append("*")
            default = f"={parameter.default}" if parameter.default else ""
            listed.append(parameter.name + default)
        return f"{'await ' * self.sent}api.{self.name}({', '.join(listed)})"


class Fact(msgspec.Struct, frozen=True):
    """An attribute of ``ToolError``; ``optional``: it may be ``None``."""

    name: str
    type: TypeName
    meaning: str
    optional: bool = False


class Attribute(msgspec.Struct, frozen=True):
    """What is no function; ``usage`` shows how to write it."""

    name: str
    usage: str
    meaning: str


_SERVER, _TOOL = Parameter("server", "text"), Parameter("tool", "text")

SERVER: Final = Function(
    "server",
    (Parameter("name", "text"),),
    "anything",
    'one server; its attributes are its tools: `await api.server("calc").mean(values=[1, 2])`, '
    'and `["odd-name"]` where a name is no Python word',
    sent=False,
)
"""Apart, since in stubs each server has a type of its own."""

FUNCTIONS: Final = (
    Function(
        "call_tool",
        (
            _SERVER,
            _TOOL,
            Parameter("arguments", "arguments", "{}"),
            Parameter("raw", "flag", "False", by_name=True),
        ),
        "anything",
        "the same call with names as text; `raw=True` gives the whole `CallToolResult`",
    ),
    Function(
        "parallel",
        (
            Parameter("calls", "calls"),
            Parameter("return_exceptions", "flag", "False", by_name=True),
        ),
        "values",
        "the values of calls that run at once, in their order; raises the first failure once all "
        "have ended, or gives failures in place of values",
    ),
    Function(
        "search",
        (
            Parameter("query", "text"),
            Parameter("max_depth", "integer", "2", by_name=True),
            Parameter("limit", "integer", "None", by_name=True),
        ),
        "object",
        "what the tool `search` gives",
    ),
    Function(
        "schema",
        (_SERVER, _TOOL),
        "object",
        "a tool's whole definition: `description`, `inputSchema`, `outputSchema` or, where that is "
        "learned, `returns`",
    ),
    Function(
        "read_resource",
        (_SERVER, Parameter("uri", "text")),
        "anything",
        "a resource of a server: its text, or the list of its contents",
    ),
    Function(
        "result",
        (Parameter("ref", "text"),),
        "anything",
        "the whole value behind the `ref` that an earlier reply told, such as `r1`",
    ),
    Function(
        "manifest",
        (),
        "object",
        "the namespace, and its servers with descriptions and names of tools",
        sent=False,
    ),
)

STASH: Final = Attribute(
    "stash",
    'api.stash["rows"] = rows',
    "JSON values that later scripts find by name: `in`, `del`, `list(...)`, `.get`, `.pop`; each "
    "read is a copy",
)

TOOL_ERROR: Final = (
    Fact("code", "text", "what kind of failure: `timeout`, `server_down` …"),
    Fact("message", "text", "what was wrong and what to do"),
    Fact("server", "text", "which server was called"),
    Fact("tool", "text", "which tool was called"),
    Fact("retryable", "flag", "the same call may succeed later"),
    Fact("retry_after", "seconds", "in how many seconds, where that is known", optional=True),
    Fact("line", "integer", "the line of the script that made the call", optional=True),
)

LARGE_ANSWERS: Final = frozenset({"result", "stash_get"})
"""The gateway's own services that give what a script has kept, which may be large."""

NAMES: Final = tuple(each.name for each in (SERVER, *FUNCTIONS, STASH))
