"""A script is held against its namespace's tools: what is found, and what never is."""

import sysconfig
from pathlib import Path

import pytest

from mcproxy.gateway.arguments import MAX_CODE_BYTES
from mcproxy.manifest.model import build
from mcproxy.sandbox.jail.script.running import compile_script, parse_script
from mcproxy.types import Json, ServerState, ServerView, Tool, ToolRef
from tests.sandbox.jail.reading import read

TEXT: Json = {"type": "string"}


def tool(server: str, name: str, properties: Json, required: tuple[str, ...] = ()) -> Tool:
    schema: Json = {"type": "object", "properties": properties, "required": list(required)}
    return Tool(ToolRef(server, name), {"name": name, "inputSchema": schema})


def server(name: str, *tools: Tool, state: ServerState = "ready") -> ServerView:
    return ServerView(name, state, "", tools)


ISSUES: Json = {
    "owner": TEXT,
    "limit": {"type": "integer"},
    "ratio": {"type": ["number", "null"]},
    "state": {"type": "string", "enum": ["open", "closed"]},
    "labels": {"type": "array"},
    "odd": {"anyOf": [TEXT, {"type": "integer"}]},
}
MANIFEST = build(
    [
        server(
            "github",
            tool("github", "list_issues", ISSUES, ("owner",)),
            tool("github", "repos.get", {"name": TEXT}),
            Tool(ToolRef("github", "open"), {"name": "open", "inputSchema": {"type": "object"}}),
        ),
        server("late", state="starting"),
    ]
)
GH = 'gh = api.server("github")\n'

REFUSED: dict[str, tuple[int, str]] = {
    'api.server("githb").open()': (1, "Did you mean 'github'?"),
    'x = 1\nawait api.call_tool("github", "list_isues", {})': (2, "list_issues("),
    'api.call_tool(server="github", tool="nothing_like", arguments={})': (1, "has no tool"),
    GH + "gh.list_issues()": (2, "missing 'owner'"),
    GH + 'gh.list_issues({"owner": "a", "limt": 3})': (2, "no parameter 'limt', did you mean"),
    GH + 'gh.list_issues(owner=5, limit="3")': (2, "'limit' has to be integer, not '3'"),
    GH + 'gh.list_issues(owner="a", state="opened")': (2, "one of 'open', 'closed'"),
    GH + 'gh.list_issues(owner="a", limit=True)': (2, "not True"),
    GH + 'gh.list_issues(owner="a", limit=1.5)': (2, "not 1.5"),
    GH + 'gh.list_issues(owner="a", labels="bug")': (2, "'labels' has to be array"),
    GH + 'get = gh.repos.get\nalias = get\nalias(nam="x")': (4, "did you mean 'name'?"),
    'api.github.repos.gett(name="x")': (1, "repos.get"),
    'api.server("github")["repos.gett"](name="x")': (1, "repos.get"),
    'api["github"]["opn"]()': (1, "'opn'"),
    "api.github.opn()": (1, "'opn'"),
    "api.GitHub.list_issues(limt=1)": (1, "'limt'"),
    'api.github.list_issues(owner="a", ratio=-1, limit=-1.5)': (1, "not -1.5"),
    'api.github.list_issues(owner="a", limit=0x' + "f" * 5000 + ', labels={"a": 1})': (
        1,
        "has to be array, not an object",
    ),
    'tool = "list_isues"\napi.call_tool("github", tool, {"owner": "a"})': (2, "list_issues("),
    'for name in ["open", "opn"]:\n    api.call_tool("github", name, {})': (2, "'opn'"),
    'names = ("open", "opn")\n[api.call_tool("github", n, {}) for n in names]': (2, "'opn'"),
    'for s, t in [("github", "open"), ("github", "opn")]:\n    api.call_tool(s, t, {})': (2, "opn"),
    'for s in ["open", "shut"]:\n    api.server("github").list_issues(owner="a", state=s)': (
        2,
        "'shut'",
    ),
    "from functools import partial\n" + GH + 'p = partial(gh.list_issues, owner="a")\np(limt=1)': (
        4,
        "'limt'",
    ),
    "import functools as f\n" + GH + "await f.partial(gh.list_issues)()": (3, "missing 'owner'"),
    'async def run():\n    return await api.server("github").opn()': (2, "'opn'"),
    'def run():\n    for i in rows():\n        api.server("github").opn()': (3, "'opn'"),
    'if __name__ == "__main__":\n    api.server("github").opn()': (2, "'opn'"),
    'with open("x") as f:\n    api.server("github").opn()': (2, "'opn'"),
    'try:\n    1 / 0\nexcept ZeroDivisionError:\n    pass\nawait api.server("github").opn()': (
        5,
        "'opn'",
    ),
    "import asyncio\nawait asyncio.gather(*[api.server('github').opn() for i in range(3)])": (
        2,
        "'opn'",
    ),
}


@pytest.mark.requirement("preflight.refuses")
@pytest.mark.parametrize("source", REFUSED)
def test_what_is_sure_to_fail_is_refused(source: str) -> None:
    line, words = REFUSED[source]
    error = read(source, MANIFEST).error
    assert error is not None
    assert error.line == line
    assert words in f"{error.message} {error.advice}"


@pytest.mark.requirement("preflight.all_at_once")
def test_everything_is_told_at_once() -> None:
    source = f'import socket\n{GH}gh.opn()\ngh.list_issues(limit="x")\napi.server("githb").open()'
    error = read(source, MANIFEST).error
    assert error is not None
    assert error.line == 1
    told = error.message.splitlines()
    assert [line.partition(":")[0] for line in told[1:]] == ["line 1", "line 3", "line 4", "line 5"]


BAD = 'api.server("github").opn()'
NOTED = [
    f"try:\n    {BAD}\nexcept ToolError:\n    pass",
    f"if ready():\n    {BAD}",
    f"if not ready():\n    exit()\n{BAD}",
    f"def run():\n    if not ready():\n        return 1\n    return {BAD}",
    f"ready() and {BAD}",
    f"x = {BAD} if ready() else None",
    f"def f():\n    return {BAD}\ntry:\n    f()\nexcept ToolError:\n    pass",
    f"def f():\n    return {BAD}\ndef g():\n    return f()\nif ready():\n    g()",
    f"api.parallel([{BAD}], return_exceptions=True)",
    f"p = {BAD}\ntry:\n    await p\nexcept ToolError:\n    pass",
    f"from contextlib import suppress\nwith suppress(ToolError):\n    {BAD}",
    f"t = asyncio.create_task({BAD})",
    f"match ready():\n    case 1:\n        {BAD}",
    f"f = lambda: {BAD}\ntry:\n    f()\nexcept ToolError:\n    pass",
    f"for x in xs:\n    if x:\n        continue\n    {BAD}",
    f"[{BAD} for x in xs if x]",
    'api.server("late").anything(x=1)',
]


@pytest.mark.requirement("preflight.never_refuses")
@pytest.mark.parametrize("source", NOTED)
def test_what_a_script_may_be_ready_for_is_a_note(source: str) -> None:
    reading = read(source, MANIFEST)
    assert reading.error is None
    assert len(reading.notes) == 1


FINE = [
    GH + 'gh.list_issues(owner=f"{1}", limit=3, ratio=None, state=what(), odd=5)',
    GH + 'gh.list_issues(owner="a", ratio=1, limit=2.0, labels=[1])',
    GH + "gh.list_issues(**given)",
    GH + "gh.list_issues(given)",
    GH + 'gh.list_issues({"owner": "a", **given})',
    GH + 'gh.open(anything="goes")',
    GH + 'gh.listIssues(owner="a")\ngh["list-issues"](owner="a")',
    GH + "gh = other()\ngh.opn()",
    "def f(gh):\n    gh.opn()\n" + GH,
    "api = other()\napi.server('x').y()",
    "from other import *\napi.server('x').y()",
    'exec("api = None")\napi.server("x").y()',
    'name = "githb"\nname = "github"\napi.server(name).open()',
    'for name in names:\n    api.call_tool("github", name, {})',
    'names = ["opn"]\nnames[0] = "open"\nfor n in names:\n    api.call_tool("github", n, {})',
    'names = ["opn"]\nnames.clear()\nfor n in names:\n    api.call_tool("github", n, {})',
    'for s, t in [("github", "open"), ("late", "x")]:\n    api.call_tool(s, t, {})'.replace(
        '("late", "x")', '("github", "repos.get")'
    ),
    'api.call_tool("github", "open", {"raw": 1}, raw=True)',
    'api.search("x")\napi.schema("a", "b")\napi.manifest()["servers"]',
    'api.server("github").list_issues',
    "raise SystemExit\n",
]


@pytest.mark.requirement("preflight.never_refuses")
@pytest.mark.parametrize("source", FINE)
def test_nothing_is_said_of_what_may_work(source: str) -> None:
    reading = read(source, MANIFEST)
    assert (reading.error, reading.notes) == (None, ())


SAMPLE = 8  # every eighth; all of them take a minute
STDLIB = Path(sysconfig.get_path("stdlib"))
SCRIPTS = [
    path
    for path in sorted((*STDLIB.glob("*.py"), *STDLIB.glob("test/test_*.py")))
    if path.stat().st_size <= MAX_CODE_BYTES
][::SAMPLE]


@pytest.mark.requirement("preflight.never_refuses")
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")  # theirs
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_of_the_standard_library_is_refused_or_changed(script: Path) -> None:
    text = script.read_text("utf-8", "replace")
    source = parse_script(text)
    assert (source.text, source.notes) == (text, ())
    reading = read(text, MANIFEST)
    told = reading.error.message if reading.error else ""
    lines = [line for line in told.splitlines() if line != "Nothing was run or sent."]
    assert all("is not available in scripts." in line for line in lines)
    assert reading.notes == ()
    compile_script(source.tree)


def test_there_are_scripts_of_the_standard_library() -> None:
    assert len(SCRIPTS) >= 40


@pytest.mark.requirement("preflight.bounded")
@pytest.mark.parametrize(
    "source",
    [
        "(" * 5000,
        "a = " + "b." * 10_000 + "c",
        "-" * 20_000 + "1",
        "\n".join(f"n{i} = n{i + 1}" for i in range(3000)) + "\nn0.x()",
        "a = b\nb = a\na.x()",
        "for a in [1, 2]:\n" + "".join(" " * i + f"for b{i} in [1, 2, 3]:\n" for i in range(1, 15)),
        "\n".join(f'api.server("s{i}").t{i}()' for i in range(2000)),
        "api.server(" * 80 + ")" * 80,
        "api" + ".x" * 20_000 + "()",
    ],
)
def test_no_script_breaks_the_reading(source: str) -> None:
    read(source, MANIFEST)
