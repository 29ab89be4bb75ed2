"""What a model reads before its first call: the two tools' descriptions and schemas. Pure.

The whole of it stays below 900 tokens whatever is behind the gateway, so every word is for a model
that has never seen this program: how to find a tool, how to call it, what comes back.
"""

from collections.abc import Collection, Mapping, Sequence

from mcproxy.manifest.bounds import DEFAULT_DEPTH, MAX_DEPTH, MAX_LIMIT
from mcproxy.types import JsonObject, Limits

MAX_NAMED_SERVERS = 20
MAX_NAMES_CHARACTERS = 280  # so that even long and odd names stay within the token budget

_INSTRUCTIONS = (
    "`{prefix}search` finds tools, `{prefix}execute` runs Python that calls them: search once, "
    "then do the whole job in one script."
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
  rows = await api.call_tool("NAME", "TOOL", {{"arg": 1}})  # the same
  a, b = await asyncio.gather(api.server("X").t(), api.server("Y").u())  # at once
  await api.schema("NAME", "TOOL"); await api.search("words"); api.manifest()
Without `await` a call blocks. A failing call raises ToolError (.code, .message, .retryable). \
Result: what run() returns if defined, else the variable `result`, else the last expression; \
print() goes to `stdout`. Nothing is kept between calls. \
Limits: {secs:g} s, {memory} MB, {calls} calls. {servers}"""


def server_list(counts: Sequence[tuple[str, int]]) -> str:
    """The servers by name with their number of tools, at most 20, then how many more."""
    if not counts:
        return "No server is connected in this namespace yet."
    shown: list[str] = []
    for name, tools in counts[:MAX_NAMED_SERVERS]:
        shown.append(f"{name} ({tools})")
        if len(", ".join(shown)) > MAX_NAMES_CHARACTERS:
            del shown[-1]
            break
    more = len(counts) - len(shown)
    tail = f", and {more} more" if more else ""
    return f"Servers (tools): {', '.join(shown)}{tail}."


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
            "query": {"type": "string", "description": "what you need"},
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
                "description": "tools at most",
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
            "code": {"type": "string", "description": "Python; top-level await works"},
            "timeout_secs": {"type": "number"},  # its bound is in the text: Limits
            "namespace": {"type": "string"},
            "check_only": {"type": "boolean"},
            "session": {"type": "string"},
            "resume": {"type": "string"},
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
