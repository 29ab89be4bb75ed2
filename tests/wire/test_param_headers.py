"""Which parameters are repeated in headers, and as which text."""

import pytest

from mcproxy.types import Json
from mcproxy.wire.param_headers import Path, header_text, marked, value_at

SCHEMA: Json = {
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "plain": {"type": "string"},
        "odd": {"x-mcp-header": "not a token"},
        "number": {"x-mcp-header": 7},
        "inner": {"properties": {"tenant": {"x-mcp-header": "Tenant"}}},
        "no_schema": True,
    }
}


def test_the_marked_parameters() -> None:
    assert dict(marked(SCHEMA)) == {("region",): "Region", ("inner", "tenant"): "Tenant"}


@pytest.mark.parametrize("schema", [None, [], {}, {"properties": 1}, {"properties": {"a": None}}])
def test_schemas_without_marks(schema: Json) -> None:
    assert dict(marked(schema)) == {}


@pytest.mark.parametrize(
    ("arguments", "path", "value"),
    [
        ({"a": {"b": 1}}, ("a", "b"), 1),
        ({"a": {"b": 1}}, ("a", "c"), None),
        ({"a": 1}, ("a", "b"), None),
        (None, ("a",), None),
    ],
)
def test_the_value_of_a_parameter(arguments: Json, path: Path, value: Json) -> None:
    assert value_at(arguments, path) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (7, "7"), (True, "true"), (False, "false"), (1.5, None), (None, None), ([], None)],
)
def test_the_text_of_a_header(value: Json, text: str | None) -> None:
    assert header_text(value) == text
