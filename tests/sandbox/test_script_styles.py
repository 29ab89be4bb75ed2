"""A call elsewhere blocks and gives the real value; order, and what was never awaited."""

from collections.abc import Awaitable, Callable

import pytest

from mcproxy.types import Json, Outcome

Run = Callable[..., Awaitable[Outcome]]

ROWS: Json = [{"id": 1, "name": "ann"}, {"id": 2, "name": "bob"}]
REAL_VALUES: dict[str, tuple[str, Json]] = {
    "len": ("len(s.rows())", 2),
    "json.dumps": ("json.loads(json.dumps(s.rows()))", ROWS),
    "join": ('", ".join(row["name"] for row in s.rows())', "ann, bob"),
    "isinstance": ("isinstance(s.rows(), list)", True),
    "subscript": ('s.rows()[0]["name"]', "ann"),
    "for": ("out = []\nfor row in s.rows():\n    out.append(row['id'])\nout", [1, 2]),
    "if": ("'yes' if s.rows() else 'no'", "yes"),
    "f-string": ("f'{s.rows()[1][\"id\"]}'", "2"),
    "sorted with key": ("sorted(s.rows(), key=lambda row: -row['id'])[0]['id']", 2),
    "comprehension": ("[s.echo(i=i)['i'] for i in range(3)]", [0, 1, 2]),
    "generator": ("sum(s.echo(i=i)['i'] for i in range(3))", 3),
    "map": ("[row['i'] for row in map(lambda i: s.echo(i=i), range(3))]", [0, 1, 2]),
    "plain function": ("def run():\n    return len(s.rows())", 2),
    "plain function called plainly": ("def rows():\n    return s.rows()\nlen(rows())", 2),
    "both uses of one function": (
        "def f(i):\n    return s.echo(i=i)\nlen(f(1)), len(await f(2))",
        [2, 2],
    ),
    "async def": ("async def run():\n    return len(s.rows())", 2),
    "async def, bound": ("async def run():\n    rows = s.rows()\n    return rows[0]['id']", 1),
    "in a branch of async": (
        "async def run():\n    rows = s.rows() if True else s.echo()\n    return len(rows)",
        2,
    ),
    "unpacked in async": (
        "async def run():\n    a, b = s.rows(), s.echo(i=1)\n    return len(a) + b['i']",
        3,
    ),
    "class body in async": (
        "async def run():\n    class A:\n        rows = s.rows()\n    return len(A.rows)",
        2,
    ),
    "generator function": (
        "def pages():\n    for i in range(2):\n        yield s.echo(i=i)['i']\nlist(pages())",
        [0, 1],
    ),
    "async generator": (
        "async def pages():\n    for i in range(2):\n        yield await s.echo(i=i)\n"
        "[page['i'] async for page in pages()]",
        [0, 1],
    ),
    "lambda": ("f = lambda i: s.echo(i=i)\nf(1)['i']", 1),
    "default argument": ("def f(rows=s.rows()):\n    return len(rows)\nf()", 2),
    "walrus": ("(rows := s.rows()) and len(rows)", 2),
    "match": ("match s.echo(i=1):\n    case {'i': i}:\n        out = i\nout", 1),
    "cached": (
        (
            "import functools\n@functools.cache\ndef f(i):\n"
            "    return s.echo(i=i)\nlen(f(1)) + len(f(1))"
        ),
        4,
    ),
    "try around a return": (
        (
            "def f():\n    try:\n        return s.no()\n"
            "    except ToolError as e:\n        return e.code\nawait f()"
        ),
        "tool_error",
    ),
    "with around a return": (
        "import contextlib\ndef f():\n    with contextlib.suppress(ToolError):\n"
        "        return s.no()\n    return 'caught'\nawait asyncio.gather(f(), f())",
        ["caught", "caught"],
    ),
    "gather of plain values": (
        "rows = s.rows()\nlen(rows)\nawait asyncio.gather(asyncio.sleep(0, 1))",
        [1],
    ),
    "await of a plain value": ("await 5", 5),
    "await of a manifest": ("(await api.manifest())['namespace']", "public"),
    "await of a list": (
        "await [s.echo(i=1), s.echo(i=2)]",
        [{"tool": "echo", "i": 1}, {"tool": "echo", "i": 2}],
    ),
    "awaited twice": (
        "call = s.echo(i=1)\na = await call\nb = await call\n[a == b, a['i']]",
        [True, 1],
    ),
    "awaited and used": (
        "call = s.rows()\nn = len(call)\nrows = await call\n[n, len(rows), call[0]['id']]",
        [2, 2, 1],
    ),
    "last expression is a coroutine": (
        "async def main():\n    return await s.rows()\nmain()",
        ROWS,
    ),
    "last expression is a gather": ("asyncio.gather(s.echo(i=1))", [{"tool": "echo", "i": 1}]),
    "result is a coroutine": ("async def main():\n    return 7\nresult = main()", 7),
    "plain run with asyncio.run": (
        "async def main():\n    return await s.rows()\ndef run():\n    return asyncio.run(main())",
        ROWS,
    ),
    "asyncio.run of a call": ("asyncio.run(s.rows())", ROWS),
    "asyncio.run inside async": (
        (
            "async def main():\n    return await s.rows()\nasync def run():\n"
            "    return asyncio.run(main())"
        ),
        ROWS,
    ),
}


@pytest.mark.requirement("api.blocking")
@pytest.mark.parametrize("name", REAL_VALUES)
async def test_a_call_elsewhere_gives_the_real_value(run: Run, name: str) -> None:
    source, value = REAL_VALUES[name]
    outcome = await run("s = api.server('s')\n" + source)
    assert outcome.error is None
    assert outcome.value == value


ORDER = {
    "top level": "s.echo(name='a')\ns.echo(name='b')",
    "plain function": "def run():\n    s.echo(name='a')\n    s.echo(name='b')",
    "async function": "async def run():\n    s.echo(name='a')\n    return s.echo(name='b')",
    "async, bound": (
        "async def run():\n    r = s.echo(name='a')\n    s.echo(name='b')\n    return r"
    ),
    "awaited plain function": (
        "def save():\n    r = s.echo(name='a')\n    s.echo(name='b')\n    return r\nawait save()"
    ),
    "list": "[s.echo(name=n) for n in 'ab']",
    "await": "await s.echo(name='a')\nawait s.echo(name='b')",
    "tuple in async": "async def run():\n    return s.echo(name='a'), s.echo(name='b')",
}


@pytest.mark.requirement("api.order")
@pytest.mark.parametrize("name", ORDER)
async def test_statements_happen_in_the_order_written(run: Run, log: list[str], name: str) -> None:
    outcome = await run("s = api.server('s')\n" + ORDER[name])
    assert outcome.error is None
    assert log == [">a", "<a", ">b", "<b"]


UNAWAITED = {
    "promise": "call = s.echo()\nif False:\n    await call\n'done'",
    "task": "task = asyncio.create_task(s.echo())\n'done'",
    "task of a coroutine": (
        "async def f():\n    await asyncio.sleep(0)\n    await s.echo()\n"
        "asyncio.create_task(f())\n'done'"
    ),
    "task inside asyncio.run": (
        "async def main():\n    asyncio.create_task(s.echo())\n"
        "    return 'done'\nasyncio.run(main())"
    ),
    "task inside run": ("async def run():\n    asyncio.create_task(s.echo())\n    return 'done'"),
}


@pytest.mark.requirement("api.unawaited")
@pytest.mark.parametrize("name", UNAWAITED)
async def test_what_was_started_completes(run: Run, log: list[str], name: str) -> None:
    outcome = await run("s = api.server('s')\n" + UNAWAITED[name])
    assert outcome.error is None
    assert outcome.value == "done"
    assert log == [">echo", "<echo"]


@pytest.mark.requirement("api.unawaited")
@pytest.mark.parametrize("name", UNAWAITED)
async def test_what_was_started_and_failed_fails_the_script(run: Run, name: str) -> None:
    source = UNAWAITED[name].replace("s.echo", "s.no")
    outcome = await run("s = api.server('s')\n" + source)
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == ("ToolError", "the tool said no")
    assert outcome.error.line is not None


GIVEN_UP = {
    "wait_for": (
        "try:\n    await asyncio.wait_for(s.never(), 0.01)\nexcept TimeoutError:\n    pass\n'done'"
    ),
    "timeout": (
        "try:\n    async with asyncio.timeout(0.01):\n        await s.never()\n"
        "except TimeoutError:\n    pass\n'done'"
    ),
    "cancel": (
        "task = asyncio.create_task(s.never())\nawait asyncio.sleep(0)\ntask.cancel()\n'done'"
    ),
    "failure seen": (
        "a = asyncio.create_task(s.no())\nawait asyncio.wait([a])\na.exception() and 'done'"
    ),
    "failure caught": "call = s.no()\ntry:\n    await call\nexcept ToolError:\n    pass\n'done'",
    "failure in place": ("await asyncio.gather(s.no(), s.echo(), return_exceptions=True)\n'done'"),
}


@pytest.mark.parametrize("name", GIVEN_UP)
async def test_a_call_that_was_given_up_holds_nothing_back(run: Run, name: str) -> None:
    outcome = await run("s = api.server('s')\n" + GIVEN_UP[name])
    assert outcome.error is None
    assert outcome.value == "done"


@pytest.mark.requirement("api.parallel")
async def test_parallel_raises_the_first_failure_after_all_have_ended(
    run: Run, log: list[str]
) -> None:
    source = """
s = api.server("s")
try:
    api.parallel([s.no(), s.meet(n=2), s.meet(n=2)])
except ToolError as error:
    result = error.message
"""
    outcome = await run(source)
    assert outcome.value == "the tool said no"
    assert log.count("<meet") == 2


@pytest.mark.requirement("api.parallel")
async def test_parallel_puts_failures_in_place(run: Run) -> None:
    source = """
s = api.server("s")
got = await api.parallel([s.no(), s.echo(i=1), 5], return_exceptions=True)
[type(got[0]).__name__, got[1]["i"], got[2]]
"""
    outcome = await run(source)
    assert outcome.value == ["ToolError", 1, 5]
