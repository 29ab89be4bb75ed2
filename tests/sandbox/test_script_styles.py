"""A call works in both styles. Overlap is shown by ``meet``: n calls at once, or none."""

from collections.abc import Awaitable, Callable

import pytest

from mcproxy.types import Json, Limits, Outcome

Run = Callable[..., Awaitable[Outcome]]

OVERLAP = {
    "gather": "await asyncio.gather(s.meet(n=2, i=0), s.meet(n=2, i=1))",
    "gather a list": "await asyncio.gather(*[s.meet(n=2, i=i) for i in range(2)])",
    "gather a generator": "await asyncio.gather(*(s.meet(n=2, i=i) for i in range(2)))",
    "gather names": """
a = s.meet(n=2, i=0)
b = s.meet(n=2, i=1)
await asyncio.gather(a, b)
""",
    "await names one by one": """
a = s.meet(n=2, i=0)
b = s.meet(n=2, i=1)
[await a, await b]
""",
    "await unpacked names": """
a, b = s.meet(n=2, i=0), s.meet(n=2, i=1)
[await a, await b]
""",
    "a list by append": """
calls = []
for i in range(2):
    calls.append(s.meet(n=2, i=i))
await asyncio.gather(*calls)
""",
    "a list by extend": """
calls = []
calls.extend([s.meet(n=2, i=0)])
calls += [s.meet(n=2, i=1)]
await asyncio.gather(*calls)
""",
    "a list awaited in a loop": """
calls = [s.meet(n=2, i=i) for i in range(2)]
out = []
for call in calls:
    out.append(await call)
out
""",
    "a list awaited in a comprehension": """
calls = [s.meet(n=2, i=i) for i in range(2)]
[await call for call in calls]
""",
    "a dict by items": """
calls = {str(i): s.meet(n=2, i=i) for i in range(2)}
[await call for name, call in calls.items()]
""",
    "a dict by values": """
calls = {}
for i in range(2):
    calls[i] = s.meet(n=2, i=i)
await asyncio.gather(*calls.values())
""",
    "a dict by key": """
calls = {"a": s.meet(n=2, i=0), "b": s.meet(n=2, i=1)}
[await calls["a"], await calls["b"]]
""",
    "zip with names": """
names = ["a", "b"]
calls = [s.meet(n=2, i=i) for i in range(2)]
[await call for name, call in zip(names, calls)]
""",
    "enumerate": """
calls = [s.meet(n=2, i=i) for i in range(2)]
[await call for i, call in enumerate(calls)]
""",
    "map with a lambda": "await asyncio.gather(*map(lambda i: s.meet(n=2, i=i), range(2)))",
    "map with a function": """
def fetch(i):
    return s.meet(n=2, i=i)
await asyncio.gather(*map(fetch, range(2)))
""",
    "functions": """
def fetch(i):
    "A call."
    return s.meet(n=2, i=i)
await asyncio.gather(fetch(0), fetch(1))
""",
    "functions through functions": """
def fetch(i):
    return s.meet(n=2, i=i)
def indirect(i):
    return fetch(i)
await asyncio.gather(indirect(0), indirect(1))
""",
    "a function that gives a list": """
def fetch():
    return [s.meet(n=2, i=i) for i in range(2)]
await asyncio.gather(*fetch())
""",
    "a function that fills a list": """
def fetch():
    calls = []
    for i in range(2):
        calls.append(s.meet(n=2, i=i))
    return calls
await asyncio.gather(*fetch())
""",
    "a function with a branch": """
def fetch(i):
    return s.meet(n=2, i=i) if i else api.call_tool("s", "meet", {"n": 2, "i": i})
await asyncio.gather(fetch(0), fetch(1))
""",
    "a decorated function": """
import functools
def logged(f):
    @functools.wraps(f)
    def inner(*args):
        return f(*args)
    return inner
@logged
def fetch(i):
    return s.meet(n=2, i=i)
await asyncio.gather(fetch(0), fetch(1))
""",
    "methods": """
class Client:
    def fetch(self, i):
        return s.meet(n=2, i=i)
    async def all(self):
        return await asyncio.gather(self.fetch(0), self.fetch(1))
await Client().all()
""",
    "attributes": """
class Client:
    def __init__(self):
        self.calls = [s.meet(n=2, i=i) for i in range(2)]
    async def all(self):
        return await asyncio.gather(*self.calls)
await Client().all()
""",
    "partials": """
import functools
fetch = functools.partial(api.call_tool, "s", "meet")
await asyncio.gather(*[fetch({"n": 2, "i": i}) for i in range(2)])
""",
    "an alias of the tool": """
meet = api.server("s").meet
await asyncio.gather(meet(n=2, i=0), meet(n=2, i=1))
""",
    "async functions that await": """
async def fetch(i):
    return await s.meet(n=2, i=i)
await asyncio.gather(*[fetch(i) for i in range(2)])
""",
    "async functions that only return": """
async def fetch(i):
    return s.meet(n=2, i=i)
await asyncio.gather(*[fetch(i) for i in range(2)])
""",
    "async functions that do not await": """
async def fetch(i):
    row = s.meet(n=2, i=i)
    return row + 0
await asyncio.gather(*[fetch(i) for i in range(2)])
""",
    "async functions over plain ones": """
def fetch(i):
    return s.meet(n=2, i=i)
async def work(i):
    row = fetch(i)
    return row
await asyncio.gather(work(0), work(1))
""",
    "async functions with a semaphore": """
limit = asyncio.Semaphore(2)
async def fetch(i):
    async with limit:
        return await s.meet(n=2, i=i)
await asyncio.gather(*[fetch(i) for i in range(2)])
""",
    "create_task": """
a = asyncio.create_task(s.meet(n=2, i=0))
b = asyncio.create_task(s.meet(n=2, i=1))
[await a, await b]
""",
    "ensure_future": """
calls = [asyncio.ensure_future(s.meet(n=2, i=i)) for i in range(2)]
await asyncio.gather(*calls)
""",
    "a task group": """
async with asyncio.TaskGroup() as group:
    tasks = [group.create_task(s.meet(n=2, i=i)) for i in range(2)]
[task.result() for task in tasks]
""",
    "wait": """
done, pending = await asyncio.wait([s.meet(n=2, i=i) for i in range(2)])
sorted(task.result() for task in done)
""",
    "as_completed": """
out = []
for call in asyncio.as_completed([s.meet(n=2, i=i) for i in range(2)]):
    out.append(await call)
sorted(out)
""",
    "wait_for and shield": """
await asyncio.gather(
    asyncio.wait_for(s.meet(n=2, i=0), 5), asyncio.shield(s.meet(n=2, i=1)))
""",
    "a timeout": """
async with asyncio.timeout(5):
    out = await asyncio.gather(s.meet(n=2, i=0), s.meet(n=2, i=1))
out
""",
    "gather imported": """
from asyncio import gather as together
import asyncio as aio
a = s.meet(n=2, i=0)
await together(a, aio.shield(s.meet(n=2, i=1)))
""",
    "parallel awaited": "await api.parallel([s.meet(n=2, i=0), s.meet(n=2, i=1)])",
    "parallel not awaited": "api.parallel([s.meet(n=2, i=i) for i in range(2)])",
    "parallel of names": """
calls = [s.meet(n=2, i=i) for i in range(2)]
rows = api.parallel(calls)
[row + 0 for row in rows]
""",
    "parallel of functions": "api.parallel([lambda: s.meet(n=2, i=0), lambda: s.meet(n=2, i=1)])",
    "parallel of async functions": """
async def fetch(i):
    return await s.meet(n=2, i=i)
def run():
    return api.parallel([fetch(0), fetch(1)])
""",
    "parallel in a plain function": """
def run():
    return api.parallel([api.call_tool("s", "meet", {"n": 2, "i": i}) for i in range(2)])
""",
    "asyncio.run": """
async def main():
    return await asyncio.gather(*[s.meet(n=2, i=i) for i in range(2)])
asyncio.run(main())
""",
    "asyncio.run after an await": """
await asyncio.sleep(0)
async def main():
    return await asyncio.gather(*[s.meet(n=2, i=i) for i in range(2)])
asyncio.run(main())
""",
    "run_until_complete": """
calls = [s.meet(n=2, i=i) for i in range(2)]
asyncio.get_event_loop().run_until_complete(asyncio.gather(*calls))
""",
    "a runner": """
async def main():
    return await asyncio.gather(*[s.meet(n=2, i=i) for i in range(2)])
with asyncio.Runner() as runner:
    out = runner.run(main())
out
""",
    "a list given to a function": """
async def everything(calls):
    return await asyncio.gather(*calls)
await everything([s.meet(n=2, i=i) for i in range(2)])
""",
    "a list from another scope": """
calls = []
def add(i):
    calls.append(s.meet(n=2, i=i))
add(0)
add(1)
await asyncio.gather(*calls)
""",
    "threads": """
from concurrent.futures import ThreadPoolExecutor
def fetch(i):
    return s.meet(n=2, i=i)
with ThreadPoolExecutor(2) as pool:
    out = list(pool.map(fetch, range(2)))
out
""",
    "to_thread": """
def fetch(i):
    return s.meet(n=2, i=i)
await asyncio.gather(*[asyncio.to_thread(fetch, i) for i in range(2)])
""",
    "promises in the result": """
async def run():
    a = s.meet(n=2, i=0)
    calls = [a, s.meet(n=2, i=1)]
    if False:
        await asyncio.gather(*calls)
    return calls
""",
}


@pytest.mark.requirement("api.overlap")
@pytest.mark.parametrize("name", OVERLAP)
async def test_calls_overlap(run: Run, name: str) -> None:
    outcome = await run("s = api.server('s')\n" + OVERLAP[name])
    assert outcome.error is None
    assert outcome.value == [0, 1]
    assert len(outcome.calls) == 2


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


async def test_many_calls_overlap(run: Run) -> None:
    source = "await asyncio.gather(*[api.server('s').meet(n=150, i=i) for i in range(150)])"
    outcome = await run(source, Limits(timeout_secs=20))
    assert outcome.error is None
    assert outcome.value == list(range(150))
