"""``api`` as scripts use it: what reaches the gateway, and what value comes back."""

import json
from collections.abc import Awaitable, Callable, Mapping

import pytest

from mcproxy.types import Json, Outcome

Run = Callable[..., Awaitable[Outcome]]

UNWRAPPED: dict[str, tuple[Json, Json]] = {
    "structured": ({"content": [], "structuredContent": {"a": 1}}, {"a": 1}),
    "json text": ({"content": [{"type": "text", "text": '{"a": [1]}'}]}, {"a": [1]}),
    "plain text": ({"content": [{"type": "text", "text": "hello"}]}, "hello"),
    "no JSON": ({"content": [{"type": "text", "text": "NaN"}]}, "NaN"),
    "several blocks": (
        {"content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]},
        [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}],
    ),
    "image": (
        {"content": [{"type": "image", "data": "AA==", "mimeType": "image/png"}]},
        [{"type": "image", "data": "AA==", "mimeType": "image/png"}],
    ),
    "nothing": ({"content": []}, []),
}


@pytest.mark.requirement("api.value")
@pytest.mark.parametrize("name", UNWRAPPED)
async def test_the_value_of_a_call(run: Run, name: str) -> None:
    result, value = UNWRAPPED[name]
    outcome = await run(f"json.dumps(await api.call_tool('s', 'raw', {{'result': {result!r}}}))")
    assert json.loads(str(outcome.value)) == value


@pytest.mark.requirement("api.raw")
async def test_raw_gives_the_whole_result(run: Run) -> None:
    outcome = await run("await api.call_tool('s', 'raw', {'result': {'content': []}}, raw=True)")
    assert outcome.value == {"content": []}


API: dict[str, tuple[str, list[tuple[str, str, Mapping[str, Json]]]]] = {
    "keywords": ("await api.server('s').echo(a=1)", [("s", "echo", {"a": 1})]),
    "dotted": ("await api.server('s').repos.list(a=1)", [("s", "repos.list", {"a": 1})]),
    "verbatim": ("await api.server('s')['any name']()", [("s", "any name", {})]),
    "one dict": ("await api.server('s').echo({'a': 1})", [("s", "echo", {"a": 1})]),
    "dict and keywords": ("api.server('s').echo({'a': 1}, b=2)", [("s", "echo", {"a": 1, "b": 2})]),
    "call_tool": ("await api.call_tool('s', 'echo', {'a': 1})", [("s", "echo", {"a": 1})]),
    "call_tool without arguments": ("api.call_tool('s', 'echo')", [("s", "echo", {})]),
    "call_tool by keywords": ("api.call_tool('s', 'echo', a=1)", [("s", "echo", {"a": 1})]),
    "call_tool all by name": (
        "api.call_tool(server='s', tool='echo', arguments={'a': 1})",
        [("s", "echo", {"a": 1})],
    ),
    "search": (
        "await api.search('x', max_depth=1)",
        [("", "search", {"query": "x", "max_depth": 1})],
    ),
    "search without await": ("api.search('x')", [("", "search", {"query": "x"})]),
    "schema": ("api.schema('s', 'echo')", [("", "schema", {"server": "s", "tool": "echo"})]),
    "read_resource": (
        "api.read_resource('s', 'file:///x')",
        [("", "read_resource", {"server": "s", "uri": "file:///x"})],
    ),
    "a server of the manifest": ("await api.s.echo(a=1)", [("s", "echo", {"a": 1})]),
    "parameters named like the proxy's own": (
        "api.server('s').echo(self=1, tool=2, server=3, names=4, wait=5)",
        [("s", "echo", {"self": 1, "tool": 2, "server": 3, "names": 4, "wait": 5})],
    ),
    "the same under await": (
        "await api.server('s').echo(self=1, api=2, function=3)",
        [("s", "echo", {"self": 1, "api": 2, "function": 3})],
    ),
    "the same in a gather": (
        "await asyncio.gather(api.server('s').echo(self=1, tool=2))",
        [("s", "echo", {"self": 1, "tool": 2})],
    ),
    "the same in a function": (
        "def f(): return api.server('s').echo(self=1, server=2)\nawait f()",
        [("s", "echo", {"self": 1, "server": 2})],
    ),
    "the same of call_tool": (
        "api.call_tool('s', 'echo', {}, self=1, server=2, tool=3, arguments=4)",
        [("s", "echo", {"self": 1, "server": 2, "tool": 3, "arguments": 4})],
    ),
    "the same of a whole dict": (
        "api.call_tool('s', 'echo', {'self': 1, 'raw': 2})",
        [("s", "echo", {"self": 1, "raw": 2})],
    ),
    "tools named like attributes": (
        "api.server('s').start(a=1); await api.server('s').wait(a=2); api.server('s').names()",
        [("s", "start", {"a": 1}), ("s", "wait", {"a": 2}), ("s", "names", {})],
    ),
    "raw is an argument of a tool": (
        "api.server('s').echo(raw=True)",
        [("s", "echo", {"raw": True})],
    ),
    "odd arguments": ("api.server('s').echo(a={1}, b=(1,))", [("s", "echo", {"a": [1], "b": [1]})]),
    "manifest": ("api.manifest()['servers']['s']['tools']", []),
}


@pytest.mark.requirement("api.forms")
@pytest.mark.parametrize("name", API)
async def test_what_reaches_the_gateway(
    run: Run, sent: list[tuple[str, str, Mapping[str, Json]]], name: str
) -> None:
    source, calls = API[name]
    outcome = await run(source)
    assert outcome.error is None
    assert sent == calls
    assert [(record.server, record.tool) for record in outcome.calls] == [
        (server, tool) for server, tool, _ in calls if server
    ]


@pytest.mark.requirement("api.manifest")
async def test_the_manifest_is_a_copy(run: Run) -> None:
    outcome = await run("api.manifest().clear()\napi.manifest()['namespace']")
    assert outcome.value == "public"


@pytest.mark.requirement("api.explored")
async def test_dir_shows_what_there_is(run: Run) -> None:
    parts = "', '.join(dir(api)), dir(api.server('s')), dir(api.server('s').echo), repr(api)"
    outcome = await run(f"[{parts}]")
    assert isinstance(outcome.value, list)
    members, tools, none, shown = outcome.value
    own = "call_tool, manifest, parallel, read_resource, result, schema, search, server, stash"
    assert members == ", ".join(sorted([*own.split(", "), "s"]))
    assert (tools, none) == (["echo"], [])
    assert "api.server('SERVER').TOOL(name=value)" in str(shown)


@pytest.mark.requirement("api.explored")
async def test_arguments_without_names_are_told_the_names(run: Run) -> None:
    outcome = await run("await api.server('s').echo(1, 2)")
    assert outcome.error
    assert "got 2 positional. Its parameters: a, b?." in outcome.error.message
