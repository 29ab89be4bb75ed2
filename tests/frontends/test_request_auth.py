"""What is read off headers: media types, and the mirrored headers of stateless requests."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from mcproxy import mcp
from mcproxy.errors import RpcError
from mcproxy.frontends.conversation import Params, glance
from mcproxy.frontends.request_auth import EVENTS, JSON, is_json, takes, takes_events
from mcproxy.frontends.routing_headers import check, check_parameters, decoded
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import Request

META: JsonObject = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
MIRRORED = {
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "search",
}


@pytest.mark.parametrize(
    ("accept", "json_", "events", "asked"),
    [
        ("", True, True, False),
        ("*/*", True, True, False),
        ("application/json", True, False, False),
        ("text/event-stream", False, True, True),
        ("application/json, text/event-stream", True, True, True),
        ("Text/Event-Stream;q=0.9,application/*", True, True, True),
        ("text/*", False, True, True),
        ("text/html", False, False, False),
    ],
)
def test_accept(accept: str, json_: bool, events: bool, asked: bool) -> None:
    assert (takes(accept, JSON), takes(accept, EVENTS), takes_events(accept)) == (
        json_,
        events,
        asked,
    )


@pytest.mark.parametrize(
    ("content_type", "fine"),
    [
        ("", True),
        ("application/json; charset=utf-8", True),
        ("Application/vnd.api+json", True),
        ("application/x-www-form-urlencoded", True),
        ("text/plain", True),
        ("multipart/form-data; boundary=x", False),
        ("application/xml", False),
        ("application/jsonp", False),
    ],
)
def test_content_type(content_type: str, fine: bool) -> None:
    assert is_json(content_type) is fine


def _request(method: str = "tools/call", **params: Json) -> Request:
    body: JsonObject = {"name": "search", "_meta": META, **params}
    return Request(1, method, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("message", "changed"),
    [
        (_request(), {}),
        (_request(name="früh"), {"Mcp-Name": "=?base64?ZnLDvGg=?="}),
        (
            _request("resources/read", uri="a:b"),
            {"Mcp-Method": "resources/read", "Mcp-Name": "a:b"},
        ),
        (_request("tools/list"), {"Mcp-Method": "tools/list", "Mcp-Name": "whatever"}),
        (_request(), {"Mcp-Name": "search  "}),
        (_request(name=None), {}),  # the gateway says what is missing
    ],
)
def test_headers_that_agree_with_the_body(message: Request, changed: dict[str, str]) -> None:
    check(message, Headers({**MIRRORED, **changed}))


@pytest.mark.parametrize(
    ("message", "headers", "code", "words"),
    [
        (_request(_meta={}), MIRRORED, RpcError.INVALID_PARAMS, "protocolVersion"),
        (
            _request(_meta={"io.modelcontextprotocol/protocolVersion": "2026-07-28"}),
            MIRRORED,
            RpcError.INVALID_PARAMS,
            "clientCapabilities",
        ),
        (_request(), {}, mcp.HEADER_MISMATCH, "MCP-Protocol-Version is missing"),
        (
            _request(),
            {**MIRRORED, "MCP-Protocol-Version": "2025-11-25"},
            mcp.HEADER_MISMATCH,
            "2025",
        ),
        (_request(), {**MIRRORED, "Mcp-Method": "Tools/Call"}, mcp.HEADER_MISMATCH, "'Tools/Call'"),
        (_request(), {**MIRRORED, "Mcp-Name": "execute"}, mcp.HEADER_MISMATCH, "'search'"),
        (_request(), {**MIRRORED, "Mcp-Name": "=?base64?%%%?="}, mcp.HEADER_MISMATCH, "unreadable"),
        (
            _request(),
            {**MIRRORED, "Mcp-Name": "=?base64?/w==?="},
            mcp.HEADER_MISMATCH,
            "unreadable",
        ),
        (_request(name=5), MIRRORED, mcp.HEADER_MISMATCH, "says 5"),
    ],
)
def test_headers_that_do_not(
    message: Request, headers: dict[str, str], code: int, words: str
) -> None:
    with pytest.raises(RpcError) as refused:
        check(message, Headers(headers))
    assert refused.value.code == code
    assert words in refused.value.message


def test_a_header_that_is_there_twice() -> None:
    twice = [(name.lower().encode(), value.encode()) for name, value in MIRRORED.items()] * 2
    with pytest.raises(RpcError, match="more than once"):
        check(_request(), Headers(raw=twice))


REGION: JsonObject = {
    "properties": {"region": {"x-mcp-header": "Region"}, "top": {"type": "integer"}}
}


@pytest.mark.requirement("mcp.parameter_headers")
@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({"region": "eu"}, {"Mcp-Param-Region": "eu"}),
        ({"region": "eu"}, {"mcp-param-region": "=?base64?ZXU=?="}),
        ({"region": True}, {"Mcp-Param-Region": "true"}),
        ({"region": 7}, {"Mcp-Param-Region": "7"}),
        ({"region": 1.5}, {}),
        ({"top": 1}, {}),
        (None, {}),
    ],
)
def test_parameters_that_are_repeated(arguments: Json, headers: dict[str, str]) -> None:
    check_parameters(_request(arguments=arguments), Headers(headers), REGION)


@pytest.mark.requirement("mcp.parameter_headers")
@pytest.mark.parametrize(
    ("arguments", "headers", "words"),
    [
        ({"region": "eu"}, {}, "Mcp-Param-Region is missing"),
        ({"region": "eu"}, {"Mcp-Param-Region": "us"}, "params.arguments.region of the body says"),
        ({"region": "eu"}, {"Mcp-Param-Region": "=?base64?ZXU?="}, "unreadable"),
        ({}, {"Mcp-Param-Region": "eu"}, "params.arguments.region is not"),
    ],
)
def test_parameters_that_are_not(arguments: Json, headers: dict[str, str], words: str) -> None:
    with pytest.raises(RpcError, match=words) as refused:
        check_parameters(_request(arguments=arguments), Headers(headers), REGION)
    assert refused.value.code == mcp.HEADER_MISMATCH


@given(st.text())
def test_names_come_out_of_base64(name: str) -> None:
    try:
        encoded = base64.b64encode(name.encode()).decode()
    except UnicodeEncodeError:
        return
    assert decoded(f"=?base64?{encoded}?=") == name


@given(st.binary())
def test_odd_parameters_say_nothing(params: bytes) -> None:
    seen = glance(params)
    assert seen == Params() or seen.meta is not None


def test_a_glance() -> None:
    assert glance(b'{"_meta": {"progressToken": "t"}, "name": "x"}').progress_token == "t"
    assert glance(b'{"_meta": 5}').meta == {}
    assert glance(b'{"_meta": {"progressToken": {}}}').progress_token is None
    assert glance(b"[1]") == Params()
