"""What a model reads before its first call: the two tools' descriptions and schemas. Pure.

The whole of it stays below 900 tokens whatever is behind the gateway, so every word is for a model
that has never seen this program: how to find a tool, how to call it, what comes back.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import get_args

from mcproxy.gateway.arguments import OnUnknown
from mcproxy.manifest.bounds import DEFAULT_DEPTH, MAX_DEPTH, MAX_LIMIT
from mcproxy.types import JsonObject, Limits

MAX_NAMED_SERVERS = 20
MAX_NAMES_COST = 340  # so that even long and odd names stay within the token budget

_INSTRUCTIONS = (
    "`{prefix}search` finds tools, `{prefix}execute` runs Python that calls them: the whole job in "
    "one script."
)
_CALLING = "`{prefix}search` finds tools, `{prefix}call` calls one."

_SEARCH = """\
Find tools of the connected MCP servers. Start here, with a few words on what you need. Matches \
come with the Python that calls them in `{prefix}execute`: the server's line, then the tool's \
(`?` marks optional parameters). An exact tool name with max_depth 3 gives its schema; \
query "" lists the servers. {servers}"""

_SEARCH_TO_CALL = """\
Find tools of the connected MCP servers. Start here, with a few words on what you need. Matches \
come with the names and arguments for `{prefix}call`: the server's name, then a line a tool \
(`?` marks optional parameters). An exact tool name with max_depth 3 gives its schema; \
query "" lists the servers. {servers}"""

_CALL = """\
Call a tool that `{prefix}search` finds, with the arguments that it lists, and get its result."""

_EXECUTE = """\
Run Python 3 that calls the tools `{prefix}search` finds. Do the whole job in one script: call, \
loop, filter, combine, return only what is needed. `api` needs no import:
  rows = await api.server("NAME").TOOL(arg=1)  # the tool's value, decoded: dict, list or str
  await api.call_tool("NAME", "TOOL", {{"arg": 1}})  # the same
  a, b = await asyncio.gather(api.server("X").t(), api.server("Y").u())  # at once
  await api.schema("NAME", "TOOL"); await api.search("words"); api.manifest()
  api.result("r1")  # the whole value behind a `ref` of an earlier reply
  api.stash["rows"] = rows  # JSON for later scripts; variables are not kept
Without `await` a call blocks. A failing call raises ToolError (.code, .message, .retryable). \
Result: what run() returns if defined, else the variable `result`, else the last expression; \
print() goes to `stdout`. Of large results you get a preview and a `ref`. After an error, pass \
the `resume` of its note: calls that succeeded are not sent again. Pass on the `session`. \
Limits: {secs:g} s, {memory} MB, {calls} calls. {servers}"""


def server_list(counts: Sequence[tuple[str, int]]) -> str:
    """The servers by name with their number of tools, at most 20, then how many more."""
    if not counts:
        return "No server is connected in this namespace yet."
    shown: list[str] = []
    left = MAX_NAMES_COST
    for name, tools in counts[:MAX_NAMED_SERVERS]:
        left -= _cost(name)
        if left < 0:
            break
        shown.append(f"{name} ({tools})")
    more = len(counts) - len(shown)
    tail = f", and {more} more" if more else ""
    return f"Servers (tools): {', '.join(shown)}{tail}."


def _cost(name: str) -> int:
    """What a name costs: a model has tokens for words, and few for what is none."""
    return len(name) + 6 + sum(2 for character in name if not character.islower())


def instructions(own: Collection[str], prefix: str) -> str:
    """What a model is told of the gateway, beside the descriptions."""
    text = _CALLING if "call" in own else _INSTRUCTIONS
    return text.format(prefix=prefix)


def definitions(
    own: Sequence[str], counts: Sequence[tuple[str, int]], limits: Limits, prefix: str
) -> list[JsonObject]:
    """The gateway's own tools of these names as ``tools/list`` gives them."""
    servers = server_list(counts)
    search = _SEARCH_TO_CALL if "call" in own else _SEARCH
    made: Mapping[str, JsonObject] = {
        "search": {
            "description": search.format(servers=servers, prefix=prefix),
            **_SEARCH_TERMS,
        },
        "execute": {
            "description": _EXECUTE.format(
                secs=limits.timeout_secs,
                memory=limits.memory_mb,
                calls=limits.max_calls,
                servers=servers,
                prefix=prefix,
            ),
            **_EXECUTE_TERMS,
        },
        "call": {"description": _CALL.format(prefix=prefix), **_CALL_TERMS},
    }
    return [{"name": prefix + name, **made[name]} for name in own]


_SEARCH_TERMS: JsonObject = {
    "inputSchema": {
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "max_depth": {
                "type": "integer",
                "minimum": 0,
                "maximum": MAX_DEPTH,
                "default": DEFAULT_DEPTH,
                "description": "0 server names, 1 + descriptions, 2 + tools, 3 + schemas",
            },
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_LIMIT,
            },
            "namespace": {"type": "string"},
        },
        "required": ["query"],
    },
    "annotations": {"readOnlyHint": True, "openWorldHint": False},
}
_EXECUTE_TERMS: JsonObject = {
    "inputSchema": {
        "type": "object",
        "properties": {
            "code": {"type": "string"},
            "timeout_secs": {"type": "number"},  # its bound is in the text: Limits
            "namespace": {"type": "string"},
            "check_only": {"type": "boolean"},
            "session": {"type": "string"},
            "resume": {"type": "string"},
            "resume_unknown": {
                "type": "string",
                "enum": [*get_args(OnUnknown)],
                "description": "calls that may have been done",
            },
        },
        "required": ["code"],
    },
    "annotations": {"readOnlyHint": False, "openWorldHint": True},
}
_CALL_TERMS: JsonObject = {
    "inputSchema": {
        "type": "object",
        "properties": {
            "server": {"type": "string"},
            "tool": {"type": "string"},
            "arguments": {"type": "object"},
            "namespace": {"type": "string"},
        },
        "required": ["server", "tool"],
    },
    "annotations": {"readOnlyHint": False, "openWorldHint": True},
}
