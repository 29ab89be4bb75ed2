"""How much work a comparison with a schema is, and that no schema stops the gateway."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.call_errors import InvalidArguments
from mcproxy.gateway.call_chain import check_arguments
from mcproxy.manifest.model import build
from mcproxy.manifest.tool_schema import ToolSchema, effort, most_values, weight
from mcproxy.types import Json, JsonObject, ServerView, Tool, ToolRef, ToolResult

DONE = ToolResult(b"{}")
MOST = 1000


async def call(schema: JsonObject, arguments: JsonObject) -> ToolResult:
    tool = Tool(ToolRef("server", "tool"), {"name": "tool", "inputSchema": schema})
    manifest = build([ServerView("server", "ready", tools=(tool,))])
    sent = msgspec.json.encode(arguments)
    check_arguments(manifest.schema(tool.ref), tool, arguments, sent, lambda _: "as it says")
    return DONE


def doubling(keyword: str, *, by: str = "$ref") -> JsonObject:
    """Each definition refers to the next one twice."""
    definitions: JsonObject = {"a40": {"type": "object"}}
    for number in range(40):
        following: Json = {by: f"#/$defs/a{number + 1}"}
        definitions[f"a{number}"] = {keyword: [following, following]}
    return {"type": "object", "$defs": definitions, "allOf": [{"$ref": "#/$defs/a0"}]}


def named() -> JsonObject:
    definitions: JsonObject = {"a40": {"$anchor": "a40"}}
    for number in range(40):
        following: Json = {"$ref": f"#a{number + 1}"}
        definitions[f"a{number}"] = {"$anchor": f"a{number}", "allOf": [following, following]}
    return {"type": "object", "$defs": definitions, "allOf": [{"$ref": "#a0"}]}


def wide() -> JsonObject:
    """Few definitions, each of which refers to the next one very often."""
    often: JsonObject = {
        f"a{number}": {"allOf": [{"$ref": f"#/$defs/a{number + 1}"}] * 20_000}
        for number in range(3)
    }
    patterns: JsonObject = {f"p{number}": {} for number in range(20_000)}
    return {
        "$defs": {**often, "a3": {}},
        "allOf": [{"$ref": "#/$defs/a0"}],
        "patternProperties": patterns,
    }


TREE: JsonObject = {
    "type": "object",
    "$defs": {"node": {"properties": {"x": {"allOf": [{"$ref": "#/$defs/node"}] * 2}}}},
    "$ref": "#/$defs/node",
}


def nested(depth: int) -> JsonObject:
    value: JsonObject = {}
    for _ in range(depth):
        value = {"x": value}
    return value


@pytest.mark.requirement("calls.effort")
@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (doubling("allOf"), {}),
        (doubling("anyOf"), {"a": 1}),
        (doubling("oneOf", by="$dynamicRef"), {}),
        (named(), {}),
        (wide(), {f"x{number}": number for number in range(20_000)}),
        (TREE, nested(60)),
        ({"required": [f"p{number}" for number in range(300_000)]}, {}),
    ],
    ids=["allOf", "anyOf", "dynamic", "anchors", "wide", "recursion", "required"],
)
async def test_what_takes_long_is_left_to_the_server(
    schema: JsonObject, arguments: JsonObject
) -> None:
    assert await call(schema, arguments) is DONE


@pytest.mark.requirement("calls.effort")
async def test_large_arguments_are_told_one_fault() -> None:
    schema: JsonObject = {"properties": {"list": {"items": {"type": "string"}}}}
    with pytest.raises(InvalidArguments, match=r"list\.0: 1 is not of type .*may be more"):
        await call(schema, {"list": [1] * 5_000})
    with pytest.raises(InvalidArguments, match=r"list\.0: .*list\.1: "):
        await call(schema, {"list": [1, 2]})


@pytest.mark.parametrize("schema", [{"type": "object"}, TREE, {}])
async def test_arguments_that_nest_too_deeply_are_refused_in_words(schema: JsonObject) -> None:
    with pytest.raises(InvalidArguments, match="nest deeper than 128 levels"):
        await call(schema, nested(700))


@pytest.mark.parametrize(
    ("schema", "value", "steps"),
    [
        ({}, {"a": 1}, 1),
        ({"properties": {"a": {}, "b": {}}}, {"a": 1}, 2),
        ({"additionalProperties": False}, {"a": 1, "b": 2}, 3),
        ({"patternProperties": {"a": {}, "b": {}}}, {"a": 1}, 3),
        ({"propertyNames": {}}, {"a": 1}, 2),
        ({"items": {}}, [1, 2], 3),
        ({"prefixItems": [{}, {}]}, [1, 2, 3], 5),
        ({"enum": [1, 2, 3]}, 1, 4),
        ({"if": {}, "then": {}, "anyOf": [{}, True]}, 1, 5),
        ({"$defs": {"a/b": {"items": {}}}, "$ref": "#/$defs/a~1b"}, [1], 3),
        ({"anyOf": [{"type": "string"}], "$ref": "#/anyOf/0"}, 1, 3),
        ({"$ref": "#"}, 1, MOST),
        ({"$ref": "#/$defs/missing"}, 1, MOST),
        ({"$ref": "https://example.org/schema"}, 1, MOST),
        ({"$ref": 7}, 1, MOST),
        ({"$ref": "#/allOf/" + "9" * 5000, "allOf": [{}]}, 1, MOST),
        ({"$defs": {"a b": {}}, "$ref": "#/$defs/a%20b"}, 1, 2),
        ({"$id": "https://example.org/root"}, 1, 1),
        ({"allOf": [{"$id": "inner", "$ref": "#/$defs/a"}], "$defs": {"a": {}}}, 1, MOST),
    ],
)
def test_steps(schema: JsonObject, value: Json, steps: int) -> None:
    assert effort(schema, value, MOST) == steps


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$ref", "items", "allOf", "properties", "required", "not", "a"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["$ref", "items", "allOf", "a"]), JSON, max_size=3), JSON)
def test_any_schema_has_an_effort(schema: JsonObject, value: Json) -> None:
    assert 1 <= effort(schema, value, MOST) <= MOST


KEYWORDS = st.sampled_from(
    (
        *("$ref", "items", "prefixItems", "allOf", "properties", "patternProperties"),
        *("propertyNames", "additionalProperties", "dependencies", "enum", "not", "a"),
    )
)


def schemas() -> st.SearchStrategy[JsonObject]:
    """Schemas that refer to parts of themselves, among others."""
    references = st.sampled_from(["#", "#/$defs/a", "#/$defs/b", "#/allOf/0", "#gone"])
    parts = st.recursive(
        st.booleans() | st.builds(lambda to: {"$ref": to}, references),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=3),
        max_leaves=8,
    )
    defined = st.dictionaries(st.sampled_from(["a", "b"]), parts)
    whole = st.dictionaries(KEYWORDS, parts, max_size=3)
    return st.builds(lambda schema, inner: {**schema, "$defs": inner}, whole, defined)


VALUES = st.recursive(
    st.integers(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(schemas(), VALUES)
def test_no_comparison_takes_more_steps_than_the_weight_says(
    schema: JsonObject, value: Json
) -> None:
    heavy = weight(schema, MOST)
    if heavy < MOST:
        bound = heavy * most_values(msgspec.json.encode(value))
        assert effort(schema, value, bound + 1) <= bound


@pytest.mark.parametrize(
    ("schema", "steps"),
    [
        ({}, 1),
        ({"properties": {"a": {}, "b": {"type": "string"}}, "required": ["a", "b"]}, 5),
        ({"$defs": {"a": {"items": {}}}, "allOf": [{"$ref": "#/$defs/a"}]}, 4),
        (TREE, MOST),
        (doubling("allOf"), MOST),
        ({"$ref": "#gone"}, MOST),
        ({"allOf": [{"$id": "inner"}]}, MOST),
    ],
)
def test_weight(schema: JsonObject, steps: int) -> None:
    assert weight(schema, MOST) == steps


TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "integer"}
TEAM: Json = {"type": "object", "properties": {"id": NUMBER, "team": TEXT}, "required": ["team"]}
BY_NAME: Json = {"type": "object", "properties": {"name": TEXT}, "required": ["name"]}
PERSON: Json = {"anyOf": [BY_NAME, {"$ref": "#/$defs/team"}, {"type": "null"}]}


@pytest.mark.requirement("calls.alternatives")
@pytest.mark.parametrize(
    ("schema", "value", "told"),
    [
        ({"anyOf": [TEXT, {"type": "null"}]}, 3, ['a: has to be "string" or "null", not 3']),
        (PERSON, 3, ['a: has to be "object" or "null", not 3']),
        (
            PERSON,
            {"id": 5},
            [
                'a: "team" is a required property',
                'nearest of 3 that fit: {"type":"object","properties":{"id":{"type":"integer"},'
                '"team":{"type":"string"}},"required":["team"]}',
            ],
        ),
        (PERSON, {"name": 5}, ['a.name: 5 is not of type "string"']),
        ({"oneOf": [{"anyOf": [NUMBER, TEXT]}, TEAM]}, {"team": 1}, ["a.team: 1 is not of type"]),
        ({"oneOf": [TEXT, {}]}, "x", ['a: "x" is valid under more than one']),
    ],
)
async def test_of_several_schemas_the_nearest_is_told(
    schema: Json, value: Json, told: list[str]
) -> None:
    whole: JsonObject = {"type": "object", "properties": {"a": schema}, "$defs": {"team": TEAM}}
    arguments: JsonObject = {"a": value}
    sent = msgspec.json.encode(arguments)
    faults = ToolSchema({"inputSchema": whole}).faults(arguments, sent)
    assert [fault.startswith(words) for fault, words in zip(faults, told, strict=False)] == [
        True
    ] * len(told), faults


@pytest.mark.requirement("habits.understood")
@pytest.mark.parametrize(
    ("declared", "given", "meant"),
    [
        ("from to", "from_ to", "from to"),
        ("from from_", "from_", "from_"),  # the tool's own
        ("from", "from_ from", "from_ from"),  # which of the two is meant?
        ("to", "from_", "from_"),
        ("name", "name_", "name_"),  # no word of Python
        ("class if", "class_ if_", "class if"),
    ],
)
def test_a_word_of_python_is_written_with_an_underscore(
    declared: str, given: str, meant: str
) -> None:
    schema = ToolSchema({"inputSchema": {"properties": {key: {} for key in declared.split()}}})
    arguments = {name: index for index, name in enumerate(given.split())}
    expected = {name: index for index, name in enumerate(meant.split())}
    assert schema.respelled(arguments) == expected
