"""The pure parts of remote servers: mirrored headers, meanings of refusals, hosts that are near."""

import base64
import json
import os
from pathlib import Path

import certifi
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.config.hosts import is_public_host
from mcproxy.errors import PeerClosed, RpcError
from mcproxy.types import Json, JsonObject
from mcproxy.upstream.remote import endpoint
from mcproxy.upstream.remote.headers import header_value, marks_in, mirrored
from mcproxy.upstream.remote.refusal import Gone, fault, is_older, refusal, retry_secs, session_lost
from mcproxy.wire.message import Request

META: JsonObject = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
ERROR = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"Unsupported"}}'
MISSING = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}'


def request(method: str, **params: Json) -> Request:
    return Request(1, method, json.dumps(params).encode())


@pytest.mark.requirement("remote.mirrored")
@pytest.mark.parametrize(
    ("message", "headers"),
    [
        (request("tools/list", _meta=META), {"Mcp-Method": "tools/list"}),
        (
            request("tools/call", name="a", arguments={}, _meta=META),
            {"Mcp-Method": "tools/call", "Mcp-Name": "a"},
        ),
        (
            request("resources/read", uri="note://x", name="no", _meta=META),
            {"Mcp-Method": "resources/read", "Mcp-Name": "note://x"},
        ),
        (
            request(
                "tools/call",
                name="sql",
                arguments={"in": {"zone": "Rhône"}, "count": 3, "dry": False, "none": None},
                _meta=META,
            ),
            {
                "Mcp-Method": "tools/call",
                "Mcp-Name": "sql",
                "Mcp-Param-Zone": "=?base64?UmjDtG5l?=",
                "Mcp-Param-Count": "3",
                "Mcp-Param-Dry": "false",
            },
        ),
    ],
)
def test_what_is_mirrored_in_headers(message: Request, headers: dict[str, str]) -> None:
    marks = {
        "sql": {
            ("in", "zone"): "Zone",
            ("count",): "Count",
            ("dry",): "Dry",
            ("none",): "None",
            ("absent", "below"): "Absent",
        }
    }
    assert mirrored(message, marks) == {"MCP-Protocol-Version": "2026-07-28", **headers}


def test_nothing_is_mirrored_in_the_handshake_era() -> None:
    assert mirrored(request("tools/call", name="a"), {}) == {}
    assert mirrored(Request(1, "tools/call", b"[]"), {}) == {}


def test_marks_are_found_in_the_lists_of_tools() -> None:
    schema: JsonObject = {
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "in": {"properties": {"zone": {"x-mcp-header": "Zone"}}},
            "many": {"items": {"x-mcp-header": "Never"}},
            "odd": {"x-mcp-header": "a b"},
        }
    }
    listed = json.dumps({"tools": [{"name": "sql", "inputSchema": schema}, {"name": "b"}, 3]})
    found = marks_in(listed.encode())
    assert found["sql"] == {("region",): "Region", ("in", "zone"): "Zone"}
    assert marks_in(b'{"tools":[]}') == {}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_header_values_can_be_sent_and_read_back(text: str) -> None:
    value = header_value(text)
    assert value.isascii()
    assert value.isprintable() or "\t" in value
    if value != text:
        encoded = value.removeprefix("=?base64?").removesuffix("?=")
        assert base64.b64decode(encoded).decode() == text


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (401, ERROR, Gone, "set its `headers`.*or run `mcproxy login NAME`"),
        (403, b"no entry", RpcError, "403 Forbidden: no entry"),
        (404, b"<html>not here</html>", RpcError, "404 Not Found with a web page \\(is the path"),
        (400, ERROR, RpcError, "^Unsupported$"),
        (500, b"token sk-123456 is odd", RpcError, r"token \*\*\* is odd"),
        (503, b"", PeerClosed, "503 Service Unavailable$"),
        (799, b"", RpcError, "799"),
    ],
)
def test_what_a_refusal_says(status: int, body: bytes, kind: type[Exception], said: str) -> None:
    error = refusal(status, body, ["Bearer sk-123456"])
    assert type(error) is kind
    with pytest.raises(kind, match=said):
        raise error


@pytest.mark.parametrize(
    ("status", "body", "lost"),
    [
        (404, b"", True),
        (404, ERROR, True),
        (404, MISSING, False),
        (404, b'{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"No such tool"}}', False),
        (404, b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"Session not found"}}', True),
        (404, b'{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"who are you"}}', True),
        (400, b"Bad Request: No valid session ID provided", True),
        (400, b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"session id"}}', False),
        (400, b'{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"No session ID"}}', True),
        (400, ERROR, False),
        (500, b"session id", False),
    ],
)
def test_when_a_session_is_lost(status: int, body: bytes, lost: bool) -> None:
    assert session_lost(status, body, 1) is lost


@pytest.mark.parametrize(
    ("value", "secs"),
    [
        (None, None),
        ("7", 7),
        (" 120 ", 120),
        ("Thu, 01 Jan 1970 00:01:10 GMT", 10),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0),
        ("99999999999", 86_400),
        ("soon", None),
        ("-3", None),
    ],
)
def test_when_to_come_back(value: str | None, secs: float | None) -> None:
    assert retry_secs(value, now=60) == secs


@pytest.mark.parametrize(
    ("status", "body", "older"),
    [
        (405, b"", True),
        (404, b"<html>", True),
        (400, b"", True),
        (400, ERROR, False),
        (500, b"", False),
    ],
)
def test_when_the_older_transport_is_tried(status: int, body: bytes, older: bool) -> None:
    assert is_older(status, body) is older


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError("x"), Gone),
        (httpx.ConnectTimeout("x"), Gone),
        (httpx.ReadError("x"), PeerClosed),
        (httpx.RemoteProtocolError("x"), PeerClosed),
    ],
)
def test_only_what_was_never_sent_counts_as_gone(error: Exception, kind: type[Exception]) -> None:
    assert type(fault(error, "https://far.example.org")) is kind


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("api.github.com", True),
        ("8.8.8.8", True),
        ("localhost", False),
        ("nas", False),
        ("nas.local", False),
        ("192.168.1.7", False),
        ("::1", False),
    ],
)
def test_which_hosts_a_proxy_may_reach(host: str, public: bool) -> None:
    assert is_public_host(host) is public


def test_certificates_are_read_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    first = endpoint._certificates()
    assert endpoint._certificates() is first
    os.utime(bundle, (1, 1))
    assert endpoint._certificates() is not first
    bundle.unlink()
    with pytest.raises(PeerClosed, match="certificates of this machine cannot be read"):
        endpoint._certificates()
