"""What to do about an error: a table from what models write wrong to what they should write.

Pure. A row is an exception's name, a pattern over its message followed by the failing line of the
script, and the advice; groups of the pattern may be used in it. The first row that fits is taken.
"""

import re
import sys
from typing import NamedTuple

from mcproxy.sandbox.jail.script.api import OFFERED

_UNWRAPPED = (
    "A call gives the tool's value itself, already unwrapped and decoded: there is no envelope "
    "with content or text around it (raw=True of api.call_tool gives that)."
)
_LIST = "The value is a list."
_CALL = 'await api.server("SERVER").TOOL(name=value)'
_NETWORK = (
    "A script reaches only the hosts that sandbox.network.allowed_hosts of its namespace lists, "
    "by HTTPS, or HTTP on port 80. api.search(...) may find a tool that does it."
)
_RESULT = "End with an expression, set the variable `result`, or put the code into `def run():`."


class _Row(NamedTuple):
    type: str
    pattern: str
    advice: str


_TABLE = (
    _Row("NameError", r"'(true|false|null|undefined)'", "Python writes True, False and None."),
    _Row(
        "NameError",
        r"name '(\w+)' .*\n.*[{{,]\s*\1\s*:",
        'Keys of a dict are quoted in Python: {{"{0}": ...}}.',
    ),
    _Row(
        "NameError",
        r"'(?:mcp__)?([A-Za-z0-9-]+(?:_[A-Za-z0-9-]+)*?)__(\w+)'",
        'A tool is called through api: await api.server("{0}").{1}(name=value).',
    ),
    _Row("NameError", r"'stash'", 'It belongs to api: write api.stash["name"].'),
    _Row(
        "NameError",
        rf"'({'|'.join(OFFERED)})'",
        "It belongs to api: write api.{0}(...).",
    ),
    _Row(
        "NameError",
        r"'help'",
        "dir(api) lists what there is, dir(api.server(name)) a server's tools, "
        "api.schema(server, tool) tells all of one.",
    ),
    _Row("NameError", r"'console'", "Python writes print(...)."),
    _Row("NameError", r"'(require|fetch|JSON|Promise|const|let|var)'", "The script is Python."),
    _Row(
        "NameError",
        r"'(Counter|defaultdict|OrderedDict|deque|namedtuple)'",
        "Add: from collections import {0}",
    ),
    _Row("NameError", r"'(timedelta|timezone|date)'", "Add: from datetime import {0}"),
    _Row("NameError", r"'(Path)'", "Add: from pathlib import Path"),
    _Row("NameError", r"'(pd|np|plt)'", "Only the standard library is sure to be there."),
    _Row("AttributeError", r"'list' object has no attribute '(?:get|items|keys|values)'", _LIST),
    _Row(
        "AttributeError",
        r"'(?:dict|list)' object has no attribute '(\w+)'",
        'Values are plain dicts and lists: write value["{0}"].',
    ),
    _Row(
        "AttributeError", r"'(?:str|int|float|bool|NoneType)' object has no attribute", _UNWRAPPED
    ),
    _Row(
        "TypeError",
        r"server\('(.+)'\)\.(?:tool|call|call_tool|tools|execute|run) takes its arguments by name",
        'The tool\'s name is the attribute: await api.server("{0}").TOOL(name=value), '
        'or api.server("{0}")["TOOL"](name=value).',
    ),
    _Row(
        "TypeError",
        r"JSON object must be str, bytes or bytearray, not (?:dict|list)",
        "The value is decoded already: leave out json.loads.",
    ),
    _Row("TypeError", r"string indices must be integers", "The value is text. " + _UNWRAPPED),
    _Row("TypeError", r"list indices must be integers", f"{_LIST} {_UNWRAPPED}"),
    _Row("TypeError", r"'async for' requires .*, got", "A call gives its whole value: write for."),
    _Row("TypeError", r"'NoneType' object is not (?:subscriptable|iterable)", _UNWRAPPED),
    _Row(
        "TypeError",
        r"Promise is not JSON serializable|'(?:coroutine|Task|Future)' object is not",
        "Write await before it: it has been started, its value is not there yet.",
    ),
    _Row("TypeError", r"unhashable type: 'dict'.*\n.*{{{{", "Write {{...}}, not {{{{...}}}}."),
    _Row("AttributeError", r"'(?:coroutine|Task|Future)' object", "Write await before it."),
    _Row("KeyError", r"'(?:content|text|structuredContent|result|data|isError)'", _UNWRAPPED),
    _Row(
        "KeyError",
        r"\n.*environ",
        "A script has no environment: servers have their credentials themselves.",
    ),
    _Row(
        "RuntimeError",
        r"can't start new thread",
        "Use asyncio.gather or api.parallel: calls overlap without threads.",
    ),
    _Row(
        "RuntimeError",
        r"no running event loop",
        "Use await at top level, or `async def run():`; api.parallel works without either.",
    ),
    _Row(
        "(ModuleNotFound|Import)Error",
        r"No module named '(?:api|mcp|mcproxy|tools)'",
        "api is already defined; nothing needs importing for tools: " + _CALL,
    ),
    _Row(
        "ModuleNotFoundError",
        r"'nest_asyncio'",
        "Leave it out: asyncio.run works here as it is, and so does await at top level.",
    ),
    _Row(
        "ModuleNotFoundError",
        r"No module named '([\w.]+)'",
        "{0} is not installed here; the whole standard library is. "
        "api.search(...) finds a tool that may do the same.",
    ),
    _Row(
        "(URLError|gaierror|ConnectError|ConnectionError|ProxyError|HTTPError)",
        r"name resolution|Name or service|not permitted|unreachable|Proxy|[Tt]unnel",
        _NETWORK,
    ),
    _Row("SyntaxError", r"'return' outside function", "A script has no caller. " + _RESULT),
    _Row(
        "SyntaxError",
        r"'await' outside (?:async )?function|asynchronous comprehension outside",
        "Write `async def`, or leave out the await: a call without it waits for its value.",
    ),
    _Row(
        "SyntaxError",
        r"\n\s*(?:const|let|var|function|async function)\s|=>|\n.*(?:&&|\|\|)|\n\s*//"
        r"|\n\s*\}?\s*(?:try|else|(?:if|for|while|catch) ?\(.*\)) ?\{",
        "The script is Python, not JavaScript.",
    ),
    _Row("SyntaxError", r"\n\s*[%!]", "A script is plain Python, without % and ! commands."),
    _Row(
        "SyntaxError",
        r"f-string: (?:unmatched|expecting)",
        "Inside the braces of an f-string write the other kind of quotes.",
    ),
    _Row(
        "SyntaxError",
        r"unterminated (?:triple-quoted )?(?:f-)?string literal",
        "In code that is sent as JSON, a newline inside a Python string is \\\\n; "
        "or use a triple-quoted string.",
    ),
    _Row(
        "(PermissionError|FileNotFoundError|OSError)",
        r"\n.*(?:Pool|Process)\w*\(",
        "Scripts cannot start processes: use asyncio.gather or threads.",
    ),
    _Row(
        "(PermissionError|FileNotFoundError|OSError)",
        r"",
        "A script sees no files of the host. Use tools for files; tempfile for scratch.",
    ),
    _Row("SystemExit", r"", "Do not exit with an error; raise an exception. " + _RESULT),
    _Row("RecursionError", r"", "Use a loop, or a stack of your own."),
)


def hint(type_name: str, message: str, source_line: str) -> str | None:
    """The advice for an error of the script, if there is any."""
    text = f"{message}\n{source_line}"
    for row in _TABLE:
        if re.fullmatch(row.type, type_name) and (found := re.search(row.pattern, text)):
            return row.advice.format(*found.groups(default=""))
    return _missing_import(type_name, message)


def _missing_import(type_name: str, message: str) -> str | None:
    found = re.search(r"name '(\w+)' is not defined", message)
    if type_name != "NameError" or found is None:
        return None
    name = found[1]
    if name in sys.stdlib_module_names:
        return f"Add: import {name}"
    return "Each script starts afresh: nothing of an earlier one is left. Tools: " + _CALL
