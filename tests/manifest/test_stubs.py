"""Type stubs: what they say, and that type checkers take them whatever the tools are called."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mypy import api as mypy

from mcproxy.manifest.model import Manifest, build
from mcproxy.manifest.stubs.python import python_stub
from mcproxy.manifest.stubs.shapes import (
    ANYTHING,
    Array,
    Choice,
    Either,
    Map,
    Member,
    Plain,
    Record,
    Shape,
    record_of,
    shape_of,
)
from mcproxy.manifest.stubs.typescript import typescript_stub
from mcproxy.types import Json, JsonObject, ServerView, Tool, ToolRef

CATALOG = Path(__file__).parents[2].parent / "shared" / "catalog"
TSC = Path(__file__).parents[1] / "node" / "node_modules" / ".bin" / "tsc"

STRING, INTEGER, NULL = Plain("string"), Plain("integer"), Plain("null")

SHAPES: dict[str, tuple[Json, Shape]] = {
    "plain": ({"type": "string"}, STRING),
    "nothing said": ({}, ANYTHING),
    "true": (True, ANYTHING),
    "array": ({"type": "array", "items": {"type": "integer"}}, Array(INTEGER)),
    "any array": ({"type": "array"}, Array(ANYTHING)),
    "nullable": ({"type": ["string", "null"]}, Either((STRING, NULL))),
    "enum": ({"enum": ["a", 1, True, None, "a"]}, Choice(("a", 1, True, None))),
    "odd enum": ({"enum": [{"a": 1}]}, ANYTHING),
    "empty enum": ({"enum": []}, ANYTHING),
    "const": ({"const": "a"}, Choice(("a",))),
    "union": ({"anyOf": [{"type": "string"}, {"type": "null"}]}, Either((STRING, NULL))),
    "union of one": ({"oneOf": [{"type": "string"}, {"type": "string"}]}, STRING),
    "union with anything": ({"anyOf": [{"type": "string"}, {}]}, ANYTHING),
    "nested union": (
        {"anyOf": [{"type": ["string", "null"]}, {"type": "integer"}]},
        Either((STRING, NULL, INTEGER)),
    ),
    "map": ({"type": "object", "additionalProperties": {"type": "string"}}, Map(STRING)),
    "any object": ({"type": "object"}, Map(ANYTHING)),
    "record": (
        {
            "properties": {"a": {"type": "string", "description": "A."}, "b": {}},
            "required": ["a"],
        },
        Record(
            (Member("a", STRING, required=True, description="A."), Member("b", ANYTHING, False))
        ),
    ),
    "reference": (
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}},
        STRING,
    ),
    "foreign reference": ({"$ref": "https://x.org/schema"}, ANYTHING),
    "dangling reference": ({"$ref": "#/$defs/none"}, ANYTHING),
    "reference to itself": ({"$ref": "#"}, ANYTHING),
}


@pytest.mark.parametrize("title", SHAPES)
def test_what_a_schema_means(title: str) -> None:
    schema, shape = SHAPES[title]
    assert shape_of(schema) == shape


def test_arguments_are_an_object_whatever_the_schema_says() -> None:
    assert record_of({"type": "string"}) == record_of(None) == Record(())


def tool(server: str, name: str, **schema: Json) -> Tool:
    definition: JsonObject = {"name": name, "inputSchema": {"type": "object", **schema}}
    return Tool(ToolRef(server, name), definition)


def manifest(*views: ServerView) -> Manifest:
    return build(views)


def github() -> Manifest:
    listed = tool(
        "github",
        "repos.list",
        properties={
            "owner": {"type": "string"},
            "sort": {"enum": ["created", "updated"]},
            "page": {"type": ["integer", "null"]},
        },
        required=["owner"],
    )
    output: JsonObject = {
        "type": "object",
        "properties": {"names": {"type": "array", "items": {"type": "string"}}},
        "required": ["names"],
    }
    described: JsonObject = {**listed.definition, "description": 'List "repos". More.'}
    with_output = Tool(listed.ref, {**described, "outputSchema": output})
    odd = tool("github", "odd-name", properties={"a-b": {"type": "boolean"}}, required=["a-b"])
    return manifest(ServerView("github", "ready", "Repositories.", (with_output, odd)))


PYTHON = """\
class GithubReposListResult(TypedDict):
    names: list[str]

class GithubRepos(Protocol):
    async def list(self, *, owner: str, sort: Literal["created", "updated"] = ..., \
page: int | None = ...) -> GithubReposListResult:
        "List \\"repos\\""
"""
TYPESCRIPT = """\
/** Repositories */
export interface Github {
  repos: {
    /** List "repos" */
    list(args: { owner: string; sort?: "created" | "updated"; page?: number | null }): \
Promise<{ names: Array<string> }>;
  };
  "odd-name"(args: { "a-b": boolean }): Promise<unknown>;
}
"""


@pytest.mark.requirement("cli.stubs")
def test_the_stub_of_a_server() -> None:
    stub = python_stub(github())
    assert PYTHON.replace(" list[", " builtins.list[") in stub
    assert 'def server(self, name: Literal["github"]) -> Github: ...' in stub
    assert TYPESCRIPT in typescript_stub(github())


POINT: JsonObject = {"type": "object", "properties": {"x": {"type": "number"}}}
POINTS: JsonObject = {
    "type": "object",
    "properties": {"result": {"type": "array", "items": {"$ref": "#/$defs/Point"}}},
    "$defs": {"Point": POINT},
}


@pytest.mark.requirement("api.wrapped")
@pytest.mark.parametrize("mark", [{"x-fastmcp-wrap-result": True}, {"title": "pointsOutput"}])
def test_a_wrapped_value_has_the_type_of_the_value(mark: JsonObject) -> None:
    made = tool("map", "points")
    wrapped = Tool(made.ref, {**made.definition, "outputSchema": {**POINTS, **mark}})
    found = manifest(ServerView("map", "ready", "", (wrapped,)))
    assert "async def points(self) -> list[MapPointsResultItem]:" in python_stub(found)
    assert "points(): Promise<Array<{ x?: number }>>;" in typescript_stub(found)


SCRIPT = """\
from mcproxy_api import api

async def good() -> None:
    found = await api.server("github").repos.list(owner="octocat", sort="created")
    reveal_type(found["names"])
    await api.server("github")["odd-name"]({"a-b": True})
    await api.server("other").anything(1)
    await api.call_tool("github", "repos.list", {"owner": "octocat"})

async def bad() -> None:
    await api.server("github").repos.list()
    await api.server("github").repos.list(owner=1)
    await api.server("github").repos.list(owner="x", sort="size")
    await api.server("github").repos.gone()
    await api.server("github")["odd-name"]({"a": True})
"""


def checked(directory: Path, *files: str) -> tuple[list[str], int]:
    """What mypy says about the files, without its summary."""
    (directory / "mypy.ini").write_text("[mypy]\nmypy_path = .\n")
    cache = str(directory / "cache")
    options = ["--strict", "--config-file", str(directory / "mypy.ini"), "--cache-dir", cache]
    limit = sys.getrecursionlimit()
    try:
        out, _, status = mypy.run([*options, *(str(directory / file) for file in files)])
    finally:
        sys.setrecursionlimit(limit)  # mypy raises it for good
    return [line for line in out.splitlines() if not line.startswith(("Found", "Success"))], status


@pytest.mark.requirement("cli.stubs")
def test_a_type_checker_knows_the_tools_of_a_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mcproxy_api.pyi").write_text(python_stub(github()))
    (tmp_path / "script.py").write_text(SCRIPT)
    found, _ = checked(tmp_path, "script.py")
    faults = [line for line in found if "error:" in line]
    assert [int(line.split(":")[1]) for line in faults] == [11, 12, 13, 14, 15, 15]
    assert 'Revealed type is "list[str]"' in "\n".join(found).replace("builtins.", "")


# Names that mean something elsewhere: types, keywords, members of classes, other tools.
NAMES = [
    *("list", "dict", "str", "int", "Any", "Literal", "class", "self", "async", "match", "None"),
    *("server", "Api", "then", "constructor", "toString", "__init__", "_x", "1st", "a.b", "a", "b"),
    *("a.b.c", "a..b", ".", "odd name", 'quo"te', "back\\slash", "line\nbreak", "é", "天气", "*/"),
    *("List", "GithubList", "keys", "items", "property", "overload", "builtins", "typing"),
]


def as_json(value: object) -> Json:
    decoded: Json = json.loads(json.dumps(value))
    return decoded


anything = st.recursive(
    st.sampled_from(["string", "integer", "number", "boolean", "null"]).map(
        lambda name: {"type": name, "description": f'*/ """ {name}\n'}
    )
    | st.lists(st.sampled_from(["a", "*/", '"', 1, True, None]), min_size=1, max_size=3).map(
        lambda values: {"enum": values}
    ),
    lambda inner: st.one_of(
        inner.map(lambda item: {"type": "array", "items": item}),
        inner.map(lambda value: {"type": "object", "additionalProperties": value}),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=4).map(
            lambda members: {
                "type": "object",
                "properties": members,
                "required": list(members)[:1],
            }
        ),
    ),
    max_leaves=8,
)
schemas = anything.map(as_json)
parameters = st.dictionaries(st.sampled_from(NAMES), schemas, max_size=3)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Servers with tools that have any of the names and any of the types."""
    views = []
    for server in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3)):
        names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=12))
        tools = []
        for name in names:
            members: JsonObject = draw(parameters)
            needed: list[Json] = list(members)
            made = tool(server, name, properties=members, required=needed[:1])
            output: Json = draw(schemas)
            described: JsonObject = {**made.definition, "description": name, "outputSchema": output}
            tools.append(Tool(made.ref, described))
        views.append(ServerView(server, "ready", server, tuple(tools)))
    return build(views)


@settings(max_examples=30, deadline=None)
@given(manifests())
def test_the_stub_is_python_whatever_the_names_are(found: Manifest) -> None:
    ast.parse(python_stub(found))


def every_name() -> Manifest:
    """A server with tools and parameters of all these names, and a server for each name."""
    inner: JsonObject = {
        "type": "object",
        "properties": {name: {"type": "array", "items": {"type": "string"}} for name in NAMES},
    }
    tools = tuple(
        Tool(
            ToolRef("x", name),
            {
                "name": name,
                "description": name,
                "inputSchema": {"type": "object", "properties": {other: {"enum": [other, 1]}}},
                "outputSchema": inner,
            },
        )
        for name, other in zip(NAMES, reversed(NAMES), strict=True)
    )
    servers = (ServerView(name, "ready", name, (tools[0],)) for name in NAMES)
    return build([ServerView("all", "ready", "All.", tools), *servers])


def test_type_checkers_take_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for stub, found in (("some", every_name()), ("none", build([]))):
        (tmp_path / f"{stub}.pyi").write_text(python_stub(found))
        assert checked(tmp_path, f"{stub}.pyi") == ([], 0)


def catalog() -> Manifest:
    """The tools of real servers."""
    views = []
    for path in sorted(CATALOG.glob("*.json"))[:12]:
        tools = json.loads(path.read_text())["tools"]
        refs = (Tool(ToolRef(path.stem, tool["name"]), tool) for tool in tools)
        views.append(ServerView(path.stem, "ready", "", tuple(refs)))
    return build(views)


@pytest.mark.skipif(not CATALOG.is_dir(), reason="the catalogue of real servers is not here")
def test_type_checkers_take_the_tools_of_real_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real.pyi").write_text(python_stub(catalog()))
    assert checked(tmp_path, "real.pyi") == ([], 0)


TYPESCRIPT_SCRIPT = """\
import { api, ToolError } from "./mcproxy_api";

async function good() {
  const found = await api.server("github").repos.list({ owner: "octocat", sort: "created" });
  const names: string[] = found.names;
  await api.server("github")["odd-name"]({ "a-b": true });
  await api.server("other").anything({ any: 1 });
  await api.call_tool("github", "repos.list", { owner: names[0] }, { raw: true });
  const after: number | null = (undefined as unknown as ToolError).retry_after;
}

async function bad() {
  await api.server("github").repos.list({});
  await api.server("github").repos.list({ owner: 1 });
  await api.server("github").repos.list({ owner: "x", sort: "size" });
  await api.server("github").repos.gone();
  await api.search("x", { limit: "many" });
}
"""


def compiled(directory: Path, file: str) -> list[str]:
    """What the TypeScript compiler says about a file."""
    node = shutil.which("node") or "node"
    options = ["--strict", "--noEmit", "--lib", "es2022", str(directory / file)]
    done = subprocess.run(
        [node, str(TSC), *options], capture_output=True, text=True, check=False, timeout=50
    )
    return done.stdout.splitlines()


with_typescript = pytest.mark.skipif(
    not TSC.exists(), reason="typescript is not installed in tests/node"
)


@with_typescript
@pytest.mark.requirement("cli.stubs")
def test_typescript_knows_the_tools_of_a_script(tmp_path: Path) -> None:
    (tmp_path / "mcproxy_api.d.ts").write_text(typescript_stub(github()))
    (tmp_path / "script.ts").write_text(TYPESCRIPT_SCRIPT)
    told = [line for line in compiled(tmp_path, "script.ts") if "error TS" in line]
    assert [int(line.split("(")[1].split(",")[0]) for line in told] == [13, 14, 15, 16, 17]


@with_typescript
def test_typescript_takes_any_name(tmp_path: Path) -> None:
    for stub, found in (("some", every_name()), ("none", build([])), ("github", github())):
        (tmp_path / f"{stub}.d.ts").write_text(typescript_stub(found))
        assert compiled(tmp_path, f"{stub}.d.ts") == []
