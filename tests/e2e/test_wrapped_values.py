"""Values that a framework wraps into an object, since structured content has to be one."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import SERVERS, gateway

SDK: JsonObject = {"command": sys.executable, "args": [str(SERVERS / "sdk_server.py")]}


def offering(name: str, output: Json) -> JsonObject:
    """A tool that answers with its argument ``answer``."""
    return {"name": name, "inputSchema": {"type": "object"}, "outputSchema": output}


INTEGER: JsonObject = {"type": "integer"}
ONLY: JsonObject = {"type": "object", "properties": {"result": INTEGER}, "required": ["result"]}
TOOLS: list[Json] = [
    offering("marked", {**ONLY, "x-fastmcp-wrap-result": True}),
    offering("alone", ONLY),
    offering("beside", {**ONLY, "properties": {"result": INTEGER, "unit": {"type": "string"}}}),
]


def answer(value: Json, text: str) -> str:
    """Arguments with which such a tool gives this structured content and text."""
    block: JsonObject = {"type": "text", "text": text}
    return f"answer={ {'content': [block], 'structuredContent': value}!r}"


@pytest.mark.requirement("api.wrapped")
def test_a_script_gets_the_value_itself(tmp_path: Path) -> None:
    file = tmp_path / "tools.json"
    file.write_text(json.dumps(TOOLS))
    odd: JsonObject = {
        "command": sys.executable,
        "args": [str(SERVERS / "catalogue.py"), str(file)],
    }
    wrapped: JsonObject = {"result": 5}
    with gateway(tmp_path, {"servers": {"sdk": SDK, "odd": odd}}) as running:
        for call, value in {
            'api.server("sdk").total(numbers=[1, 2])': 3,
            'api.server("sdk").words(text="one two")': ["one", "two"],
            'api.server("sdk").words(text="one")': ["one"],
            'api.server("sdk").words(text="")': [],
            'api.server("sdk").forecast(city="Rome")["celsius"]': 21.0,
            'api.call_tool("sdk", "total", {"numbers": [1]}, raw=True)["structuredContent"]': {
                "result": 1
            },
            'api.schema("sdk", "total")["outputSchema"]["type"]': "integer",
            f'api.server("odd").marked({answer(wrapped, "five")})': 5,
            f'api.server("odd").alone({answer(wrapped, "5")})': 5,
            f'api.server("odd").alone({answer(wrapped, "five")})': wrapped,
            f'api.server("odd").alone({answer(wrapped, json.dumps(wrapped))})': wrapped,
            f'api.server("odd").beside({answer(wrapped, "5")})': wrapped,
            'api.schema("odd", "marked")["outputSchema"]["type"]': "integer",
            'api.schema("odd", "alone")["outputSchema"]["type"]': "object",
        }.items():
            assert running.run(call)["result"] == value, call
        found: Any = running.tool("search", query="sdk.total", max_depth=3)
    (tool,) = found["results"][0]["matched_tools"]
    assert tool["outputSchema"]["type"] == "integer"
