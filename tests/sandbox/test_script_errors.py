"""What goes wrong in scripts, and what the model is told about it."""

import signal
from collections.abc import Awaitable, Callable

import pytest

from mcproxy.sandbox.jail.script.hints import hint
from mcproxy.types import Outcome

Run = Callable[..., Awaitable[Outcome]]

# source -> type, part of the message, line, part of the hint
ERRORS: dict[str, tuple[str, str, str, int | None, str]] = {
    "plain": ("x = 1\n1 / 0", "ZeroDivisionError", "division by zero", 2, ""),
    "in a function": ("def f():\n    1 / 0\nf()", "ZeroDivisionError", "", 2, ""),
    "in a library": ("import json\njson.loads('{')", "JSONDecodeError", "Expecting", 2, ""),
    "own class": ("class Mine(Exception): pass\nraise Mine('x')", "Mine", "x", 2, ""),
    "async": ("async def run():\n    raise ValueError('x')", "ValueError", "x", 2, ""),
    "task group": (
        "async def f():\n    raise ValueError('inner')\nasync with asyncio.TaskGroup() as g:\n"
        "    g.create_task(f())",
        "ExceptionGroup",
        "ValueError: inner",
        3,
        "",
    ),
    "no network": (
        "import urllib.error\nraise urllib.error.URLError('[Errno -3] name resolution')",
        "URLError",
        "name resolution",
        2,
        "allowed_hosts",
    ),
    "syntax": ("x = 1\ndef f(:\n    pass", "SyntaxError", "", 2, ""),
    "indentation": ("if True:\nx = 1", "IndentationError", "expected an indented block", 2, ""),
    "javascript arrow": ("f = (x) => x", "SyntaxError", "", 1, "not JavaScript"),
    "javascript block": ("try {\n}", "SyntaxError", "", 1, "not JavaScript"),
    "a command of notebooks": ("!pip install x", "SyntaxError", "", 1, "without % and !"),
    "async for over a value": (
        "async for row in api.server('s').rows():\n    pass",
        "TypeError",
        "",
        1,
        "write for",
    ),
    "environment": ("import os\nos.environ['TOKEN']", "KeyError", "TOKEN", 2, "no environment"),
    "nest_asyncio": ("import nest_asyncio", "ModuleNotFoundError", "", 1, "Leave it out"),
    "a list as a dict": (
        "rows = api.server('s').rows()\nrows.get('id')",
        "AttributeError",
        "",
        2,
        "The value is a list. Here rows is",
    ),
    "await in a text": (
        "exec('x = await f()')",
        "SyntaxError",
        "'await' outside function",
        1,
        "leave out the await",
    ),
    "flat tool name": (
        "github__list_issues(a=1)",
        "NameError",
        "",
        1,
        'api.server("github").list_issues',
    ),
    "mcp tool name": ("mcp__github__get_me()", "NameError", "", 1, 'api.server("github").get_me'),
    "tool() taken literally": (
        "api.server('s').tool('echo', {})",
        "TypeError",
        "by name",
        1,
        'api.server("s")["TOOL"]',
    ),
    "call_tool with one name": (
        "api.call_tool('echo', {'a': 1})",
        "TypeError",
        'api.call_tool("SERVER", "TOOL"',
        1,
        "",
    ),
    "call_tool bare": ("call_tool('s', 'echo')", "NameError", "", 1, "api.call_tool"),
    "parallel of a dict": ("api.parallel({'a': 1})", "TypeError", "values()", 1, ""),
    "a server without a name": ("api.server(1)", "TypeError", "name", 1, ""),
    "a server called": ("api.server('s')(a=1)", "TypeError", "is a server", 1, ""),
    "a tool not called": ("await api.server('s').echo", "TypeError", "was not called", 1, ""),
    "unknown member": ("api.call_tol('s')", "AttributeError", "call_tool", 1, ""),
    "envelope": (
        "r = api.server('s').echo(a=1)\nr['content'][0]['text']",
        "KeyError",
        "content",
        2,
        "r is a dict with keys 'tool', 'a'",
    ),
    "wrong key": (
        "rows = api.server('s').rows()\n[row['nam'] for row in rows]",
        "KeyError",
        "nam",
        2,
        "'id', 'name'",
    ),
    "attribute of a dict": (
        "r = api.server('s').echo(a=1)\nr.a",
        "AttributeError",
        "",
        2,
        'value["a"]',
    ),
    "text subscripted": ("r = 'text'\nr['a']", "TypeError", "", 2, "The value is text"),
    "list subscripted": (
        "r = api.server('s').rows()\nr['items']",
        "TypeError",
        "",
        2,
        "r is a list of 2 (a dict with keys 'id', 'name', …)",
    ),
    "coroutine used": (
        "async def f():\n    return {}\nr = f()\nr['a']",
        "TypeError",
        "",
        4,
        "Write await",
    ),
    "missing import": ("math.sqrt(4)", "NameError", "", 1, "import math"),
    "missing from-import": ("Counter('aa')", "NameError", "", 1, "from collections import Counter"),
    "state expected": ("rows_of_last_time", "NameError", "", 1, "starts afresh"),
    "module not there": ("import pandas", "ModuleNotFoundError", "pandas", 1, "standard library"),
    "import of the gateway": (
        "from mcproxy import run",
        "AttributeError",
        "api has no 'run'",
        1,
        "",
    ),
    "input": ("input('name?')", "EOFError", "unattended", 1, ""),
    "exit with a code": ("exit(3)", "SystemExit", "3", 1, "raise an exception"),
    "os._exit": ("import os\nos._exit(0)", "SandboxError", "without a result", None, ""),
    "recursion": ("def f():\n    f()\nf()", "RecursionError", "", 2, "loop"),
    "unprintable": (
        "class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E",
        "E",
        "cannot be shown",
        4,
        "",
    ),
    "positional arguments": ("api.server('s').echo('a', 'b')", "TypeError", "by name", 1, ""),
    "json.loads of a value": (
        "import json\njson.loads(api.server('s').rows())",
        "TypeError",
        "JSON object",
        2,
        "leave out json.loads",
    ),
    "null byte": ("x = '\0'", "SyntaxError", "null byte", None, ""),
    "keyboard interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt", "", 1, ""),
    "file not found": ("open('/no/such/file')", "FileNotFoundError", "", 1, "no files of the host"),
}


@pytest.mark.requirement("execute.error")
@pytest.mark.parametrize("name", ERRORS)
async def test_errors_say_what_where_and_what_to_do(run: Run, name: str) -> None:
    source, type_, message, line, hint = ERRORS[name]
    outcome = await run(source)
    assert outcome.value is None
    assert outcome.error is not None
    assert outcome.error.type == type_
    assert message in outcome.error.message
    assert outcome.error.line == line
    assert hint in (outcome.error.hint or "")


@pytest.mark.requirement("execute.error")
@pytest.mark.parametrize(("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (40, "SIGRTMIN+6")])
async def test_a_script_that_kills_itself_is_told_by_what(
    run_alone: Run, number: int, name: str
) -> None:
    outcome = await run_alone(f"import os\nos.kill(os.getpid(), {number:d})")
    assert (outcome.value, outcome.error and outcome.error.type) == (None, "SandboxError")
    assert outcome.error is not None
    assert name in outcome.error.message
    assert (outcome.error.line, outcome.error.hint) == (None, None)


@pytest.mark.requirement("execute.traceback")
async def test_the_traceback_shows_the_scripts_lines_only(run: Run) -> None:
    outcome = await run(
        "import json\ndef f(text):\n    return json.loads(text)\n"
        "await asyncio.gather(asyncio.to_thread(f, '{'))"
    )
    assert outcome.traceback is not None
    assert outcome.traceback.startswith(
        'Traceback (most recent call last):\n  File "<script>", line 4, in <module>\n'
        "    await asyncio.gather("
    )
    assert '  File "<script>", line 3, in f\n    return json.loads(text)\n' in outcome.traceback
    assert ".py" not in outcome.traceback


@pytest.mark.requirement("execute.traceback")
@pytest.mark.parametrize(
    "source",
    [
        "await api.call_tool('s', 'no')",
        "api.call_tool('s', 'no')",
        "await asyncio.gather(api.call_tool('s', 'no'))",
        "api.parallel([api.call_tool('s', 'no')])",
        (
            "async def run():\n    async with asyncio.TaskGroup() as g:\n"
            "        g.create_task(api.call_tool('s', 'no'))"
        ),
        "asyncio.create_task(api.call_tool('s', 'no'))",
        "api.server('s').echo('a', 'b')",
        "def f(:",
    ],
)
async def test_no_path_of_the_gateway_is_shown(run: Run, source: str) -> None:
    outcome = await run(source)
    assert outcome.traceback is not None
    assert "mcproxy" not in outcome.traceback
    assert ".py" not in outcome.traceback
    assert '"<script>", line' in outcome.traceback


async def test_causes_are_told(run: Run) -> None:
    outcome = await run(
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('x') from e"
    )
    assert outcome.traceback is not None
    assert "ZeroDivisionError: division by zero" in outcome.traceback
    assert outcome.traceback.endswith("\nValueError")  # its message is told once


async def test_a_forgotten_await_is_noted(run: Run) -> None:
    outcome = await run("async def main():\n    return 1\nmain()\n2")
    assert outcome.value == 2
    assert any("'main' was never awaited" in note for note in outcome.notes)


@pytest.mark.requirement("execute.error")
def test_help_which_walled_workers_lack_is_answered_by_dir() -> None:
    assert "dir(api)" in (hint("NameError", "name 'help' is not defined", "help(api)") or "")
