"""Every reply keeps its budget, whatever the catalogue."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcproxy.manifest.model import Manifest, build
from mcproxy.manifest.search import search
from mcproxy.manifest.truncate import cut_schema
from mcproxy.manifest.truncate import size as json_size
from mcproxy.types import Json, JsonObject, ServerState, ServerView, Tool, ToolRef
from tests.manifest.samples import many, names, one_of_many, results, size, tool, tools_of, view

KB = 1000  # the stricter reading


def budget(depth: int, servers: int) -> int:
    return (300 + 30 * servers, 300 + 120 * servers, 14 * KB, 24 * KB)[depth]


@pytest.fixture(
    scope="module",
    params=[(1, 5), (40, 10), (300, 10), (3, 1000)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def catalogue(request: pytest.FixtureRequest) -> Manifest:
    servers, tools_each = request.param
    return build(many(servers, tools_each, words=80))


QUERIES = ("", "list issue", "server", "create_user_2", "no such thing at all")
ASKED = [(query, depth) for query in QUERIES for depth in range(4) if query or depth < 3]


@pytest.mark.requirement("search.budgets")
@pytest.mark.parametrize(("query", "max_depth"), ASKED)
def test_replies_keep_their_budget(catalogue: Manifest, query: str, max_depth: int) -> None:
    reply = search(catalogue, query, namespace="public", max_depth=max_depth, limit=50)
    assert size(reply) <= budget(max_depth, len(catalogue.servers))
    assert results(reply) or "suggestions" in reply


@pytest.mark.requirement("search.budgets")
def test_every_server_is_listed_even_among_300() -> None:
    manifest = build(many(300, 10))
    for depth in (0, 1, 2):
        reply = search(manifest, "", namespace="public", max_depth=depth)
        assert [entry["server"] for entry in results(reply)] == list(manifest.servers)
    assert reply["truncated"] == {
        "shown": len(tools_of(reply)),
        "total": 3000,
        "hint": "not all tools fit into one reply; a narrower query shows the others",
    }


@pytest.mark.requirement("search.budgets")
def test_names_that_fit_are_shared_out_evenly() -> None:
    manifest = build([one_of_many(0, 900, 3), one_of_many(1, 4, 3)])
    first, second = results(search(manifest, "", namespace="public"))
    assert len(names({"results": [second]})) == 4
    assert len(names({"results": [first]})) > 100


def giant(properties: int, depth: int = 3, text: int = 200) -> Tool:
    def nested(levels: int) -> JsonObject:
        if not levels:
            return {"type": "string", "description": "x" * text}
        return {"type": "object", "properties": {f"p{at}": nested(levels - 1) for at in range(3)}}

    schema: JsonObject = {
        "type": "object",
        "properties": {f"parameter_{at}": nested(depth) for at in range(properties)},
        "required": ["parameter_0"],
    }
    return Tool(ToolRef("x", "giant"), {"name": "giant", "inputSchema": schema})


@pytest.mark.requirement("search.giant_schema")
@pytest.mark.parametrize(
    "shape",
    [(10, 3, 200), (400, 1, 200), (5, 8, 5), (3000, 0, 0), (1, 0, 100_000), (20, 2, 0)],
)
def test_a_giant_schema_is_cut_at_its_deepest_levels(shape: tuple[int, int, int]) -> None:
    manifest = build([view("x", giant(*shape), tool("x", "small_giant"))])
    reply = search(manifest, "giant", namespace="public", max_depth=3)
    (entry,) = tools_of(reply)
    assert size(reply) <= 24 * KB
    schema = entry["inputSchema"]
    assert isinstance(schema, dict)
    assert schema["type"] == "object"
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert "parameter_0" in properties
    whole = json_size(manifest.parts["x"].tools["giant"].definition["inputSchema"])
    assert ("truncated" in reply) == (whole > 23 * KB)


def test_a_smaller_tool_behind_a_giant_is_still_shown() -> None:
    manifest = build([view("x", tool("x", "make_it"), giant(400), tool("x", "make_that"))])
    reply = search(manifest, "make", namespace="public", max_depth=3)
    assert names(reply) == ["make_it", "make_that"]


@pytest.mark.requirement("search.giant_schema")
def test_a_giant_description_is_cut_and_said_so() -> None:
    manifest = build([view("x", tool("x", "talker", "word " * 20_000))])
    reply = search(manifest, "talker", namespace="public", max_depth=3)
    assert size(reply) <= 24 * KB
    assert "api.schema" in str(reply["truncated"])


@pytest.mark.requirement("search.budgets")
def test_one_server_with_the_longest_names_still_fits() -> None:
    manifest = build([view("s" * 64, tool("s" * 64, "t" * 64), state="failed")])
    for query in ("", "t" * 64, "x" * 2000):
        for depth in (0, 1):
            reply = search(manifest, query, namespace="n" * 64, max_depth=depth)
            assert size(reply) <= budget(depth, 1)
    assert search(manifest, "", namespace="n" * 64, max_depth=0)["results"]


texts = st.text(max_size=40)
name_texts = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=64)
tool_strategy = st.builds(
    lambda name, description, parameters: tool("", name, description, **parameters),
    st.text(min_size=1, max_size=80).filter(str.strip),
    st.text(max_size=300),
    st.dictionaries(texts, st.sampled_from(["", "required"]), max_size=30),
)
state_strategy: st.SearchStrategy[ServerState] = st.sampled_from(["ready", "failed", "restarting"])
view_strategy = st.builds(
    ServerView,
    name_texts,
    state_strategy,
    st.text(max_size=200),
    st.lists(tool_strategy, max_size=8).map(tuple),
)


@pytest.mark.requirement("search.budgets")
@settings(max_examples=60)
@given(
    st.lists(view_strategy, max_size=8, unique_by=lambda view: view.name),
    st.text(max_size=60) | st.sampled_from(["", "a", "list the things", "\x00" * 300, '"' * 300]),
    st.integers(0, 3),
    st.integers(1, 50),
)
def test_any_catalogue_any_query(
    views: list[ServerView], query: str, max_depth: int, limit: int
) -> None:
    if max_depth == 3 and query.strip() in {"", "*"}:
        query = "a"
    manifest = build(views)
    reply = search(manifest, query, namespace="public", max_depth=max_depth, limit=limit)
    assert size(reply) <= budget(max_depth, len(views))
    assert len(tools_of(reply)) <= (
        limit if query.strip() not in {"", "*"} else manifest.tool_count
    )
    assert bool(reply["results"]) or "suggestions" in reply or "truncated" in reply or not views


@pytest.mark.requirement("search.exact_name")
@settings(max_examples=40)
@given(st.lists(view_strategy, min_size=1, max_size=4, unique_by=lambda view: view.name), st.data())
def test_every_tool_is_found_by_its_name(views: list[ServerView], data: st.DataObject) -> None:
    manifest = build(views)
    if not manifest.tools:
        return
    wanted = data.draw(st.sampled_from(manifest.tools))
    if wanted.ref.tool.strip() in {"", "*"}:
        return
    reply = search(manifest, wanted.ref.tool, namespace="public", limit=50)
    assert wanted.ref.tool in names(reply)
    assert tools_of(reply)[0]["score"] == 1


json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=60,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=8), st.integers(17, 2000))
def test_a_cut_schema_fits(schema: dict[str, Json], room: int) -> None:
    cut = cut_schema(schema, room)
    assert json_size(cut) <= room
    assert cut == schema or json_size(schema) > room


def test_a_cut_takes_the_deepest_level_first() -> None:
    def nested(leaf: JsonObject) -> JsonObject:
        inner: JsonObject = {"type": "object", "properties": {"leaf": leaf}}
        outer: JsonObject = {"type": "object", "properties": {"inner": inner}}
        return {"type": "object", "required": ["outer"], "properties": {"outer": outer}}

    def leaf(text: str) -> JsonObject:
        return {"type": "object", "properties": {"deep": {"description": text}}}

    assert cut_schema(nested(leaf("x" * 5_000)), 4_000) == nested(leaf("x" * 1_997 + "…"))
    assert cut_schema(nested(leaf("x" * 5_000)), 170) == nested({"type": "object"})
    assert cut_schema(nested(leaf("x" * 5_000)), 90) == {
        "type": "object",
        "required": ["outer"],
        "properties": {"outer": {"type": "object"}},
    }
