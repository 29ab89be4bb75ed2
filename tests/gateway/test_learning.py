"""Which results are looked at, what becomes of them in the store, and when a tool begins anew."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from mcproxy.gateway.learning import (
    FIRST,
    HEAD_CHARS,
    MAX_RESULT_BYTES,
    MAX_WAITING,
    ONE_IN,
    Learning,
)
from mcproxy.manifest.learned import Learned
from mcproxy.manifest.model import Manifest, build
from mcproxy.observe.redact import Redactor
from mcproxy.store.interface import Store, StoreBounds
from mcproxy.store.local_store import LocalStore
from mcproxy.types import Json, JsonObject, ServerView, Tool, ToolRef, ToolResult

BOUND_SECS = 20
REF = ToolRef("x", "t")


def manifest(**definition: Json) -> Manifest:
    tool = Tool(REF, {"name": "t", "inputSchema": {"type": "object"}, **definition})
    return build([ServerView("x", "ready", tools=(tool,))])


def tool(of: Manifest) -> Tool:
    return of.parts["x"].tools["t"]


def text(value: Json) -> ToolResult:
    return blocks({"type": "text", "text": json.dumps(value)})


def blocks(*listed: JsonObject) -> ToolResult:
    return ToolResult(json.dumps({"content": listed}).encode())


@asynccontextmanager
async def learning(store: Store, secrets: Iterable[str] = ()) -> AsyncIterator[Learning]:
    made = Learning(store, Redactor(secrets).text)
    made.follow(manifest())
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.run())
        yield made
        running.cancel()


async def seen(made: Learning, of: Manifest, count: int) -> Learned:
    """What is learned of the tool, once it is of so many results; bounded."""
    async with asyncio.timeout(BOUND_SECS):
        while True:
            learned = made.returns(tool(of))
            if learned and learned.results_seen >= count:
                assert learned.results_seen == count
                return learned
            await asyncio.sleep(0.01)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with LocalStore(None, StoreBounds()) as store:
        yield store


@pytest.mark.requirement("learned.kept")
async def test_gateways_with_one_store_add_up_and_a_changed_tool_begins_anew(store: Store) -> None:
    known, changed = manifest(), manifest(description="Another tool by now")
    async with learning(store) as one, learning(store) as other:
        one.follow(known)
        other.follow(known)
        one.see(tool(known), text([1]))
        await seen(one, known, 1)
        other.see(tool(known), text(["a"]))
        assert (await seen(other, known, 2)).brief == "list[int|str]"
        one.follow(changed)
        assert one.returns(tool(changed)) is None
        one.see(tool(known), text(1.5))  # of a script that began before
        one.see(tool(changed), text(None))
        assert (await seen(one, changed, 1)).brief == "None"
    async with learning(store) as later:
        later.follow(build([ServerView("x", "starting")]))
        later.follow(changed)
        await seen(later, changed, 1)
        later.follow(build([]))
        assert later.returns(tool(changed)) is None


@pytest.mark.requirement("learned.shapes")
async def test_what_a_script_gets_is_what_is_learned(store: Store) -> None:
    known = manifest()
    structured: JsonObject = {"content": [], "structuredContent": {"a": 1}}
    many: list[Json] = [{"number": n, "title": "x" * 100} for n in range(3000)]
    results = [
        (ToolResult(json.dumps(structured).encode()), "{a: int}"),
        (blocks({"type": "text", "text": "no JSON"}), "{a: int}|str"),
        (blocks({"type": "text", "text": "a"}, {"type": "text", "text": "b"}), None),
        (text({"total": 1, "items": many}), None),
    ]
    assert len(results[-1][0].raw) > HEAD_CHARS
    async with learning(store) as made:
        made.follow(known)
        for count, (result, told) in enumerate(results, 1):
            made.see(tool(known), result)
            learned = await seen(made, known, count)
            assert told in (None, learned.brief)
    properties = learned.schema["properties"]
    assert isinstance(properties, dict)
    assert properties["total"] == {"type": "integer"}
    assert "number" in str(properties["items"])
    assert learned.schema["items"] == {
        "type": "object",
        "properties": {"text": {"type": "string"}, "type": {"type": "string"}},
        "required": ["text", "type"],
    }


async def test_what_cannot_be_read_is_left_out(store: Store) -> None:
    known = manifest()
    await store.put(json.dumps(["learned", "x"]), "t", b'{"of": "another release"}', 60)
    odd = [
        ToolResult(b"{}"),  # an empty list of blocks
        ToolResult(b'{"content": 1}'),
        ToolResult(b"no JSON"),
        ToolResult(b'{"content": [], "structuredContent": "\xff"}'),
        text("[" * HEAD_CHARS + "]" * HEAD_CHARS),
        blocks({"type": "text", "text": "[" * 2 * HEAD_CHARS}),
        ToolResult(b'{"content": [' + b" " * MAX_RESULT_BYTES + b"]}"),
        ToolResult(b'{"content": []}', is_error=True),
    ]
    async with learning(store) as made:
        made.follow(known)
        for result in odd:
            made.see(tool(known), result)
        made.see(tool(known), text(1))
        learned = await seen(made, known, 3)
    assert learned.brief == "list|int|str"


async def test_of_many_results_few_are_looked_at(store: Store) -> None:
    known = manifest()
    made = Learning(store, str)
    made.follow(known)
    for _ in range(1000):
        made.see(tool(known), text(1))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.run())
        await seen(made, known, MAX_WAITING)
        for count in range(1000, 1000 + 4 * ONE_IN):
            made.see(tool(known), text(count))
        await seen(made, known, MAX_WAITING + 4)
        running.cancel()
    assert MAX_WAITING < FIRST


@pytest.mark.requirement("learned.no_values")
async def test_no_secret_is_learned(store: Store) -> None:
    known = manifest()
    values: list[Json] = [
        {
            "state": "hunter-two",
            "hunter-two": 1,
            "ghp_abcdefghijklmnop": 2,
            "kind": "sk-abcdefghijklm1",
        }
    ]
    async with learning(store, ["hunter-two"]) as made:
        made.follow(known)
        for count in range(1, 4):
            made.see(tool(known), text(values * 20))
            learned = await seen(made, known, count)
    assert learned.schema["items"] == {
        "type": "object",
        "additionalProperties": {"type": "integer"},
        "properties": {"kind": {"type": "string"}, "state": {"type": "string"}},
        "required": ["kind", "state"],
    }
