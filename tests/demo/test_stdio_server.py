"""The wire: what the demo servers answer, line by line, and against the published schemas."""

import inspect
import json
from pathlib import Path

import jsonschema_rs
import pytest

from mcproxy.demo import calc, notes
from mcproxy.demo.note_store import open_store
from mcproxy.demo.notebook import Notebook
from mcproxy.demo.protocol import HANDSHAKE_VERSIONS, STATELESS_VERSION, DemoTool, Server
from mcproxy.demo.schema import Json, JsonObject, full_record, integer, record, text
from mcproxy.demo.stdio_server import answer

SPEC = Path(__file__).parents[2].parent / "shared" / "spec"
META: JsonObject = {
    "io.modelcontextprotocol/protocolVersion": STATELESS_VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}


def half(number: int) -> JsonObject:
    return {"half": 1 / number}


SERVER = Server(
    "half",
    "1.0",
    "Halves.",
    (
        DemoTool(
            "half",
            "Half",
            "Divide.",
            record({"number": integer("A number.")}, ("number",)),
            full_record(half=text("Half.")),
            half,
        ),
    ),
)


def ask(method: object, params: object = None, *, server: Server = SERVER) -> JsonObject:
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params or {}}
    reply = answer(server, json.dumps(message).encode())
    assert isinstance(reply, dict)
    assert reply["id"] == 7
    return reply


def failure(reply: Json) -> tuple[object, object]:
    assert isinstance(reply, dict)
    error = reply["error"]
    assert isinstance(error, dict)
    return error["code"], error["message"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", -32700),
        (b"\xff\n", -32700),
        (b"[" * 100_000, -32700),
        (b"9" * 5000, -32700),
        (b"[]", -32600),
        (b"42", -32600),
        (b'{"id":1,"method":5}', -32600),
        (b'{"id":1,"method":"ping","params":[]}', -32600),
        (b'{"id":1,"method":"resources/list"}', -32601),
        (b'{"id":1,"method":"tools/call","params":{"name":"half","arguments":[]}}', -32602),
        (b'{"id":1,"method":"tools/call","params":{}}', -32602),
    ],
)
def test_bad_lines_get_errors(line: bytes, code: int) -> None:
    assert failure(answer(SERVER, line))[0] == code


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        b'{"jsonrpc":"2.0","id":1,"result":{}}',
        b'[{"jsonrpc":"2.0","method":"notifications/initialized"}]',
    ],
)
def test_notifications_and_responses_get_no_answer(line: bytes) -> None:
    assert answer(SERVER, line) is None


def test_batch_is_answered_with_a_batch() -> None:
    line = b'[{"id":1,"method":"ping"},{"method":"notifications/x"},{"id":"a","method":"ping"}]'
    replies = answer(SERVER, line)
    assert isinstance(replies, list)
    assert [reply["id"] for reply in replies if isinstance(reply, dict)] == [1, "a"]


def test_a_defect_of_a_tool_ends_the_call_only(capsys: pytest.CaptureFixture[str]) -> None:
    reply = ask("tools/call", {"name": "half", "arguments": {"number": 0}})
    assert failure(reply) == (-32603, "half has a defect.")
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("wanted", [*HANDSHAKE_VERSIONS, "2020-01-01", None])
def test_initialize_answers_with_a_version_of_the_handshake_era(wanted: str | None) -> None:
    result = ask("initialize", {"protocolVersion": wanted})["result"]
    assert isinstance(result, dict)
    known = wanted in HANDSHAKE_VERSIONS
    assert result["protocolVersion"] == (wanted if known else HANDSHAKE_VERSIONS[-1])


@pytest.mark.parametrize(
    ("method", "meta", "code"),
    [
        ("server/discover", {}, -32602),
        ("tools/list", {"io.modelcontextprotocol/protocolVersion": STATELESS_VERSION}, -32602),
        ("tools/list", {**META, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}, -32022),
        ("initialize", META, -32601),
        ("ping", META, -32601),
    ],
)
def test_stateless_requests_are_held_to_their_era(method: str, meta: JsonObject, code: int) -> None:
    assert failure(ask(method, {"_meta": meta}))[0] == code


def test_unsupported_version_names_those_that_are_served() -> None:
    meta = {**META, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    error = ask("server/discover", {"_meta": meta})["error"]
    assert isinstance(error, dict)
    assert error["data"] == {"supported": [STATELESS_VERSION], "requested": "2099-01-01"}


def definition(version: str, name: str) -> jsonschema_rs.Validator:
    path = SPEC / f"mcp-{version}.schema.json"
    if not path.exists():
        pytest.skip("the published schemas are not beside the project")
    return jsonschema_rs.validator_for({**json.loads(path.read_bytes()), "$ref": f"#/$defs/{name}"})


TOOL_RESULTS: list[tuple[str, JsonObject, str]] = [
    ("tools/list", {}, "ListToolsResult"),
    ("tools/call", {"name": "half", "arguments": {"number": 4}}, "CallToolResult"),
    ("tools/call", {"name": "half", "arguments": {}}, "CallToolResult"),
]
INITIALIZE: JsonObject = {"protocolVersion": "2025-11-25"}


@pytest.mark.parametrize(
    ("method", "params", "name"), [("initialize", INITIALIZE, "InitializeResult"), *TOOL_RESULTS]
)
def test_results_follow_the_schema_of_the_handshake_era(
    method: str, params: JsonObject, name: str
) -> None:
    definition("2025-11-25", name).validate(ask(method, params)["result"])


@pytest.mark.parametrize(
    ("method", "params", "name"), [("server/discover", {}, "DiscoverResult"), *TOOL_RESULTS]
)
def test_results_follow_the_schema_of_the_stateless_era(
    method: str, params: JsonObject, name: str
) -> None:
    result = ask(method, {**params, "_meta": META})["result"]
    definition(STATELESS_VERSION, name).validate(result)


def all_tools() -> list[DemoTool]:
    with open_store(":memory:") as store:
        return [*calc.TOOLS, *notes.tools(Notebook(store))]


@pytest.mark.parametrize("tool", all_tools(), ids=lambda tool: tool.name)
def test_declared_schemas_are_valid_and_agree_with_the_code(tool: DemoTool) -> None:
    jsonschema_rs.meta.validate(tool.arguments)
    jsonschema_rs.meta.validate(tool.result)
    properties, required = tool.arguments["properties"], tool.arguments["required"]
    assert isinstance(properties, dict)
    assert isinstance(required, list)
    parameters = inspect.signature(tool.run).parameters
    assert list(parameters) == list(properties)
    for name, declared in properties.items():
        assert isinstance(declared, dict)
        assert declared["description"]
        optional = parameters[name].default is not inspect.Parameter.empty
        assert optional is (name not in required)
        if "default" in declared:
            assert declared["default"] == parameters[name].default
