"""Odd tool definitions, as real servers send them."""

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mcproxy.foreign_text import clean
from mcproxy.manifest.model import build
from mcproxy.manifest.schema import MAX_DEPTH, MAX_TEXT_CHARS, pointed_at, repair
from mcproxy.types import Json, JsonObject, Tool, ToolRef
from tests.manifest.samples import tool, view

ANY: JsonObject = {"type": "object"}


@pytest.mark.requirement("upstream.odd_schemas")
@pytest.mark.parametrize(
    ("odd", "mended"),
    [
        ({}, ANY),
        ("text", ANY),
        ([], ANY),
        (True, ANY),
        ({"type": "string"}, ANY),
        ({"type": "object", "properties": []}, ANY),
        ({"type": ["object", "null"]}, ANY),
        (
            {"properties": {"n": {"type": "int"}}},
            {"type": "object", "properties": {"n": {"type": "integer"}}},
        ),
        (
            {"properties": {"n": {"type": ["str", "null", "odd"]}}},
            {"type": "object", "properties": {"n": {"type": ["string", "null"]}}},
        ),
        (
            {"properties": {"n": {"type": "any"}}},
            {"type": "object", "properties": {"n": {}}},
        ),
        (
            {"properties": {"n": "string"}},
            {"type": "object", "properties": {"n": {"type": "string"}}},
        ),
        (
            {"properties": {"n": {"type": "string", "required": True}, "m": {"required": False}}},
            {"type": "object", "properties": {"n": {"type": "string"}, "m": {}}, "required": ["n"]},
        ),
        (
            {"properties": {"n": {"items": {"type": "float"}, "anyOf": [{"type": "bool"}]}}},
            {
                "type": "object",
                "properties": {"n": {"items": {"type": "number"}, "anyOf": [{"type": "boolean"}]}},
            },
        ),
        ({"required": "n"}, ANY),
        ({"required": ["n", 1, "n"]}, {"type": "object", "required": ["n"]}),
        ({"allOf": {}, "items": 3}, ANY),
        ({"items": [{}]}, ANY),
    ],
)
def test_an_odd_input_schema_is_mended(odd: Json, mended: JsonObject) -> None:
    definition, _ = repair({"name": "t", "inputSchema": odd})
    assert definition is not None
    assert definition["inputSchema"] == mended


@pytest.mark.parametrize(
    ("schema", "note"),
    [
        ({}, None),
        ([], "inputSchema is no object"),
        ({"type": "string"}, "inputSchema has the type 'string'"),
        ({"properties": {"n": {"type": "int"}}}, "type 'int' is none of JSON Schema's"),
        ({"properties": {"n": 3}, "required": 1}, "a schema is no object; required is no list"),
        ({"required": ["n", 1]}, "required lists more than names"),
        ({"anyOf": []}, "anyOf has the wrong shape"),
    ],
)
def test_the_note_says_what_was_wrong(schema: Json, note: str | None) -> None:
    assert repair({"name": "t", "inputSchema": schema})[1] == note


def test_a_missing_schema_takes_any_arguments() -> None:
    assert repair({"name": "t"}) == ({"name": "t", "inputSchema": ANY}, "inputSchema is missing")


def test_parameters_named_like_keywords_are_no_keywords() -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {"type": {"type": "string"}, "required": {"type": "boolean"}},
        "required": ["type"],
    }
    assert repair({"name": "t", "inputSchema": schema}) == (
        {"name": "t", "inputSchema": schema},
        None,
    )


def test_vendor_fields_and_good_fields_stay() -> None:
    definition: JsonObject = {
        "name": "t",
        "title": "T",
        "x-vendor": {"type": "int"},
        "_meta": {"a": [1]},
        "inputSchema": {"type": "object", "x-order": ["b"], "default": {"type": "int"}},
        "outputSchema": {"type": "object"},
    }
    assert repair(definition) == (definition, None)


def test_control_characters_leave_texts_only() -> None:
    definition, note = repair(
        {
            "name": "t",
            "description": "a\x1b[31mb\x00\nc",
            "inputSchema": {"type": "object", "properties": {"p": {"enum": [",", "\t", "\n"]}}},
        }
    )
    assert definition == {
        "name": "t",
        "description": "ab\nc",
        "inputSchema": {"type": "object", "properties": {"p": {"enum": [",", "\t", "\n"]}}},
    }
    assert note == "control or invisible characters in a text"


TAGS = "\U000e0049\U000e0067"  # as invisible as the other characters, and read by models


@pytest.mark.requirement("manifest.hidden")
@pytest.mark.parametrize("key", ["pattern", "default", "examples", "x-note", "format", f"x{TAGS}"])
def test_a_value_that_hides_something_is_left_out(key: str) -> None:
    value: JsonObject = {"type": "string", "title": f"T{TAGS}", key: [f"a{TAGS}", {"b": TAGS}]}
    definition, note = repair({"name": "t", "inputSchema": {"properties": {"p": value}}})
    assert definition is not None
    assert definition["inputSchema"] == {
        "type": "object",
        "properties": {"p": {"type": "string", "title": "T"}},
    }
    assert "in a text; control or invisible characters under" in str(note)
    assert TAGS not in str(note)


@pytest.mark.requirement("manifest.hidden")
@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {f"p{TAGS}": {}}},
        {"properties": {"p": {"enum": ["a", f"b{TAGS}"]}}},
        {"properties": {"p": {"const": "a\u202e"}}},
        {"required": ["\u200b"]},
    ],
)
def test_a_tool_that_a_call_could_not_repeat_is_set_aside(schema: JsonObject) -> None:
    definition, note = repair({"name": "t", "inputSchema": schema})
    assert definition is None
    assert note == "left out: control or invisible characters in a parameter or a choice"


@pytest.mark.requirement("manifest.names")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("del\u200bete", "invisible"),
        ("a\x1b[2Jb", "control"),
        ("a\nb", "control"),
        (f"a{TAGS}", "invisible"),
        ("x" * 129, "129 characters"),
        ("dеlete", "looks like 'delete'"),  # noqa: RUF001 - a Cyrillic letter
        ("ｄｅｌｅｔｅ", "looks like 'delete'"),  # noqa: RUF001
    ],
)
def test_a_tool_of_an_impossible_name_is_set_aside_and_says_why(name: str, why: str) -> None:
    manifest = build([view("x", tool("x", name), tool("x", "delete"))])
    assert [kept.ref.tool for kept in manifest.tools] == ["delete"]
    (note,) = manifest.repairs("x")
    assert why in note
    assert len(note) < 250
    assert clean(note) == note


@pytest.mark.requirement("manifest.names")
@pytest.mark.parametrize("name", ["查询天气", "удалить", "löschen", "emoji_👩‍💻", "x" * 128])
def test_names_in_any_script_stay(name: str) -> None:
    manifest = build([view("x", tool("x", name))])
    assert [kept.ref.tool for kept in manifest.tools] == [name]
    assert not manifest.notes


@pytest.mark.requirement("manifest.bounded")
def test_a_text_without_end_is_cut_and_marked() -> None:
    long = "word " * 20_000
    manifest = build([replace(view("x", tool("x", "t", long)), description=long)])
    for text in (manifest.tools[0].definition["description"], manifest.servers["x"].description):
        assert len(str(text)) < MAX_TEXT_CHARS + 50
        assert str(text).endswith("… (80000 more characters)")
    assert manifest.repairs("x") == (f"t: a text has over {MAX_TEXT_CHARS} characters",)


@pytest.mark.parametrize("name", [None, 7, "", "  "])
def test_only_the_nameless_tool_is_left_out(name: Json) -> None:
    odd = Tool(ToolRef("x", str(name)), {"name": name})
    manifest = build([view("x", odd, tool("x", "good"))])
    assert [kept.ref.tool for kept in manifest.tools] == ["good"]
    assert "needs a name" in manifest.notes[odd.ref]


def test_a_tool_listed_twice_counts_once() -> None:
    manifest = build([view("x", tool("x", "t", "first"), tool("x", "t", "second"))])
    assert [kept.definition["description"] for kept in manifest.tools] == ["first"]
    assert manifest.notes[ToolRef("x", "t")] == "listed twice; the first one counts"


def test_schemas_without_end_are_cut() -> None:
    schema: JsonObject = {"type": "object"}
    for _ in range(MAX_DEPTH * 3):
        schema = {"type": "object", "properties": {"p": schema}}
    _, note = repair({"name": "t", "inputSchema": schema})
    assert note == "schemas nest too deep"


json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5).map(clean),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "required", "items", "anyOf", "x", "description"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(json_values, json_values)
def test_whatever_comes_becomes_a_schema_that_compiles(schema: Json, output: Json) -> None:
    definition, _ = repair({"name": "t", "inputSchema": schema, "outputSchema": output})
    assert definition is not None
    mended = definition["inputSchema"]
    assert isinstance(mended, dict)
    assert mended["type"] == "object"
    jsonschema_rs.validator_for(mended)
    assert repair(definition) == (definition, None)  # nothing is left to mend


POINTED: JsonObject = {"$defs": {"a/b": {"x~y": 1}, "%": 2, "": 3}, "anyOf": [4, {"z": 5}], "": 6}


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("#", POINTED),
        ("#/", 6),
        ("#/$defs/a~1b/x~0y", 1),
        ("#/%24defs/%25", 2),
        ("#/$defs/", 3),
        ("#/anyOf/0", 4),
        ("#/anyOf/1/z", 5),
        ("#/anyOf/2", None),
        ("#/anyOf/-1", None),
        (f"#/anyOf/{'9' * 5000}", None),
        ("#/nowhere/at/all", None),
        ("#anchor", None),
        ("https://example.com/#/anyOf", None),
        (5, None),
    ],
)
def test_a_pointer_names_one_place_or_none(reference: Json, found: Json) -> None:
    assert pointed_at(POINTED, reference) == found
