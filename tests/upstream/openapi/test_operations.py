"""Descriptions as tools, and arguments as requests: tables."""

import itertools
import json

import jsonschema_rs
import pytest

from mcproxy.errors import RpcError
from mcproxy.types import Json, JsonObject
from mcproxy.upstream.openapi.document import BadDescription, Document, parsed
from mcproxy.upstream.openapi.operations import (
    MAX_OPERATIONS,
    Operation,
    OperationChoice,
    operations_of,
)
from mcproxy.upstream.openapi.request import ApiRequest, Signature, request_of
from mcproxy.upstream.openapi.schemas import INPUT_BYTES, OUTPUT_BYTES
from tests.upstream.openapi.described import (
    FILES,
    PETSTORES,
    description,
    github,
    one,
    operations,
)

SLACK_BYTES = 4 << 10  # of names in `$defs` that say no more than that they are there


def op(document: JsonObject, choice: OperationChoice | None = None) -> Operation:
    """The operation ``op`` of a description."""
    found = operations(document, choice)
    assert found.left_out == ()
    return found.by_tool["op"]


def schema(operation: Operation, key: str = "inputSchema") -> JsonObject:
    """A schema of its tool."""
    found = operation.definition[key]
    assert isinstance(found, dict)
    return found


def request(path: str, parameter: JsonObject, value: Json) -> ApiRequest:
    """The request for an operation with this one parameter, ``p``."""
    operation = op(one(path, parameters=[{"name": "p", **parameter}]))
    return request_of(operation, {"p": value}, [])


STYLES = [
    ("/a/{p}", {"in": "path"}, "x y/z?", "/a/x%20y%2Fz%3F"),
    ("/a/{p}", {"in": "path"}, [1, "b,c"], "/a/1,b%2Cc"),
    ("/a/{p}", {"in": "path", "explode": True}, {"k": 1}, "/a/k=1"),
    ("/a/{p}", {"in": "path", "style": "label"}, "x", "/a/.x"),
    ("/a/{p}", {"in": "path", "style": "matrix"}, "x", "/a/;p=x"),
    ("/a", {"in": "query"}, True, "/a?p=true"),
    ("/a", {"in": "query"}, "a&b=ü", "/a?p=a%26b%3D%C3%BC"),
    ("/a", {"in": "query"}, None, "/a"),
    ("/a", {"in": "query"}, ["x", 2], "/a?p=x&p=2"),
    ("/a", {"in": "query", "explode": False}, ["x", "y,z"], "/a?p=x,y%2Cz"),
    ("/a", {"in": "query", "style": "pipeDelimited"}, ["x", "y"], "/a?p=x%7Cy"),
    ("/a", {"in": "query", "style": "spaceDelimited"}, ["x", "y"], "/a?p=x%20y"),
    ("/a", {"in": "query"}, {"k": 1, "l": "m"}, "/a?k=1&l=m"),
    ("/a", {"in": "query", "style": "deepObject"}, {"k": {"l": [1, 2]}},
     "/a?p[k][l][0]=1&p[k][l][1]=2"),
    ("/a", {"in": "query", "content": {"application/json": {}}}, {"k": 1},
     "/a?p=%7B%22k%22%3A1%7D"),
]  # fmt: skip


@pytest.mark.requirement("openapi.styles")
@pytest.mark.parametrize(("path", "parameter", "value", "target"), STYLES)
def test_parameters_are_written_as_their_style_says(
    path: str, parameter: JsonObject, value: Json, target: str
) -> None:
    assert request(path, parameter, value).target == target


@pytest.mark.requirement("openapi.styles")
def test_headers_and_cookies() -> None:
    assert request("/a", {"in": "header"}, [1, "x"]).headers["p"] == "1,x"
    assert request("/a", {"in": "cookie"}, "a;b").headers["Cookie"] == "p=a%3Bb"


@pytest.mark.requirement("openapi.path")
@pytest.mark.parametrize("value", ["", ".", "..", [], None])
def test_what_stands_in_a_path_stays_there(value: Json) -> None:
    with pytest.raises(RpcError, match="path"):
        request("/a/{p}/b", {"in": "path"}, value)


@pytest.mark.requirement("openapi.path")
@pytest.mark.parametrize("value", ["x\r\nEvil: 1", "a\0b"])
def test_a_header_stays_one_line(value: Json) -> None:
    with pytest.raises(RpcError, match="one line"):
        request("/a", {"in": "header"}, value)


@pytest.mark.requirement("openapi.arguments")
def test_places_become_arguments_side_by_side() -> None:
    body: JsonObject = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Named"},
                        {"type": "object", "properties": {"id": {"type": "integer"}}},
                    ]
                }
            }
        },
    }
    named: JsonObject = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "made": {"type": "string", "readOnly": True}},
    }
    parameters: list[Json] = [
        {"name": "id", "in": "query", "schema": {"type": "string"}},
        {"name": "X-Trace-Id", "in": "header", "required": True, "schema": {"type": "string"}},
        {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
        {"name": "X-Mine", "in": "header", "schema": {"type": "string"}},
    ]
    document = one("/a/{id}", parameters=parameters, requestBody=body)
    document["components"] = {"schemas": {"Named": named}}
    found = op(document, OperationChoice(headers=frozenset({"x-mine"})))
    assert list(schema(found)["properties"]) == ["id", "query_id", "X_Trace_Id", "name", "body_id"]  # type: ignore[arg-type]
    assert schema(found)["required"] == ["id", "X_Trace_Id", "name"]
    arguments: JsonObject = {
        "id": "1",
        "query_id": "2",
        "X_Trace_Id": "3",
        "name": "n",
        "body_id": 4,
    }
    made = request_of(found, arguments, [])
    assert made.target == "/a/1?id=2"
    assert made.headers["X-Trace-Id"] == "3"
    assert json.loads(made.content or b"") == {"name": "n", "id": 4}


@pytest.mark.requirement("openapi.schemas")
def test_older_words_become_those_of_today() -> None:
    said: JsonObject = {
        "type": "integer",
        "nullable": True,
        "minimum": 1,
        "exclusiveMinimum": True,
        "example": 5,
        "xml": {"name": "x"},
        "x-vendor": 1,
        "$id": "https://evil.example/",
    }
    found = op(one("/a", parameters=[{"name": "p", "in": "query", "schema": said}]))
    properties = schema(found)["properties"]
    assert properties == {"p": {"type": ["integer", "null"], "exclusiveMinimum": 1}}


@pytest.mark.requirement("openapi.schemas")
def test_what_only_looks_like_a_reference_is_none() -> None:
    properties: JsonObject = {"$ref": {"type": "string"}, "a": {"default": {"$ref": "#/none"}}}
    said: JsonObject = {"type": "object", "properties": properties}
    found = op(one("/a", requestBody=json_body({"type": "array", "items": said})))
    assert "$defs" not in schema(found)
    assert '"default": {"$ref": "#/none"}' in json.dumps(schema(found))


@pytest.mark.requirement("openapi.hints")
@pytest.mark.parametrize(
    ("method", "reads", "repeats", "destroys"),
    [
        ("get", True, True, None),
        ("head", True, True, None),
        ("post", False, False, None),
        ("put", False, True, True),
        ("patch", False, False, True),
        ("delete", False, True, True),
    ],
)
def test_hints_are_those_of_the_method(
    method: str, reads: bool, repeats: bool, destroys: bool | None
) -> None:
    document = description({"/a": {method: {"operationId": "op", "summary": "Does it"}}})
    hints = op(document).definition["annotations"]
    assert isinstance(hints, dict)
    assert hints["readOnlyHint"] is reads
    assert hints["idempotentHint"] is repeats
    assert hints.get("destructiveHint") is destroys


CHOSEN = [
    ((), {"list", "make", "drop"}),
    (("GET *",), {"list"}),
    (("tag:admin",), {"drop"}),
    (("!tag:admin",), {"list", "make"}),
    (("* /pets*", "!make"), {"list"}),
]


@pytest.mark.requirement("openapi.chosen")
@pytest.mark.parametrize(("patterns", "names"), CHOSEN)
def test_operations_are_chosen_by_patterns(patterns: tuple[str, ...], names: set[str]) -> None:
    document = description(
        {
            "/pets": {"get": {"operationId": "list"}, "post": {"operationId": "make"}},
            "/all": {"delete": {"operationId": "drop", "tags": ["admin"]}},
        }
    )
    assert set(operations(document, OperationChoice(patterns)).by_tool) == names


@pytest.mark.requirement("openapi.left_out")
def test_a_bad_operation_costs_no_other() -> None:
    deep: Json = {"type": "string"}
    huge: JsonObject = {f"p{number}": {"type": "string"} for number in range(5_000)}
    document = description(
        {
            "/good": {"get": {"operationId": "good"}},
            "/away": {"get": {"parameters": [{"$ref": "https://evil.example/p.json"}]}},
            "/lost": {"get": {"parameters": [{"$ref": "#/components/none"}]}},
            "/ring": {"post": {"requestBody": {"$ref": "#/paths/~1ring/post/requestBody"}}},
            "/many": {
                "get": {"parameters": [{"name": f"p{n}", "in": "query"} for n in range(500)]}
            },
            "/large": {"post": {"requestBody": json_body({"type": "object", "properties": huge})}},
            "/word": {"get": 5, "brew": {"operationId": "brew"}, "trace": {}},
            "relative": {"get": {}},
            "/odd": {"get": {"parameters": 7, "responses": [], "tags": {}, "security": "x"}},
            "/deep": {"post": {"requestBody": json_body(deep)}},
            "/any": {"post": {"requestBody": json_body(True)}},
        }
    )
    found = operations(document)
    assert {"good", "get_odd", "post_deep", "post_any"} == set(found.by_tool)
    told = dict(each.split(": ", 1) for each in found.left_out)
    assert set(told) == {
        "GET /away", "GET /lost", "POST /ring", "GET /many", "POST /large", "BREW /word",
        "TRACE /word", "relative",
    }  # fmt: skip
    assert "leads out of the document" in told["GET /away"]
    assert "in a circle" in told["POST /ring"]


def json_body(schema: Json) -> JsonObject:
    """A body in JSON."""
    return {"content": {"application/json": {"schema": schema}}}


@pytest.mark.requirement("openapi.hostile")
def test_schemas_that_never_end_are_cut() -> None:
    names = [f"S{number}" for number in range(400)]
    ring: JsonObject = {
        name: {
            "type": "object",
            "description": "x" * 5_000,
            "properties": {
                other: {"$ref": f"#/components/schemas/{other}"} for other in (after, name)
            },
        }
        for name, after in itertools.pairwise([*names, names[0]])
    }
    ref: JsonObject = {"$ref": "#/components/schemas/S0"}
    responses: JsonObject = {"200": json_body({"type": "array", "items": ref})}
    document = one("/a", requestBody=json_body({"oneOf": [ref]}), responses=responses)
    document["components"] = {"schemas": ring}
    found = op(document)
    for key, limit in (("inputSchema", INPUT_BYTES), ("outputSchema", OUTPUT_BYTES)):
        told = schema(found, key)
        assert len(json.dumps(told)) < limit + SLACK_BYTES
        jsonschema_rs.validator_for(told)


@pytest.mark.requirement("openapi.hostile")
def test_ten_thousand_operations_with_huge_enums() -> None:
    choices: list[Json] = [f"choice {number}" for number in range(100_000)]
    shared: JsonObject = {"name": "p", "in": "query", "schema": {"type": "string", "enum": choices}}
    ref: JsonObject = {"$ref": "#/components/parameters/p"}
    paths: JsonObject = {
        f"/a{n}": {"get": {"operationId": "same", "parameters": [ref]}} for n in range(10_000)
    }
    document = description(paths, components={"parameters": {"p": shared}})
    found = operations(document)  # each enum is looked at once: else the test's time is over
    assert len(found.by_tool) == MAX_OPERATIONS
    assert len(found.left_out) == 10_000 - MAX_OPERATIONS
    assert len(json.dumps(found.by_tool["same"].definition)) < 2_000


BAD = [
    (b"", "neither a JSON object nor a YAML mapping"),
    (b"[]", "neither a JSON object nor a YAML mapping"),
    (b"{", "cannot be read as JSON"),
    (b"\x80abc", "neither JSON nor YAML"),
    (b'{"info": {}}', "neither `openapi` nor `swagger`"),
    (b"openapi: 4.0.0", "version '4.0.0'"),
    (b"a: !!python/object/apply:os.system [id]", "neither JSON nor YAML"),
    (b"a: &a [*a]", "nests too deeply"),
    (b"x: " + b"[" * 3_000, "JSON nor YAML"),
    (b'{"a":' * 5_000, "cannot be read as JSON"),
    (
        b"\n".join(
            [b"a0: &a0 [x, x]"]
            + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]".encode() for n in range(1, 12)]
        ),
        "aliases stand for too much",
    ),
]


@pytest.mark.requirement("openapi.hostile")
@pytest.mark.parametrize(("data", "words"), BAD)
def test_what_is_no_description_is_told(data: bytes, words: str) -> None:
    with pytest.raises(BadDescription) as bad:
        parsed(data)
    assert words in str(bad.value)


@pytest.mark.requirement("openapi.versions")
def test_yaml_is_read_as_openapi_demands() -> None:
    text = (
        b"openapi: 3.0.0\nno: no\nday: 2026-01-01\nport: 0777\nresponses: {200: {a: 1.5, b: true}}"
    )
    assert parsed(text) == {
        "openapi": "3.0.0",
        "no": "no",
        "day": "2026-01-01",
        "port": "0777",
        "responses": {"200": {"a": 1.5, "b": True}},
    }


@pytest.mark.requirement("openapi.real")
@pytest.mark.parametrize("name", [*PETSTORES, "github"])
def test_real_descriptions_come_whole(name: str) -> None:
    data = github() if name == "github" else (FILES / name).read_bytes()
    found = operations_of(Document(parsed(data)), OperationChoice())
    assert len(found.by_tool) == (1223 if name == "github" else 20)
    assert found.left_out == ()
    for operation in found.by_tool.values():
        for key in ("inputSchema", "outputSchema"):
            if key in operation.definition:
                jsonschema_rs.validator_for(schema(operation, key))


@pytest.mark.requirement("openapi.credentials")
def test_no_argument_takes_the_place_of_a_credential() -> None:
    parameters: list[Json] = [
        {"name": "filter", "in": "query"},
        {"name": "prefs", "in": "cookie"},
        {"name": "key", "in": "query"},
    ]
    document = one("/a", parameters=parameters, security=[{"ask": [], "cook": []}])
    schemes: JsonObject = {
        "ask": {"type": "apiKey", "in": "query", "name": "key"},
        "cook": {"type": "apiKey", "in": "cookie", "name": "sid"},
    }
    document["components"] = {"securitySchemes": schemes}
    found = op(document, OperationChoice(credentials=frozenset(schemes)))
    assert set(found.parameters) == {"filter", "prefs"}
    arguments: JsonObject = {"filter": {"key": "mine", "x": 1}, "prefs": {"sid": "mine", "y": 2}}
    signed = [Signature(query=(("key", "k1"),), cookies=(("sid", "k2"),))]
    made = request_of(found, arguments, signed)
    assert made.target == "/a?x=1&key=k1"
    assert made.headers["Cookie"] == "y=2; sid=k2"
    own = op(document, OperationChoice(headers=frozenset({"cookie"})))
    assert set(own.parameters) == {"filter", "key"}
