"""Calls overlap wherever a script means them to: ``meet`` answers n calls at once, or none."""

from collections.abc import Awaitable, Callable

import pytest

from mcproxy.types import Limits, Outcome

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


async def test_many_calls_overlap(run: Run) -> None:
    source = "await asyncio.gather(*[api.server('s').meet(n=150, i=i) for i in range(150)])"
    outcome = await run(source, Limits(timeout_secs=20))
    assert outcome.error is None
    assert outcome.value == list(range(150))
